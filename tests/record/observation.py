"""One run of the service over the kept folder, and all that is recorded of it, as texts by file name."""

import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.record.masks import masked, masked_text
from tests.record.playing import Player
from tests.record.project import Outcome, Project
from tests.record.scenario import SETTINGS as LIMITS
from tests.record.server import SETTINGS, Endpoint, Server, event_record, listening, serving

EVENTS = 9  # that the webhook sends: of runs that end, gates that decide, releases that go live
SET_ASIDE = "is set aside"  # in the log, of a snapshot that can't be used
OTHER_VECTORS = (
    "belongs to another release or collection"  # models read texts in another form since the record
)
KEYS_LISTED = "sameask keys list"
PASSED_OVER = re.compile(r'_bucket\{|_sum\{|route="/readyz"')
NAME = re.compile(r"[a-z_]+")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SPACE_AT_END = re.compile(r"[ \t]+$", re.MULTILINE)

Record = dict[str, str]


def observe(project: Project, kept: Path, folder: Path) -> Record:
    """Run the service over the kept folder, unpacked into an empty one. Takes about half a minute of one core."""
    with tarfile.open(kept) as archive:
        archive.extractall(folder, filter="data")
    with ThreadPoolExecutor(1) as thread:
        training_help = thread.submit(project.help, "training", folder, {})
        with listening() as endpoint:
            settings = {**LIMITS, **endpoint.settings(folder)}
            with serving(project, folder, settings) as server:
                return _observe(project, folder, server, endpoint, training_help)


def _observe(
    project: Project,
    folder: Path,
    server: Server,
    endpoint: Endpoint,
    training_help: "Future[list[Outcome]]",
) -> Record:
    player = Player(project, folder, server.url)
    openapi = player.get("/openapi.json").json()
    version = str(openapi["info"]["version"])
    exchanges = list(player.play())
    commands = project.run(
        "sameask", list(_commands(server.url)), folder, {**SETTINGS, "key": player.keys["admin"]}
    )
    metrics = player.get("/metrics", player.keys["reader"]).text
    events = sorted(map(event_record, endpoint.wait_for(EVENTS)), key=_kind_and_run)
    server.stop()
    helps = [*project.help("sameask", folder, {}), *training_help.result()]
    for line in server.log.read_text("utf-8").splitlines():
        if SET_ASIDE in line and not line.endswith(OTHER_VECTORS):
            raise RuntimeError(f"a kept snapshot can't be used: {line}")
    return {
        "openapi.json": json.dumps(masked(openapi, version), indent=1, ensure_ascii=False) + "\n",
        "help.txt": masked_text(_shown(helps), version),
        "commands.txt": masked_text(_shown(commands), version),
        "metrics.txt": _described(metrics),
        "exchanges.jsonl": _lines(masked(exchange, version) for exchange in exchanges),
        "webhook.jsonl": _lines(masked(event, version) for event in events),
    }


def _commands(url: str) -> Iterable[Sequence[str]]:
    """Commands against the running server, after all requests."""
    for words in (
        ["find", "How do I get a refund?", "--top-k", "3"],
        ["find", "How do I get a refund?", "--json"],
        ["find", "How do I get a refund?", "-c", "nowhere"],
        ["pair", "When do you open?", "When do you close?"],
        ["pair", "When do you open?", "When do you close?", "--json"],
        ["export"],
        ["export", "-c", "hiking", "--json"],
        ["labels", "export"],
        ["labels", "export", "-c", "hiking", "--json"],
        ["runs", "list"],
        ["runs", "show", "3"],
        ["runs", "watch", "2"],
        ["runs", "show", "99"],
        ["releases", "list"],
        ["releases", "remove", "first"],
        ["releases", "diff", "first"],
    ):
        yield [*words, "--url", url]
    yield ["keys", "list"]
    yield ["find"]
    yield ["nonsense"]


def _shown(outcomes: Sequence[Outcome]) -> str:
    """Commands as a terminal shows them."""
    parts = []
    for outcome in outcomes:
        words = " ".join(str(word) for word in _words(outcome))
        printed = _in_order(str(outcome["out"])) if words == KEYS_LISTED else outcome["out"]
        parts.append(f"$ {words}\n{printed}{outcome['err']}[exit code {outcome['code']}]\n")
    return SPACE_AT_END.sub("", "\n".join(parts))


def _in_order(table: str) -> str:
    """The rows of a table by their last columns: the keys of one second come in the order of their random ids."""
    return (
        "\n".join(
            sorted(table.splitlines(), key=lambda line: line.partition("│ ")[2].partition(" │")[2])
        )
        + "\n"
    )


def _words(outcome: Outcome) -> list[object]:
    words = outcome["command"]
    return words if isinstance(words, list) else [words]


def _described(metrics: str) -> str:
    """The names, types, help and label values of an exposition document, without its figures.

    Of a histogram only the count, and nothing of /readyz: whether it ever said 503 depends on when it was asked.
    """
    described: dict[str, None] = {}
    for line in metrics.splitlines():
        if line.startswith("#"):
            described[line] = None
        elif not PASSED_OVER.search(line):
            described[_series(line)] = None
    return "\n".join(described) + "\n"


def _series(line: str) -> str:
    name = NAME.match(line)
    labels = [f'{label}="{value}"' for label, value in LABEL.findall(line)]
    return f"{name[0] if name else line}{{{','.join(labels)}}}"


def _lines(values: Iterable[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=True) + "\n" for value in values)


def _kind_and_run(event: Mapping[str, Any]) -> tuple[str, int]:
    """What events are ordered by: of two runs that are cancelled, either may end first."""
    body = event["body"]
    return body["event"], body["data"].get("run", 0)
