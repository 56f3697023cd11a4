"""The tree of errors that `app/errors.py` opens with is the tree of its classes, with their statuses."""

import re
from collections.abc import Iterator

import app.errors
from app.errors import SameaskError

LINE = re.compile(r"^(?P<branch>[ │├└─]*)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3}))?")
INDENT = len("├── ")


def _drawn() -> Iterator[tuple[str, str | None, int | None]]:
    """Each class of the drawing: its name, its parent's, and the status beside it."""
    parents: list[str] = []
    lines = (app.errors.__doc__ or "").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() == "SameaskError")
    for line in lines[first:]:
        match = LINE.match(line[INDENT:])
        if match is None:
            return
        depth = len(match["branch"]) // INDENT
        del parents[depth:]
        parent = parents[-1] if parents else None
        parents.append(match["name"])
        yield match["name"], parent, int(match["status"]) if match["status"] else None


def _classes(root: type[SameaskError]) -> Iterator[type[SameaskError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == app.errors.__name__:
            yield from _classes(child)


def test_the_drawing_is_the_tree_of_the_classes() -> None:
    drawn = {name: parent for name, parent, _ in _drawn()}
    classes = {cls.__name__: cls.__bases__[0].__name__ for cls in _classes(SameaskError)}
    assert len(drawn) > 30
    assert drawn == classes | {"SameaskError": None}


def test_the_statuses_beside_the_classes_are_theirs() -> None:
    statuses = {name: status for name, _, status in _drawn() if status}
    assert len(statuses) > 20
    assert statuses == {name: getattr(app.errors, name).status for name in statuses}


def test_every_error_of_a_request_or_the_service_has_its_status_beside_it() -> None:
    drawn = {name: (parent, status) for name, parent, status in _drawn()}
    inner = {parent for parent, _ in drawn.values()}
    for name, (parent, status) in drawn.items():
        if parent in ("RequestError", "ServiceError") and name not in inner:
            assert status is not None, name
