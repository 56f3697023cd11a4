"""Two replicas at work over one PostgreSQL: what one acknowledges the other finds, and no text is embedded twice."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pytest

from app.engine.index import shared
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.engine.store import Store
from tests.engine.test_live_release import CountingEncoder


@dataclass(frozen=True)
class Replica:
    """A process of the service, but for its door."""

    store: Store
    live: LiveRelease
    encoder: CountingEncoder

    def write(self, **texts: str) -> int:
        """Upsert questions, and wait until they are found, as the detector does; the revision."""
        written = self.store.questions.upsert("default", list(texts.items()))
        if not self.live.shows(1, written.revision):
            self.live.catch_up(1)
        return written.revision

    def nearest(self, text: str) -> tuple[int, list[int]]:
        """The revision searched, and the questions nearest to a text, the exactly same ones alone."""
        vector = self.encoder.vector(text)
        revision, (hits,) = self.live.index(1).search(vector[None], 50)
        return revision, [hit.revision for hit in hits if hit.similarity > 0.999]


Open = Callable[..., Replica]


@pytest.fixture
def replica(
    cluster_url: str, tmp_path: Path, tiny_release: Release, tiny_encoder: Encoder
) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(*, is_shadow: bool = False, digest: str = tiny_release.digest) -> Replica:
            store = stack.enter_context(closing(Store(cluster_url)))
            encoder = CountingEncoder(tiny_encoder)
            options = ServingOptions(tmp_path / "snapshots", "0.90", max_waiting_texts=10)
            live = LiveRelease(
                replace(tiny_release, digest=digest),
                encoder,  # type: ignore[arg-type]  # an encoder in all that is used here
                None,
                store,
                options,
                is_shadow=is_shadow,
            )
            stack.enter_context(closing(live))
            live.begin(store.collections.all())
            return Replica(store, live, encoder)

        yield opened


def test_vector_is_committed_with_its_question(replica: Open) -> None:
    one = replica()
    other = replica()
    for number in range(1, 4):
        written = one.store.questions.upsert("default", [(f"q{number}", f"text {number}")])
        assert one.live.shows(1, written.revision)  # without catching up
        assert other.nearest(f"text {number}") == (number, [number])
    assert (one.encoder.embedded, other.encoder.embedded) == (3, 0)


def test_vector_goes_with_its_question(replica: Open) -> None:
    one = replica()
    other = replica()
    one.write(a="text a", b="text b")
    one.write(a="another text")
    assert other.nearest("text a") == (3, [])
    assert other.nearest("another text") == (3, [3])
    deleted = other.store.questions.delete("default", "b")
    assert other.live.shows(1, deleted.revision)
    assert one.nearest("text b") == (4, [])
    assert one.live.index(1).ids().tolist() == [3]


def test_text_that_is_there_already_is_not_embedded_again(replica: Open) -> None:
    one = replica()
    one.write(a="text a")
    assert one.write(a="text a", b="text b", c="text b") == 3
    assert one.encoder.embedded == 2


def test_text_that_cannot_be_embedded_is_left_to_catching_up(replica: Open) -> None:
    one = replica()
    other = replica()
    written = one.store.questions.upsert("default", [("a", "fine"), ("b", "poison")])
    assert not one.live.shows(1, written.revision)
    assert other.live.catch_up(1) == 2
    assert other.live.index(1).ids().tolist() == [1]
    assert one.store.questions.get("default", "b").quarantined == "Unembeddable: poison"
    other.write(c="fine again")
    assert one.nearest("fine again") == (3, [3])


def test_what_was_written_without_a_model_is_embedded_once(replica: Open, cluster_url: str) -> None:
    one = replica()
    other = replica()
    with closing(Store(cluster_url)) as without:
        without.questions.upsert("default", [("a", "text a"), ("b", "text b")])
    written = one.store.questions.upsert("default", [("c", "text c")])
    assert (one.encoder.embedded, one.live.shows(1, written.revision)) == (0, False)
    with ThreadPoolExecutor(2) as threads:
        reached = list(threads.map(lambda each: each.live.catch_up(1), (one, other)))
    assert reached == [3, 3]
    assert one.encoder.embedded + other.encoder.embedded == 3
    assert one.live.index(1).ids().tolist() == [1, 2, 3]


def test_replicas_that_write_at_the_same_time_lose_nothing(replica: Open) -> None:
    replicas = [replica(), replica()]

    def work(number: int) -> list[str]:
        """Write, replace and delete questions of its own; what was not found at once by either replica."""
        wrong = []
        mine = replicas[number % 2]
        for round_ in range(4):
            text = f"text of {'abcd'[number]} in round {round_}"  # no two of the same characters
            revision = mine.write(**{f"q{number}": text, f"extra{number}-{round_}": f"{text} too"})
            for each in replicas:
                searched, found = each.nearest(text)
                if len(found) != 1 or searched < revision:
                    wrong.append(f"{text}: {found} at {searched} of {revision}")
            mine.store.questions.delete("default", f"extra{number}-{round_}")
        return wrong

    with ThreadPoolExecutor(4) as threads:
        assert list(chain(*threads.map(work, range(4)))) == []
    stored = {question.revision for question in replicas[0].store.questions.every("default")}
    assert len(stored) == 4
    for each in replicas:
        assert each.live.catch_up(1) == 48
        assert set(each.live.index(1).ids().tolist()) == stored


def test_shadow_writes_along_when_it_goes_live(replica: Open) -> None:
    shadow = replica(is_shadow=True)
    shadow.store.questions.upsert("default", [("a", "text a")])
    assert not shadow.live.shows(1, 1)
    shadow.live.follow(1)
    shadow.live.go_live()
    shadow.store.questions.upsert("default", [("b", "text b")])
    assert shadow.live.shows(1, 2)


def test_replaced_texts_are_forgotten_once_no_replica_s_index_needs_them(
    replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that went along with their questions; a replica of another release has yet to learn that they went."""
    other = replica(is_shadow=True, digest="b" * 64)
    monkeypatch.setattr(shared, "PURGE_AFTER", 1)
    one = replica()
    one.write(a="text a")
    other.live.follow(1)
    assert other.store.replicas
    other.store.replicas.be_seen([other.live.indexes.vectors_of], [], lambda _: None)
    one.write(a="another text")
    one.live.indexes.upkeep()
    assert sorted(one.store.questions.read(1, [1, 2])) == [1, 2]  # the other one is at 1
    other.live.follow(1)
    assert other.live.index(1).ids().tolist() == [2]
    assert sorted(one.store.questions.read(1, [1, 2])) == [1, 2]  # not due there
    one.write(a="a third text")
    one.live.indexes.upkeep()
    assert sorted(one.store.questions.read(1, [1, 2, 3])) == [2, 3]
