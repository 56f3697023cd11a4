"""docs/reference.md has every command, exit code, route and metric, as the code has them.

`python -m tests.test_reference` (make reference) renews the page.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from app.cli.main import COMMANDS, load
from app.cli.terminal import EXIT_CODES
from app.http.access import SCOPES
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.tiny_model import DIMENSION, build_tiny_model

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
HEAD = """# Reference

Made by `make reference` from the code; a test fails where anything is missing. The settings
stand in [settings.md](settings.md).
`sameask COMMAND -h` says the same as here.
"""


def page(metrics: str) -> str:
    """The whole page; `metrics` is what a service answers at /metrics."""
    parts = [
        HEAD,
        "## Commands\n",
        *_commands(),
        "## Exit codes\n",
        _table(("code", "is"), [(str(code), words) for code, words in EXIT_CODES.items()]),
        "## Routes\n",
        _table(("route", "needs", "does"), list(_routes())),
        "## Metrics\n",
        _table(("metric", "type", "is"), list(_metrics(metrics))),
    ]
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    for name, (place, _) in COMMANDS.items():
        command = load(place)
        within: Mapping[str, Any] = getattr(command, "commands", {})
        if within:
            yield f"### `sameask {name}`\n\n{command.help}\n"
        for part, of_group in (within or {"": command}).items():
            called = f"{name} {part}".strip()
            yield _command(called, of_group, "####" if part else "###")


def _command(called: str, command: Any, level: str) -> str:
    parameters = [
        one for one in command.params if not getattr(one, "hidden", False) and one.name != "help"
    ]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    named = " ".join(_argument(one) for one in arguments)
    rows = [(f"`{_argument(one)}`", _help(one)) for one in arguments]
    rows += [(f"`{_option(one)}`", _help(one)) for one in parameters if one not in arguments]
    table = _table(("", "is"), rows) if rows else ""
    return f"{level} `sameask {called}{' ' if named else ''}{named}`\n\n{command.help}\n\n{table}"


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _help(parameter: Any) -> str:
    words = re.sub(r"\s+", " ", parameter.help or "").replace("|", "\\|")
    default = parameter.default
    is_said = (
        default is not None
        and not isinstance(default, bool)
        and not callable(default)
        and not parameter.required
    )
    return f"{words} `{default}` if not said." if is_said and default != "" else words


def _routes() -> Iterator[tuple[str, str, str]]:
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method, operation in methods.items():
            scope = SCOPES[operation["operationId"]]
            words = re.sub(r"\s+", " ", operation["description"].strip())
            summary = re.split(r"(?<=[.])\s", words, maxsplit=1)[0]
            yield f"`{method.upper()} {path}`", f"`{scope}`" if scope else "nothing", summary


def _metrics(text: str) -> Iterator[tuple[str, str, str]]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, words in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE):
        if not name.endswith("_created"):
            yield f"`{name}`", kinds[name], words


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def test_the_page_is_as_the_code_is(client: TestClient) -> None:
    assert PAGE.read_text("utf-8") == page(client.get("/metrics").text)


def test_every_command_and_route_is_there() -> None:
    text = PAGE.read_text("utf-8")
    wanted = [f"`sameask {name}" for name in COMMANDS]
    wanted += [f"{path}`" for path in create_app(Settings()).openapi()["paths"]]
    assert [words for words in wanted if words not in text] == []


def _renew() -> None:
    with tempfile.TemporaryDirectory(prefix="sameask-reference-") as name:
        folder = Path(name)
        (folder / "releases").mkdir()
        model = build_tiny_model(folder / "models" / "tiny")
        release = publish_release(folder / "releases" / "tiny", model, DIMENSION)
        settings = Settings(data_dir=folder / "data", release=release.path, device="cpu")
        with TestClient(create_app(settings)) as client:
            wait_until_ready(client)
            PAGE.write_text(page(client.get("/metrics").text), "utf-8")


if __name__ == "__main__":
    _renew()
