"""The recorded requests, in the order in which they are sent to one server over the kept data directory."""

import json as json_module
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Headers = Mapping[str, str]

SETTINGS: dict[str, object] = {  # of the server: limits that small requests reach
    "max_questions": 6,
    "max_pairs": 5,
    "max_upsert": 12,
    "max_labels": 8,
    "max_characters": 200,
    "max_top_k": 12,
    "max_exclude_ids": 4,
    "max_page": 50,
    "max_collections": 9,
    "max_body_bytes": 20_000,
    "max_waiting_texts": 64,
    "max_waiting_pairs": 64,
    "keep_releases": 1,
}
KEYS = {
    "reader": ["read"],
    "writer": ["write"],
    "labeller": ["label"],
    "admin": ["admin"],
    "revoked": ["admin"],
}

HIKING = {
    "boots": "Which boots are best for a long walk in the rain?",
    "boots-again": "Which boots are best for long walks in the rain?",
    "tent": "How do I mend a hole in my tent?",
    "tent-negated": "How do I not mend a hole in my tent?",
    "water": "How much water do I need for a day in the hills?",
    "water-two": "How much water do I need for 2 days in the hills?",
    "stove": "Can I take a gas stove on a train?",
    "stove-swapped": "Can I take a train on a gas stove?",
    "map": "Where can I buy a map of the coast path?",
    "dog": "May dogs come along on the coast path?",
    "unicode": "Où puis-je acheter une carte du sentier côtier ? 🗺️",
}


@dataclass(frozen=True)
class Ask:
    """A request. With `until` it is repeated until the answer has these fields; the last answer is recorded."""

    method: str
    path: str
    json: Any = None
    content: bytes | None = None
    headers: Headers = field(default_factory=dict)
    key: str | None = None  # by its name in KEYS
    chunked: bool = False
    until: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class MakeKeys:
    """From here on the server asks for keys: those of KEYS are made, and the last is revoked."""


Step = Ask | MakeKeys


def groups() -> dict[str, list[Step]]:
    """Every step, by the name of its group; the order is the order of sending."""
    return {
        "kept": list(_kept()),
        "resumed": list(_resumed()),
        "health": list(_health()),
        "collections": list(_collections()),
        "questions": list(_questions()),
        "finding": list(_finding()),
        "scoring": list(_scoring()),
        "labels": list(_labels()),
        "labelled": list(_labelled()),
        "keyed labels": list(_keyed_labels()),
        "bad texts": list(_bad_texts()),
        "bad bodies": list(_bad_bodies()),
        "bad parameters": list(_bad_parameters()),
        "bad paths": list(_bad_paths()),
        "runs": list(_runs()),
        "releases": list(_releases()),
        "hosts": list(_hosts()),
        "keys": list(_keys()),
    }


def _kept() -> Iterator[Step]:
    """What the data directory holds, before anything is changed."""
    yield Ask("GET", "/readyz")
    yield Ask("GET", "/collections")
    for collection in ("default", "faq", "empty"):
        yield Ask("GET", f"/collections/{collection}")
        yield Ask("GET", f"/questions?collection={collection}&limit=12")
        yield Ask("GET", f"/labels?collection={collection}&limit=6")
    yield Ask("GET", "/labels?history=true")
    yield Ask("GET", "/labels?contradicted=true")
    yield Ask("GET", "/labels?contradicted=false&is_duplicate=true")
    yield Ask("GET", "/questions/refund-1")
    yield Ask("GET", "/questions/deleted-1")
    asked = [
        "How do I get a refund?",
        "How do i get a REFUND",
        "How can I change my pass word?",
        "Is it open today?",
    ]
    for verify in ("auto", "always", "never"):
        yield Ask("POST", "/duplicates", {"questions": asked, "top_k": 4, "verify": verify})
    yield Ask(
        "POST",
        "/duplicates",
        {"questions": ["how do i reset my password at work"], "collection": "faq"},
    )
    pairs = [
        ("How do I get a refund?", "How do I give a refund?"),
        ("How do I reset my password?", "How can I change my password?"),
        ("Where is my invoice?", "Where do I find my invoice?"),
        ("When do you open?", "When do you close?"),
    ]
    yield Ask("POST", "/pair-score", {"pairs": [_pair(*pair) for pair in pairs]})
    yield Ask("GET", "/admin/releases")
    yield Ask("GET", "/admin/releases/live")
    yield Ask("GET", "/admin/releases/shadow")
    yield Ask("GET", "/admin/training-runs/1")
    yield Ask("GET", "/admin/training-runs/2", until={"state": "interrupted"})
    yield Ask("GET", "/admin/training-runs")


def _resumed() -> Iterator[Step]:
    """The data directory goes on: a write, a find, and the interrupted run to its end."""
    yield Ask(
        "POST", "/questions", {"questions": [{"id": "new-1", "text": "Do you ship to islands?"}]}
    )
    yield Ask(
        "POST",
        "/duplicates",
        {"questions": ["do you ship to islands?", "Do you ship to an island?"]},
    )
    yield Ask("DELETE", "/questions/new-1")
    yield Ask("POST", "/duplicates", {"questions": ["do you ship to islands?"]})
    yield Ask("POST", "/admin/training-runs/2/resume")
    yield Ask("GET", "/admin/training-runs/2", until={"state": "succeeded"})
    yield Ask("GET", "/admin/training-runs/2/events")
    yield Ask("POST", "/admin/training-runs/2/resume")
    yield Ask("POST", "/admin/training-runs/2/cancel")
    yield Ask("GET", "/admin/releases")


def _health() -> Iterator[Step]:
    yield Ask("GET", "/livez")
    yield Ask("GET", "/readyz")
    yield Ask("GET", "/")
    yield Ask("GET", "/docs")
    yield Ask("HEAD", "/docs/assets/favicon.png")


def _collections() -> Iterator[Step]:
    yield Ask("PUT", "/collections/hiking")
    yield Ask("PUT", "/collections/hiking")
    yield Ask("GET", "/collections/hiking")
    for number in range(5):
        yield Ask("PUT", f"/collections/c-{number}")
    yield Ask("PUT", "/collections/one-too-many")
    yield Ask("DELETE", "/collections/c-4")
    yield Ask("DELETE", "/collections/c-4")
    yield Ask("DELETE", "/collections/default")
    yield Ask("GET", "/collections?limit=2")
    yield Ask("GET", "/collections?limit=2&cursor=Yy0x")
    yield Ask("GET", "/collections?cursor=bm9uc2Vuc2U")
    yield Ask("GET", "/collections/Upper")
    yield Ask("PUT", "/collections/-dash")
    yield Ask("PUT", f"/collections/{'x' * 65}")


def _questions() -> Iterator[Step]:
    written = [{"id": name, "text": text} for name, text in HIKING.items()]
    yield Ask("POST", "/questions", {"collection": "hiking", "questions": written})
    yield Ask("POST", "/questions", {"collection": "hiking", "questions": written})
    changed = [
        {"id": "dog", "text": "May dogs walk along on the coast path?"},
        {"id": "cat", "text": "May cats come?"},
    ]
    yield Ask("POST", "/questions", {"collection": "hiking", "questions": changed})
    yield Ask("GET", "/questions?collection=hiking&limit=4")
    yield Ask("GET", "/questions?collection=hiking&limit=4&cursor=ZG9n")
    yield Ask("GET", "/questions?collection=hiking&limit=50&cursor=dGVudA")
    for name in ("dog", "unicode", "nobody"):
        yield Ask("GET", f"/questions/{name}?collection=hiking")
    odd = [
        {"id": "a/b c?d", "text": "An id with a slash?"},
        {"id": "ü✓", "text": "An id beyond ASCII?"},
    ]
    yield Ask("POST", "/questions", {"collection": "hiking", "questions": odd})
    yield Ask("GET", "/questions/a/b%20c%3Fd?collection=hiking")
    yield Ask("DELETE", "/questions/a%2Fb%20c%3Fd?collection=hiking")
    yield Ask("DELETE", "/questions/%C3%BC%E2%9C%93?collection=hiking")
    yield Ask("DELETE", "/questions/cat?collection=hiking")
    yield Ask("DELETE", "/questions/cat?collection=hiking")
    twice = [{"id": "same", "text": "One?"}, {"id": "same", "text": "Two?"}]
    yield Ask("POST", "/questions", {"collection": "hiking", "questions": twice})
    yield Ask("POST", "/questions", {"collection": "nowhere", "questions": written[:1]})
    yield Ask("GET", "/questions?collection=nowhere")
    yield Ask("GET", "/questions/dog?collection=nowhere")
    yield Ask("DELETE", "/questions/dog?collection=nowhere")


def _finding() -> Iterator[Step]:
    for text in HIKING.values():
        yield Ask("POST", "/duplicates", {"collection": "hiking", "questions": [text], "top_k": 3})
    asked = [
        "which boots are best for a LONG walk in the rain?",
        "  Which boots are best  for a long walk in the rain?  ",
        "Which boots are best for a long walk in the rain",
        "Which boots are best for a short walk in the sun?",
        "How do I mend two holes in my tent?",
        "zzzz",
    ]
    for verify in ("auto", "always", "never"):
        yield Ask(
            "POST", "/duplicates", {"collection": "hiking", "questions": asked, "verify": verify}
        )
    for top_k in (1, 2, 12):
        yield Ask(
            "POST", "/duplicates", {"collection": "hiking", "questions": asked[3:4], "top_k": top_k}
        )
    excluded = {"collection": "hiking", "questions": [HIKING["boots"]], "exclude_ids": ["boots"]}
    yield Ask("POST", "/duplicates", excluded)
    yield Ask(
        "POST", "/duplicates", {**excluded, "exclude_ids": ["boots", "boots-again", "nobody"]}
    )
    yield Ask("POST", "/duplicates", {"collection": "hiking", "questions": ["x" * 200]})
    yield Ask(
        "POST", "/duplicates", {"collection": "hiking", "questions": ["Same?", "Same?", "same?"]}
    )
    yield Ask("POST", "/duplicates", {"collection": "empty", "questions": asked[:2]})
    yield Ask("POST", "/duplicates", {"collection": "nowhere", "questions": asked[:2]})


def _scoring() -> Iterator[Step]:
    texts = list(HIKING.values())
    for one, other in pairwise(texts):
        yield Ask(
            "POST",
            "/pair-score",
            {"collection": "hiking", "pairs": [_pair(one, other), _pair(other, one)]},
        )
    equal = [
        _pair("Same?", "same?"),
        _pair("Same?", "Same"),
        _pair("ﬁne?", "fine?"),
        _pair("x" * 200, "y" * 200),
    ]
    yield Ask("POST", "/pair-score", {"pairs": equal})
    yield Ask("POST", "/pair-score", {"collection": "nowhere", "pairs": equal})


def _labels() -> Iterator[Step]:
    """Labels of the collection `hiking`: they count from 1."""
    boots = {"ids": ["boots", "boots-again"], "is_duplicate": True, "by": "anna"}
    tent = {
        "ids": ["tent", "tent-negated"],
        "is_duplicate": False,
        "by": "anna",
        "note": "a negation",
    }
    unstored = {
        "questions": ["Do I need boots?", HIKING["boots"]],
        "is_duplicate": True,
        "by": "ben",
    }
    yield _label(boots, tent, unstored)
    yield _label(boots, tent, unstored)
    yield _label({**boots, "is_duplicate": False, "by": "ben"})
    yield Ask("GET", "/labels?collection=hiking&contradicted=true")
    yield _label({**tent, "note": "another note"})
    yield _label({**tent, "is_duplicate": True})
    for number in (1, 2, 5, 6, 99):
        yield Ask("DELETE", f"/labels/{number}?collection=hiking&by=carl")
    yield Ask("DELETE", "/labels/1?collection=hiking&by=dora")
    yield Ask("DELETE", "/labels/1?collection=nowhere&by=dora")
    yield Ask("DELETE", "/labels/3?collection=hiking")
    water = {"ids": ["water", "water-two"], "is_duplicate": True, "by": "anna"}
    yield _label(
        water, {**water, "by": "ben"}, {**water, "ids": ["water-two", "water"], "by": "carl"}
    )
    yield _label({"ids": ["stove", "stove-swapped"], "is_duplicate": True, "by": "anna"})
    yield _label({"ids": ["stove", "stove-swapped"], "is_duplicate": False, "by": "ben"})
    for query in (
        "",
        "&history=true",
        "&by=anna",
        "&is_duplicate=false",
        "&is_duplicate=true&by=ben",
        "&limit=2",
    ):
        yield Ask("GET", f"/labels?collection=hiking{query}")
    yield Ask("GET", "/labels?collection=hiking&limit=2&cursor=NA")
    yield _label({"ids": ["boots", "nobody"], "is_duplicate": True, "by": "anna"})
    yield _label({"ids": ["boots", "boots"], "is_duplicate": True, "by": "anna"})
    yield Ask("POST", "/labels", {"collection": "nowhere", "labels": [boots]})
    yield Ask("GET", "/labels?collection=nowhere")
    for wrong in _wrong_labels(boots):
        yield _label(wrong)
    yield _label(*[boots] * 9)


def _wrong_labels(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in good.items() if name != "ids"}
    yield {**good, "questions": ["One?", "Two?"]}
    yield {**good, "ids": ["boots"]}
    yield {**good, "ids": ["boots", "tent", "map"]}
    yield {**good, "is_duplicate": "true"}
    yield {**good, "is_duplicate": None}
    yield {**good, "by": ""}
    yield {**good, "by": "  "}
    yield {**good, "by": "a\nb"}
    yield {**good, "by": "x" * 257}
    yield {**good, "note": " "}
    yield {**good, "note": "x" * 201}
    yield {**good, "nonsense": 1}


def _labelled() -> Iterator[Step]:
    """Answers that keep to the labels."""
    asked = [HIKING[name] for name in ("boots", "tent", "water", "stove")] + ["do i need BOOTS?"]
    for verify in ("auto", "always", "never"):
        question = {"collection": "hiking", "questions": asked, "top_k": 2, "verify": verify}
        yield Ask("POST", "/duplicates", question)
    for one, other in (("boots", "boots-again"), ("tent", "tent-negated"), ("water", "water-two")):
        yield Ask(
            "POST",
            "/pair-score",
            {"collection": "hiking", "pairs": [_pair(HIKING[one], HIKING[other])]},
        )
    contradicted = _pair(HIKING["stove"], HIKING["stove-swapped"])
    yield Ask("POST", "/pair-score", {"collection": "hiking", "pairs": [contradicted]})
    yield Ask("POST", "/pair-score", {"collection": "default", "pairs": [contradicted]})
    excluded = {"collection": "hiking", "questions": [HIKING["water"]], "exclude_ids": ["water"]}
    yield Ask("POST", "/duplicates", excluded)


def _keyed_labels() -> Iterator[Step]:
    """Labels with an `Idempotency-Key`."""
    body = {
        "collection": "c-0",
        "labels": [{"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}],
    }
    other = {
        "collection": "c-0",
        "labels": [{"questions": ["One?", "Two?"], "is_duplicate": False, "by": "anna"}],
    }
    header = {"Idempotency-Key": "once"}
    yield Ask("POST", "/labels", body, headers=header)
    yield Ask("POST", "/labels", body, headers=header)
    yield Ask("POST", "/labels", other, headers=header)
    yield Ask("POST", "/labels", body, headers={"Idempotency-Key": ""})


def _bad_texts() -> Iterator[Step]:
    texts: list[Any] = [
        "",
        " \t\u3000",
        "x" * 201,
        7,
        True,
        None,
        ["a"],
        {"text": "a"},
        "a\x00b",
        "a\ud800",
    ]
    for text in texts:
        yield Ask("POST", "/duplicates", content=_json({"questions": ["Fine?", text]}))
        yield Ask(
            "POST",
            "/pair-score",
            content=_json({"pairs": [{"question1": "Fine?", "question2": text}]}),
        )
        yield Ask("POST", "/questions", content=_json({"questions": [{"id": "a", "text": text}]}))
    for name in ("", " ", ".", "..", "x" * 257, "a\nb", "a\x7f", 7, None):
        yield Ask("POST", "/questions", {"questions": [{"id": name, "text": "Fine?"}]})


def _bad_bodies() -> Iterator[Step]:
    bodies: dict[str, list[bytes]] = {
        "/duplicates": [
            b"",
            b"{",
            b"[1]",
            b"null",
            b"\xff\xfe",
            b'"text"',
            b'{"questions": NaN}',
            b"[" * 5000,
        ],
        "/pair-score": [
            b"{}",
            b'{"pairs": []}',
            b'{"pairs": [{"question1": "a"}]}',
            b'{"pairs": [[]], "x": 1}',
        ],
        "/questions": [
            b"{}",
            b'{"questions": []}',
            b'{"questions": [{"id": "a"}]}',
            b'{"questions": {"a": 1}}',
        ],
        "/labels": [
            b"{}",
            b'{"labels": []}',
            b'{"labels": ["a"]}',
            b'{"labels": [{}], "collection": 7}',
        ],
        "/admin/retrain": [
            b'{"recipe": "none"}',
            b'{"target_precision": 0.9}',
            b'{"collection": "A"}',
            b"7",
        ],
    }
    for path, contents in bodies.items():
        for content in contents:
            yield Ask("POST", path, content=content)
    yield Ask("POST", "/duplicates", content=b"questions=a", headers={"Content-Type": "text/plain"})
    yield Ask("POST", "/duplicates", {"questions": ["a"] * 7})
    yield Ask("POST", "/pair-score", {"pairs": [_pair("a", "b")] * 6})
    yield Ask("POST", "/questions", {"questions": [{"id": str(n), "text": "a"} for n in range(13)]})
    yield Ask("POST", "/duplicates", {"questions": ["a"], "exclude_ids": ["a"] * 5})
    yield Ask("POST", "/duplicates", {"questions": ["a"] * 6, "top_k": 12, "verify": "always"})
    yield Ask(
        "POST",
        "/duplicates",
        {"questions": ["a"], "nonsense": 1, "verify": "perhaps", "collection": "A"},
    )
    for top_k in (0, -1, 13, 10**30, True, "3", 2.5, None):
        yield Ask("POST", "/duplicates", {"questions": ["a"], "top_k": top_k})
    yield Ask("POST", "/duplicates", content=b" " * 20_001)
    yield Ask("POST", "/duplicates", content=b" " * 20_001, chunked=True)
    yield Ask("POST", "/questions", {"questions": [{"id": "", "text": ""}] * 12})


def _bad_parameters() -> Iterator[Step]:
    for limit in ("0", "-1", "51", "x", ""):
        yield Ask("GET", f"/questions?limit={limit}")
    for path in ("/questions", "/labels", "/collections", "/admin/training-runs"):
        yield Ask("GET", f"{path}?cursor=%21")
    yield Ask("GET", "/labels?cursor=eA")
    yield Ask("GET", "/labels?is_duplicate=maybe&history=1&contradicted=x")
    yield Ask("GET", "/labels?by=")
    yield Ask("GET", "/questions?collection=A")
    for number in ("0", "x", str(2**63)):
        yield Ask("DELETE", f"/labels/{number}?by=anna")
        yield Ask("GET", f"/admin/training-runs/{number}")


def _bad_paths() -> Iterator[Step]:
    for method, path in (
        ("GET", "/nothing"),
        ("GET", "/duplicates"),
        ("PUT", "/duplicates"),
        ("PATCH", "/questions"),
        ("DELETE", "/questions"),
        ("POST", "/questions/dog"),
        ("POST", "/collections"),
        ("POST", "/collections/default"),
        ("GET", "/collections/"),
        ("PUT", "/labels"),
        ("POST", "/admin/releases/live"),
        ("DELETE", "/admin/training-runs/1"),
        ("POST", "/livez"),
        ("GET", "/docs/assets/nothing.js"),
        ("OPTIONS", "/duplicates"),
    ):
        yield Ask(method, path)


def _runs() -> Iterator[Step]:
    """Training runs: refused, queued, cancelled. The kept directory has the runs 1 and 2."""
    yield Ask("POST", "/admin/retrain", {"collection": "nowhere"})
    yield Ask("POST", "/admin/retrain", {"collection": "empty"})
    yield Ask("POST", "/admin/retrain", {"collection": "faq", "data_set": "nothing"})
    yield Ask(
        "POST",
        "/admin/retrain",
        {"collection": "faq", "recipe": "calibration", "target_precision": "0.95"},
    )
    yield Ask("GET", "/admin/training-runs/3", until={"state": "running"})
    yield Ask("POST", "/admin/retrain", {"collection": "faq"})
    yield Ask("POST", "/admin/retrain", {"collection": "hiking"})
    yield Ask("GET", "/admin/training-runs?limit=2")
    yield Ask("GET", "/admin/training-runs?limit=2&cursor=Mw")
    yield Ask("POST", "/admin/training-runs/4/resume")
    yield Ask("POST", "/admin/training-runs/4/cancel")
    yield Ask("POST", "/admin/training-runs/4/cancel")
    yield Ask("POST", "/admin/training-runs/3/cancel")
    yield Ask("GET", "/admin/training-runs/3", until={"state": "cancelled"})
    yield Ask("POST", "/admin/training-runs/3/resume")
    yield Ask("GET", "/admin/training-runs/3/events")
    for path in ("", "/events"):
        yield Ask("GET", f"/admin/training-runs/99{path}")
    for action in ("cancel", "resume"):
        yield Ask("POST", f"/admin/training-runs/99/{action}")


def _releases() -> Iterator[Step]:
    """The release `second` is live, `first` is SAMEASK_RELEASE's, `faq-1` and `faq-2` were trained here."""
    live, shadow = "/admin/releases/live", "/admin/releases/shadow"
    is_live = {"swap": None}
    for name in ("nothing", "broken", "renamed", "second"):
        yield Ask("PUT", shadow, {"release": name})
    for name in ("nothing", "broken", "faq-2", "second"):
        yield Ask("PUT", live, {"release": name})
    yield Ask("GET", "/admin/releases/first/diff")
    yield Ask("DELETE", shadow)
    yield Ask("PUT", shadow, {"release": "first"})
    yield Ask("GET", shadow, until={"phase": "ready"})
    yield Ask("PUT", shadow, {"release": "faq-2"})
    yield Ask("PUT", live, {"release": "faq-2", "force": "a test"})
    yield Ask("GET", "/admin/releases/first/diff")
    yield Ask("GET", "/admin/releases/first/diff?collection=hiking&limit=2")
    yield Ask("GET", "/admin/releases/first/diff?collection=nowhere")
    yield Ask("GET", "/admin/releases/first/diff?limit=0")
    yield Ask("GET", "/admin/releases/second/diff")
    yield Ask("DELETE", "/admin/releases/first")
    yield Ask("DELETE", shadow)
    yield Ask("GET", shadow)
    yield Ask("PUT", live, {"release": "first", "reason": "a test"})
    yield Ask("GET", live, until=is_live)
    yield Ask("GET", "/admin/releases")
    question = {
        "collection": "hiking",
        "questions": ["How do I mend two holes in my tent?"],
        "top_k": 3,
    }
    yield Ask("POST", "/duplicates", question)
    yield Ask("POST", "/pair-score", {"pairs": [_pair(HIKING["boots"], HIKING["boots-again"])]})
    yield Ask("POST", f"{live}/rollback", {"reason": "a test of going back"})
    yield Ask("GET", live, until=is_live)
    yield Ask("POST", "/duplicates", question)
    yield Ask("PUT", live, {"release": "faq-2", "force": "it is a test"})
    yield Ask("GET", live, until=is_live)
    yield Ask("POST", "/duplicates", question)
    for name in ("faq-2", "second", "faq-1", "first", "nothing"):
        yield Ask("DELETE", f"/admin/releases/{name}")
    yield Ask("POST", f"{live}/rollback", {})
    yield Ask("GET", live, until=is_live)
    yield Ask("POST", f"{live}/rollback", {"reason": 7})
    yield Ask("PUT", live, {"release": ""})
    yield Ask("PUT", live, {"reason": "x" * 1001, "force": "", "nonsense": 1})
    yield Ask("GET", "/readyz")


def _hosts() -> Iterator[Step]:
    """Without keys only names of this machine are answered."""
    for host in ("localhost", "[::1]:80", "example.com", "sameask.internal:8000", ""):
        yield Ask("GET", "/collections/default", headers={"Host": host})
    for origin in ("http://localhost:3000", "https://example.com", "null"):
        yield Ask("GET", "/collections/default", headers={"Origin": origin})


def _keys() -> Iterator[Step]:
    """With keys every request needs one, of the scope of its route."""
    yield MakeKeys()
    routes = [
        Ask("POST", "/duplicates", {"questions": ["How do I get a refund?"], "top_k": 1}),
        Ask("GET", "/collections/default"),
        Ask("PUT", "/collections/hiking"),
        Ask("DELETE", "/labels/99?by=anna"),
        Ask("GET", "/admin/releases/live"),
    ]
    for ask in routes:
        for key in (None, *KEYS):
            yield Ask(ask.method, ask.path, ask.json, key=key)
    for header in ("Basic YTpi", "Bearer", "Bearer nonsense", "bearer sameask_0123456789abcdef_00"):
        yield Ask("GET", "/collections/default", headers={"Authorization": header})
    for path in ("/livez", "/readyz", "/docs", "/nothing", "/metrics"):
        yield Ask("GET", path)
    yield Ask("GET", "/collections/default", headers={"Host": "example.com"}, key="reader")
    yield Ask("GET", "/nothing", key="reader")
    yield Ask("GET", "/duplicates", key="reader")


def _label(*labels: dict[str, Any]) -> Ask:
    return Ask("POST", "/labels", {"collection": "hiking", "labels": list(labels)})


def _pair(one: str, other: str) -> dict[str, str]:
    return {"question1": one, "question2": other}


def _json(value: Any) -> bytes:
    """JSON in ASCII, as it can hold half a surrogate pair."""
    return json_module.dumps(value).encode()
