"""Requests that cost: long repetitive texts, marks, deep and wide bodies, query parameters, hostile ids and headers.

They go to a server in a process of its own, with its ordinary limits, over a real socket. What each adds to the memory
of that process is measured: Linux notes the highest, and forgets it when told to.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import quote

from app.engine.release import Release
from tests.cli.commands import serving
from tests.memory import Memory
from tests.raw_http import RawRequest, ask_server, check_answer

MAX_RISE = 64 * 2**20  # bytes of memory for one request
LARGE = 2**15  # bytes of a head or a body that may be refused before all of it is read
JSON = (b"content-type", b"application/json")
IDS = [f"q{number}" for number in range(20)]
PATHS = ("/duplicates", "/pair-score", "/questions", "/labels")

# What a text is a repetition of.
PIECES = [
    *[
        ",",
        "!",
        "a",
        "ab ",
        " ",
        "\n",
        "1",
        "0.",
        "-",
        "_",
        "'",
        "\u201c",
        "\x01",
        "\x7f",
        "\\",
        '"',
    ],
    *[
        "あ",
        "ﷺ",
        "ß",
        "İ",
        "🦊",
        "👩\u200d👩\u200d👧",
        "\u200b",
        "\u202e",
        "\ufeff",
        "e\u0301",
        "\U000e0041",
    ],
    *[
        "\u0301",
        "\u0300\u0301",
        "\u0e33",
        "\u1ab0",
        "a\u0301\u0316",
        "한",
        "\u1100\u1161\u11a8",
        "\ud7a3",
    ],
    *["xn--", "http://", "the the ", "不", "ا", "\u0345", "#", "[UNK]", "[SEP]", "##", "<s>"],
]
PARTS = [
    "",
    ".",
    "..",
    "%2e%2e",
    "%2F",
    "a",
    "q1",
    "\u202e",
    "\x00",
    "\r\n",
    "🦊",
    "?",
    "#",
    "\\",
    "%",
    " ",
]
PARAMETERS = [
    "collection",
    "limit",
    "cursor",
    "colection",
    "by",
    "history",
    "is_duplicate",
    "",
    "a[]",
    "limit ",
]
HEADERS = [
    b"accept",
    b"cookie",
    b"x-a",
    b"authorization",
    b"host",
    b"origin",
    b"expect",
    b"te",
    b"range",
    b"via",
]


@dataclass
class Costs:
    """What was sent, by kind: how often, and the largest rise of memory in bytes."""

    sent: dict[str, int] = field(default_factory=dict)
    rises: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        """A line for each kind."""
        lines = []
        for kind, times in sorted(self.sent.items()):
            lines.append(f"  {times:6,}  {kind:20} {self.rises[kind] / 2**20:6.1f} MiB at most")
        return "\n".join(lines)


def fuzz_hostile(folder: Path, release: Release, count: int, seed: int) -> Costs:
    """Send so many requests to a server over this release, up to the first that is answered badly or costs too much."""
    chosen = Random(seed)
    costs = Costs()
    with serving(folder, release) as server:
        memory = Memory(server.process.pid)
        for number in range(count):
            kind, make = chosen.choice(KINDS)
            request = make(chosen)
            memory.begin()
            try:
                _check(server.url, request)
            except (AssertionError, OSError) as error:
                why = f"{type(error).__name__}: {str(error)[:2000]}"
                costs.failures[kind] = f"request {number}: {why}"
                break
            rise = memory.rise()
            costs.sent[kind] = costs.sent.get(kind, 0) + 1
            costs.rises[kind] = max(costs.rises.get(kind, 0), rise)
            if rise > MAX_RISE:
                costs.failures[kind] = (
                    f"request {number}: {rise / 2**20:.1f} MiB of memory\n{request}"
                )
                break
        log = server.log.read_text()
        if "Traceback" in log or "ERROR" in log:
            costs.failures["the log"] = log[-4000:]
    return costs


def _check(url: str, request: RawRequest) -> None:
    """Raise AssertionError or OSError unless it is answered well. One that is too large may find the door shut."""
    try:
        answer = ask_server(url, request)
    except ConnectionError:
        head = len(request.path) + len(request.query) + sum(map(len, sum(request.headers, ())))
        if max(head, sum(map(len, request.chunks))) < LARGE:
            raise
    else:
        check_answer(request, answer)


def _text(chosen: Random, most: int = 10_000) -> str:
    """A repetition, of one piece or a few."""
    pieces = chosen.choices(PIECES, k=chosen.choice([1, 1, 1, 2, 5]))
    unit = "".join(pieces)
    length = chosen.choice([1, 100, 1000, most, most])
    return (unit * (length // len(unit) + 1))[:length] or "a"


def _texts(chosen: Random, count: int) -> list[str]:
    """Texts of one kind, each a little different; together no more than a body may hold."""
    most = 3_000_000 // (8 * count)
    text = _text(chosen, min(10_000, max(most, 100)))[: max(most, 100)]
    return [f"{number}{text}"[:10_000] for number in range(count)]


def _body(chosen: Random, path: str, texts: list[str]) -> dict[str, object]:
    halves = list(zip(texts[::2], texts[1::2] or texts, strict=False)) or [(texts[0], texts[0])]
    match path:
        case "/duplicates":
            verify = chosen.choice(["auto", "auto", "always", "never"])
            return {"questions": texts[:100], "top_k": chosen.choice([1, 5, 100]), "verify": verify}
        case "/pair-score":
            return {"pairs": [{"question1": one, "question2": two} for one, two in halves[:100]]}
        case "/questions":
            ids = chosen.sample(IDS, min(len(IDS), len(texts)))
            return {"questions": [{"id": i, "text": t} for i, t in zip(ids, texts, strict=False)]}
        case _:
            said = {"is_duplicate": True, "by": chosen.choice(["anna", "bob"])}
            return {"labels": [{"questions": [one, two], **said} for one, two in halves[:20]]}


def _posted(path: str, body: bytes, query: bytes = b"") -> RawRequest:
    return RawRequest("POST", path.encode(), query, (JSON,), (body,))


def _repetitive(chosen: Random) -> RawRequest:
    path = chosen.choice(PATHS)
    texts = _texts(chosen, chosen.choice([1, 2, 8, 40, 100]))
    return _posted(
        path,
        json.dumps(_body(chosen, path, texts), ensure_ascii=chosen.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        ),
    )


def _deep(chosen: Random) -> RawRequest:
    depth = chosen.choice([10, 199, 1000, 30_000, 1_000_000])
    opening, closing = chosen.choice([("[", "]"), ('{"a":', "}"), ('{"questions":[', "]}")])
    depth = min(depth, 4_000_000 // (len(opening) + len(closing)))
    inner = (
        opening * depth
        + chosen.choice(["", "1", '"x"'])
        + closing * chosen.choice([depth, depth, 0])
    )
    outer = chosen.choice(["{}", '{{"questions":{}}}', '{{"pairs":[{}]}}', '{{"labels":[{}]}}'])
    return _posted(chosen.choice(PATHS), outer.format(inner).encode())


def _wide(chosen: Random) -> RawRequest:
    item = chosen.choice(
        [
            "1",
            "{}",
            "[]",
            '""',
            "null",
            '"x"',
            '{"id":1}',
            '{"question1":"a"}',
            '{"a":{"b":[]}}',
            "1e5",
        ]
    )
    count = chosen.choice([100, 101, 1000, 3_900_000 // (len(item) + 1)])
    name = chosen.choice(["questions", "pairs", "labels", "exclude_ids", "x"])
    if chosen.random() < 0.2:
        fields = ",".join(f'"k{number}":{item}' for number in range(min(count, 200_000)))
        return _posted(chosen.choice(PATHS), f"{{{fields}}}".encode())
    return _posted(chosen.choice(PATHS), f'{{"{name}":[{",".join([item] * count)}]}}'.encode())


def _query(chosen: Random) -> RawRequest:
    parameters = []
    for _ in range(chosen.choice([1, 2, 10, 500])):
        value = quote(_text(chosen, chosen.choice([5, 50, 2000])), errors="surrogatepass")[:20_000]
        parameters.append(f"{quote(chosen.choice(PARAMETERS))}={value}")
    query = "&".join(parameters)[: chosen.choice([100, 5000, 31_000])].encode()
    path = chosen.choice([b"/questions", b"/labels", b"/collections", b"/questions/q1", b"/readyz"])
    return RawRequest(chosen.choice(["GET", "GET", "DELETE"]), path, query)


def _ids(chosen: Random) -> RawRequest:
    id_ = chosen.choice(["/", "", "\\"]).join(chosen.choices(PARTS, k=chosen.choice([1, 2, 5, 60])))
    match chosen.randrange(3):
        case 0:
            return _posted(
                "/questions", json.dumps({"questions": [{"id": id_, "text": "a?"}]}).encode()
            )
        case 1:
            return _posted(
                "/duplicates",
                json.dumps({"questions": ["a?"], "exclude_ids": [id_] * 900}).encode(),
            )
        case _:
            path = b"/questions/" + quote(id_, safe="%/" if chosen.random() < 0.5 else "").encode()
            return RawRequest(chosen.choice(["GET", "DELETE"]), path[:20_000])


def _many_headers(chosen: Random) -> RawRequest:
    headers = []
    for _ in range(chosen.choice([1, 20, 300, 2000])):
        value = chosen.choice([b"", b"a", b"," * 50, b"\xff" * 20, b"q=" * 400, b"a=b; " * 10])
        headers.append((chosen.choice(HEADERS), value.strip()))
    return RawRequest(
        "GET",
        chosen.choice([b"/readyz", b"/questions", b"/docs", b"/nowhere"]),
        b"",
        tuple(headers),
    )


def _lists(chosen: Random) -> RawRequest:
    path = chosen.choice(
        [b"/questions", b"/labels", b"/metrics", b"/readyz", b"/openapi.json", b"/collections"]
    )
    return RawRequest("GET", path, b"limit=1000" if path in (b"/questions", b"/labels") else b"")


KINDS: list[tuple[str, Callable[[Random], RawRequest]]] = [
    ("repetitive texts", _repetitive),
    ("deep bodies", _deep),
    ("wide bodies", _wide),
    ("query parameters", _query),
    ("hostile ids", _ids),
    ("headers", _many_headers),
    ("lists", _lists),
]
