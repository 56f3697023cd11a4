"""A fuzzer at the door: requests made from the OpenAPI document, and raw ones that no client would send.

`make fuzz REQUESTS=20000` runs it at length; `tests/http/test_fuzz.py` runs a share of it. `OVERRIDES` is the one
list of what a check of Schemathesis may object to here without being right.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter
from traceback import format_exc
from typing import Any

import schemathesis
from pydantic import ValidationError
from schemathesis.checks import CheckContext
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.python.asgi import shutdown_lifespans
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.engine.release import Release
from app.http.problems import CONTENT_TYPE, Problem
from app.main import create_app
from app.settings import Settings
from tests.broken_files import fuzz_files
from tests.broken_releases import fuzz_folders
from tests.conftest import publish_release, wait_until_ready
from tests.hostile import Costs, fuzz_hostile
from tests.raw_http import fuzz_raw
from tests.tiny_model import DIMENSION, build_tiny_classifier, build_tiny_model

STOP_AFTER = 20  # kinds of failure
ADMIN_KEY = (
    "the-key-of-a-fuzzer-is-no-secret"  # the document says that keys are needed, so they are
)

# Limits small enough that random requests stand on both sides of each.
SMALL = {
    "max_questions": 6,
    "max_pairs": 6,
    "max_upsert": 6,
    "max_labels": 6,
    "max_characters": 100,
    "max_top_k": 20,
    "max_exclude_ids": 4,
    "max_page": 20,
    "max_collections": 30,
    "max_body_bytes": 4096,
    "max_events_seconds": 0.001,
    "training_worker": False,  # runs wait, and no child is started
}
RAW_BODY_BYTES = 200_000


@dataclass(frozen=True)
class Override:
    """A refusal of a request that is valid by the document: its status, what the problem says, why it is right."""

    status: int
    detail: str
    reason: str


OVERRIDES = (
    Override(
        413,
        r"SAMEASK_MAX_BODY_BYTES",
        "the limit is a setting, and of the body, which a schema can't measure",
    ),
    Override(
        422,
        r"at most [\d,]+ \(SAMEASK_MAX_\w+\)$",
        "the limit is a setting; the document is the same for all",
    ),
    Override(
        422,
        r"^can't be added: at most [\d,]+ collections$",
        "the limit is a setting, and of what is stored",
    ),
    Override(
        422,
        r"^stands more than once in this request$",
        "a schema can't say that the ids of a list differ",
    ),
    Override(
        422,
        r"^is a pair of a text with itself$",
        "a schema can't say that two texts differ",
    ),
    Override(
        422,
        r"^says otherwise than labels\.\d+ of the same pair$",
        "nor what a list says of one pair",
    ),
    Override(
        422,
        r"^is not one that this service gave$",
        "a cursor is opaque: the document says only that it is text",
    ),
    Override(
        422,
        r"^must be a whole number$",
        "3.0 is an integer to a schema, but `top_k` is written as one",
    ),
    Override(
        422, r"^is no data set that this server allows", "which data sets there are is a setting"
    ),
    Override(
        422,
        r"^is 'always', but the live release has no pair classifier$",
        "no schema says which release is live",
    ),
    Override(
        422,
        r"^may be at most [\d,]+",
        "a limit is a setting, or what the database can hold",
    ),
    Override(
        422,
        r"^may only be \d+, the release's$",
        "no schema says which release is live",
    ),
    Override(
        422,
        r"^must (not contain|hold|be an? (http|address))",
        "described in words: a pattern of addresses would be a riddle",
    ),
    Override(
        422,
        r"^must not be empty$",
        "a line feed alone, before which a pattern's $ matches",
    ),
    Override(
        422,
        r"^must have no empty part, `\.` or `\.\.` beside a slash",
        "described in words, as a pattern would be a riddle",
    ),
    Override(
        422,
        r"^must not be blank",
        "described in words: a pattern's idea of white space is not Python's",
    ),
)

# Statuses with which a valid request may be answered, and an invalid one.
VALID = {
    "2xx": "done",
    "404": "a schema can't say which collections and questions exist",
    "409": "no schema says that one collection can't be deleted, which labels were replaced, and how runs are",
}
INVALID = {
    "400": "not JSON",
    "401": "the key is left out, or made up",
    "404": "a name that is empty or has a slash in it is another path",
    "405": "the same, where the other path has other methods",
    "413": "the body is too large, which is found out first",
    "422": "a rule is broken",
}


# A walk along the links ends where no answer so far has a link to follow; Hypothesis calls that an error of the walk.
STUCK = "No progress can be made from state"


@dataclass
class Report:
    """What was sent, by method, route and status; what was wrong; how often each link led to a 2xx."""

    sent: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    links: Counter[str] = field(default_factory=Counter)
    costs: Costs = field(default_factory=Costs)
    folders: dict[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many requests the app has answered."""
        return self.sent.total()

    def table(self) -> str:
        """Statuses for each route, a line a route."""
        routes: dict[tuple[str, str], list[str]] = {}
        for (method, route, status), times in sorted(self.sent.items()):
            routes.setdefault((route, method), []).append(f"{status}: {times:,}")
        return "\n".join(
            f"{method:8}{route:24}{'  '.join(found)}"
            for (route, method), found in sorted(routes.items())
        )


class Counted:
    """The app, every answer of it counted; one that raises after it has answered ends as it does on a server."""

    def __init__(self, app: ASGIApp, report: Report) -> None:
        self._app = app
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if not status:
                raise
        route = getattr(scope.get("route"), "path", "(no route)")
        self._report.sent[scope["method"], route, status] += 1


@schemathesis.check
def problem_document(
    _: CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Every error is a problem document that repeats the status."""
    if response.status_code < 400:
        return
    content_type = response.headers.get("content-type", [""])[0]
    assert content_type == CONTENT_TYPE, (
        f"{case.method} {case.path}: {response.status_code} as {content_type!r}"
    )
    try:
        found = Problem.model_validate_json(response.content)
    except ValidationError as error:
        raise AssertionError(f"{response.status_code} is no problem document: {error}") from error
    assert found.status == response.status_code


@schemathesis.check
def allow_lists_the_methods(
    _: CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """405 comes with the methods that the document gives the path, and no others."""
    if (
        response.status_code == 405
        and response.request.url
        and response.request.url.endswith(case.formatted_path)
    ):
        allowed = {method.strip() for method in response.headers.get("allow", [""])[0].split(",")}
        documented = {method.upper() for method in case.operation.schema[case.operation.path]}
        if "GET" in documented:
            documented.add("HEAD")
        assert allowed == documented, f"Allow: {allowed}, documented: {documented}"


def is_a_fault(
    _: schemathesis.HookContext,
    failure: Failure,
    __: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> bool:
    """Whether a check is right to object: it is, unless every error that the problem names is overridden."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code not in (413, 422):
        return True
    problem = Problem.model_validate_json(response.content)
    details = [error.detail for error in problem.errors or ()] or [problem.detail]
    return not all(_overridden(response.status_code, detail) for detail in details)


def fuzz_settings(data_dir: Path, release: Path) -> Settings:
    """A service whose limits are small."""
    return Settings.model_validate(
        {"data_dir": data_dir, "release": release, "device": "cpu", **SMALL}
    )


def fuzz_document(
    settings: Settings, report: Report, requests: int, seed: int, examples: int = 60
) -> None:
    """Send at least that many requests made from the OpenAPI document, with a key, unless some are answered badly.

    In rounds: first whatever the document enumerates, then `examples` of each operation and as many walks along
    the links, again and again.
    """
    key_file = settings.data_dir.with_name("admin-key")
    key_file.write_text(ADMIN_KEY, "ascii")
    app = Counted(create_app(settings.model_copy(update={"admin_key_file": key_file})), report)
    enough = report.requests + requests
    try:
        for round_ in range(requests):
            before = report.requests
            _run(app, report, seed + round_, round_, examples)
            if (
                report.requests in (before, before + 1)
                or report.requests >= enough
                or report.failures
            ):
                break
    finally:
        shutdown_lifespans()


def _run(app: ASGIApp, report: Report, seed: int, round_: int, examples: int) -> None:
    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "max-failures": STOP_AFTER,
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {ADMIN_KEY}"},
            "generation": {"max-examples": examples, "database": "none"},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": list(VALID)},
                "negative_data_rejection": {"expected-statuses": list(INVALID)},
            },
            "phases": {
                # These enumerate the document: once is enough.
                "examples": {"enabled": round_ == 0},
                "coverage": {"enabled": round_ == 0, "generate-duplicate-query-parameters": True},
                # In every other round: names that earlier answers held, and links beside the document's.
                "fuzzing": {"extra-data-sources": {"responses": round_ % 2 == 1}},
                "stateful": {
                    "max-steps": 12,
                    "inference": {"algorithms": ["dependency-analysis"] * (round_ % 2)},
                },
            },
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    schema.hook("filter_failure")(is_a_fault)
    for event in from_schema(schema).execute():
        match event:
            case events.FatalError():
                raise event.exception
            case events.NonFatalError() if STUCK in str(event.value):
                pass
            case events.NonFatalError():
                report.failures.setdefault((event.label, event.info.title), str(event.value))
            case events.ScenarioFinished():
                _note(event, report)


def _note(event: events.ScenarioFinished, report: Report) -> None:
    recorder = event.recorder
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, response = (
                    check.failure_info.failure,
                    recorder.interactions[case_id].response,
                )
                answer = (
                    f"{response.status_code} {response.content[:2000]!r}"
                    if response
                    else "no answer"
                )
                report.failures.setdefault(
                    (failure.operation or event.label or "", failure.title),
                    f"{failure.message}\n{check.failure_info.code_sample}\n{answer}",
                )
    for case_id, node in recorder.cases.items():
        interaction = recorder.interactions.get(case_id)
        if node.transition and node.is_transition_applied and interaction and interaction.response:
            report.links[node.transition.id] += interaction.response.status_code < 300


def _overridden(status: int, detail: str) -> bool:
    return any(
        override.status == status and re.search(override.detail, detail) for override in OVERRIDES
    )


def fuzz_all(folder: Path, release: Path, requests: int, seed: int) -> Report:
    """Requests from the document, at least that many, then a quarter as many raw ones, a quarter as many that cost, and
    a tenth as many broken releases."""
    report = Report()
    fuzz_document(fuzz_settings(folder / "document", release), report, requests, seed)
    if report.requests < requests and not report.failures:
        report.failures["the fuzzer", "too few requests"] = f"{report.requests:,} of {requests:,}"
    app = create_app(
        fuzz_settings(folder / "raw", release).model_copy(update={"max_body_bytes": RAW_BODY_BYTES})
    )
    with TestClient(app) as client:
        wait_until_ready(client)
        try:
            fuzz_raw(client, Counted(app, report), requests // 4, seed)
            releases = folder / "raw" / "releases"
            report.folders = fuzz_folders(client, releases, release, requests // 10, seed)
        except AssertionError:
            report.failures["raw", "bad answer"] = format_exc()
    (folder / "hostile").mkdir()
    report.costs = fuzz_hostile(folder / "hostile", Release.open(release), requests // 4, seed)
    for kind, failure in report.costs.failures.items():
        report.failures["hostile", kind] = failure
    return report


def main() -> int:
    """Fuzz at length, and say what was sent. Exits with 1 if anything was wrong, or too little was sent."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "requests", type=int, help="requests to make from the OpenAPI document, at the least"
    )
    parser.add_argument("--seed", type=int, default=Random().getrandbits(31))
    options = parser.parse_args()
    start = perf_counter()
    with tempfile.TemporaryDirectory(prefix="sameask-fuzz-") as name:
        folder = Path(name)
        (folder / "releases").mkdir()
        model = build_tiny_model(folder / "models" / "tiny")
        classifier = build_tiny_classifier(model, folder / "models" / "classifier")
        release = publish_release(
            folder / "releases" / "tiny", model, DIMENSION, classifier=classifier
        )
        report = fuzz_all(folder, release.path, options.requests, options.seed)
        files = fuzz_files(folder, options.requests // 4, options.seed)
    told = [f"{report.table()}\n\nlinks that led to a success:"]
    told += [f"  {times:6,}  {link}" for link, times in sorted(report.links.items())]
    told += [f"\nrequests that cost, and the memory that one took:\n{report.costs.table()}"]
    told += [f"\nbroken releases: {report.folders}", f"\nfiles of questions: {dict(files)}"]
    told += [f"\nWRONG: {' '.join(place)}\n{what}" for place, what in report.failures.items()]
    sent = report.requests + sum(report.costs.sent.values())
    told += [
        f"\n{sent:,} requests in {perf_counter() - start:.0f} s, {len(report.failures)} faults,"
        f" seed {options.seed}\n"
    ]
    sys.stdout.write("\n".join(told))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
