"""`/admin/releases`: the release that answers, the one on its way, and the verdicts that it would change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sameask_client.asking import Verdict
from sameask_client.collections import Thresholds
from sameask_client.errors import WrongArgument
from sameask_client.operation import Operation, delete, get, in_path, post, put
from sameask_client.promises import Promise

RELEASES, LIVE, SHADOW = "/admin/releases", "/admin/releases/live", "/admin/releases/shadow"
OTHER_ROUTES = ("live", "shadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapProgress:
    """A release on its way. `phase`: `opening`, `indexing`, `ready`, … or `failed`, of which `failure` says why.

    `broken_promises`: collections whose target precision the labels support by the live release, and not by this one.
    """

    release: str
    phase: str
    goes_live: bool
    collections: int
    questions: int
    questions_indexed: int
    failure: str | None
    broken_promises: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release. `state`: `live`, `shadow`, `ready`, or `refused`, of which `why` says why."""

    name: str
    state: str
    why: str | None
    digest: str | None
    parent: str | None
    created_at: str | None
    dimension: int | None
    metrics: Mapping[str, Any]
    last_live_at: datetime | None
    shadow: SwapProgress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseList:
    """Every release."""

    releases: tuple[Release, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRelease:
    """The release that answers. `swap`: the one that takes its place; None when none does."""

    release: str
    digest: str
    since: datetime | None
    reason: str | None
    swap: SwapProgress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedQuestion:
    """A stored question."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one release says of a pair."""

    similarity: float
    probability: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPair:
    """A stored pair whose verdict would change."""

    questions: tuple[ComparedQuestion, ...]
    live: Judgement
    shadow: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How many pairs have one verdict by the live release and another by the shadow."""

    live: Verdict
    shadow: Verdict
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseChange:
    """What would change in the thresholds of a collection that has a wish."""

    live: Thresholds
    shadow: Thresholds
    live_promise: Promise | None
    shadow_promise: Promise | None
    is_broken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDiff:
    """What would change in a collection, over its questions' own nearest pairs; a label holds whatever the release."""

    collection: str
    live: str
    shadow: str
    questions: int
    pairs: int
    labelled: int
    changed: int
    changes: tuple[Change, ...]
    examples: tuple[ChangedPair, ...]
    promise: PromiseChange | None = None


def list_releases() -> Operation[ReleaseList]:
    """List every release with its figures."""
    return get(ReleaseList, RELEASES)


def read_live_release() -> Operation[LiveRelease]:
    """See what is live, since when and why, and how far a swap is."""
    return get(LiveRelease, LIVE)


def activate_release(
    name: str, *, reason: str = "", force: str | None = None
) -> Operation[LiveRelease]:
    """Make a release live. `force`: why, although its gate did not pass. It returns when that is under way."""
    return put(LiveRelease, LIVE, {"release": name, "reason": reason, "force": force})


def roll_back_release(*, reason: str = "") -> Operation[LiveRelease]:
    """Make the release live that was live before. It is never sent twice, since twice would go back further."""
    return post(LiveRelease, f"{LIVE}/rollback", {"reason": reason}, is_repeatable=False)


def read_shadow() -> Operation[SwapProgress]:
    """See how far the release on its way is, or why it failed."""
    return get(SwapProgress, SHADOW)


def open_shadow(name: str) -> Operation[SwapProgress]:
    """Open a release beside the live one; it embeds every collection in the background."""
    return put(SwapProgress, SHADOW, {"release": name})


def cancel_shadow() -> Operation[None]:
    """End the release on its way. Sent again after a broken connection, it may raise NotFound."""
    return delete(SHADOW)


def compare_release(
    name: str, *, collection: str = "default", limit: int | None = None
) -> Operation[ReleaseDiff]:
    """See which verdicts would change if this shadow went live, with `limit` examples at most. It may take a while."""
    return get(ReleaseDiff, f"{_path(name)}/diff", collection=collection, limit=limit)


def remove_release(name: str) -> Operation[None]:
    """Remove a release that was trained here. Sent again after a broken connection, it may raise NotFound."""
    return delete(_path(name))


def _path(name: str) -> str:
    """Raises WrongArgument for a name that means something else in a path."""
    if name in OTHER_ROUTES:
        raise WrongArgument(f"{name!r} is no release's name in a path")
    return f"{RELEASES}/{in_path(name)}"
