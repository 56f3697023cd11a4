"""Where a stored question was asked: its thread, by the collection's `url_template`."""

from urllib.parse import quote, urlsplit

from app.engine.store import Collection

PLACE = "{id}"


def thread_of(collection: Collection, question_id: str) -> str | None:
    """The address of a question's thread; None where the collection has no template, or one that leads nowhere."""
    template: str | None = getattr(collection, "url_template", None)
    if not template or PLACE not in template:
        return None
    address = template.replace(PLACE, quote(question_id, safe=""))
    return address if urlsplit(address).scheme in ("http", "https") else None
