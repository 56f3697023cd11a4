"""Where a stored question was asked: its thread, by the collection's `url_template`."""

from urllib.parse import quote

from app.engine.store import Collection

PLACE = "{id}"


def thread_of(collection: Collection, question_id: str) -> str | None:
    """The address of a question's thread; None where the collection has no template."""
    if collection.url_template is None:
        return None
    return collection.url_template.replace(PLACE, quote(question_id, safe=""))
