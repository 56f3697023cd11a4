"""Sessions of the page: what is kept of each, never its token, nor the key that began it."""

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from app.engine.store.database import Database
from app.engine.store.mapper import Mapper, Row, fields
from app.engine.store.schema import metadata

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("key_id", sa.Text),
    sa.Column("key_digest", sa.LargeBinary),
    sa.Column("began", sa.BigInteger),
    sa.Column("used", sa.BigInteger),
    sa.Column("checksum", sa.BigInteger),
)
WITH_DIGEST = sa.select(sessions).where(sessions.c.digest == sa.bindparam("wanted"))
UNUSED_LONGEST_FIRST = sa.select(sessions.c.digest).order_by(sessions.c.used, sessions.c.began)


@dataclass(frozen=True)
class SessionRecord:
    """A session by the SHA-256 of its token, and the key that began it.

    `began` and `used` (for the last time) are seconds of Unix time.
    """

    digest: bytes
    key_id: str
    key_digest: bytes
    began: int
    used: int


class SessionRecords:
    """The records of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mapper = Mapper(database, sessions, _as_session)

    def add(
        self,
        session: SessionRecord,
        *,
        began_from: int,
        used_from: int,
        most: int,
        most_of_key: int,
    ) -> None:
        """Keep a new session, and delete those that began or were used before these times.

        Past so many in all, or of one key, the one unused for longest is deleted.
        """
        columns = sessions.c
        outdated = (columns.began < began_from) | (columns.used < used_from)
        of_key = columns.key_digest == session.key_digest
        with self._database.writing() as connection:
            self._database.alone(connection, sessions)
            connection.execute(sa.delete(sessions).where(outdated))
            self._make_room(connection, UNUSED_LONGEST_FIRST.where(of_key), most_of_key)
            self._make_room(connection, UNUSED_LONGEST_FIRST, most)
            self._mapper.insert(connection, asdict(session))

    def get(self, digest: bytes) -> SessionRecord | None:
        """The session of the token with this digest, if there is one. A damaged row is none."""
        with self._database.reading() as connection:
            rows = connection.execute(WITH_DIGEST, {"wanted": digest}).mappings().all()
            return next(self._mapper.records(rows), None)

    def use(self, digest: bytes, used: int) -> None:
        """Note when a session was used, if there is one."""
        with self._database.writing() as connection:
            query = WITH_DIGEST.with_for_update()
            rows = connection.execute(query, {"wanted": digest}).mappings().all()
            for row in self._mapper.sound(rows):
                self._mapper.rewrite(connection, {**row, "used": max(used, row["used"])})

    def end(self, digest: bytes) -> None:
        """Delete a session, if there is one."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.digest == digest))

    def _make_room(
        self, connection: sa.Connection, longest_unused: sa.Select[tuple[bytes]], most: int
    ) -> None:
        """Delete what is too much for one more, of these."""
        found = connection.execute(longest_unused).scalars().all()
        gone = found[: max(len(found) - most + 1, 0)]
        if gone:
            connection.execute(sa.delete(sessions).where(sessions.c.digest.in_(gone)))


def _as_session(row: Row) -> SessionRecord:
    return SessionRecord(**fields(row))
