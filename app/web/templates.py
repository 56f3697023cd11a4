"""Templates: Jinja2 with every value escaped, and the few words and figures that they share."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.web.static import FILES

FOLDER = Path(__file__).parent / "templates"

LABEL_REASONS = (  # what stands before and behind a name in the reason of a label (app/engine/reasons.py)
    ("", " said so on "),
    ("people disagree: ", " said duplicate on "),
    ("people disagree: ", " said different on "),
)

environment = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def is_part(request: Request) -> bool:
    """Whether htmx asks for a part of a page, and not a browser for the whole of it."""
    headers = request.headers
    return "hx-request" in headers and "hx-history-restore-request" not in headers


def wants_html(request: Request) -> bool:
    """Whether a browser asks, or htmx in it; others are told of problems in JSON, as everywhere else."""
    return is_part(request) or "text/html" in request.headers.get("accept", "")


def address(request: Request, path: str, **parameters: object) -> str:
    """The address of a page: behind a proxy with its path in front; parameters that are empty are left out."""
    outer = str(request.scope.get("root_path", "")).rstrip("/")
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{outer}{path}?{urlencode(given)}" if given else f"{outer}{path}"


def render(request: Request, template: str, **values: Any) -> str:
    """A template's text for a request: `url` and `static` in it make addresses."""

    def static(name: str) -> str:
        return address(request, f"/page/static/{FILES[name].name}")

    url = partial(address, request)
    theme = theme_of(request)
    return environment.get_template(template).render(**values, url=url, static=static, theme=theme)


def theme_of(request: Request) -> str:
    """`light` or `dark` where somebody chose one, else `auto`."""
    theme = request.cookies.get("sameask_theme")
    return theme if theme in ("light", "dark") else "auto"


def count(number: int, noun: str) -> str:
    """`1 label`, `2,000 labels`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def day(moment: str) -> str:
    """`12 November`, of a time in ISO 8601; with the year, where it is another one."""
    time = datetime.fromisoformat(moment)
    year = "" if time.year == datetime.now(time.tzinfo).year else f" {time.year}"
    return f"{time.day} {time:%B}{year}"


def clock(moment: str) -> str:
    """`12 November, 09:30 UTC`, of a time in ISO 8601."""
    time = datetime.fromisoformat(moment).astimezone(UTC)
    return f"{day(time.isoformat())}, {time:%H:%M} UTC"


def precision(value: float) -> str:
    """`0.90`, `0.975`: a precision, or one that is asked for, as every screen writes it."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def to_reader(sentence: str, name: str) -> str:
    """The reason of a label, to the person of this name: who said it is "you", if that was this person."""
    for before, behind in LABEL_REASONS:
        beginning = f"{before}{name}{behind}"
        if sentence.startswith(beginning):
            return f"{before}you{behind}{sentence.removeprefix(beginning)}"
    return sentence


environment.filters.update(
    count=count, day=day, clock=clock, precision=precision, to_reader=to_reader
)
