"""`/admin/releases`: which release answers, which one is on its way, and what it would change."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor

from app.background import to_its_end
from app.errors import (
    CollectionNotFound,
    GateNotPassed,
    NoShadow,
    NothingBefore,
    ReleaseNotFound,
    ReleaseProtected,
    ReleaseUnusable,
    ShadowBusy,
    ShadowNotReady,
    StorageFull,
)
from app.fields import MAX_ID_CHARACTERS, Remark, StoredId, Text
from app.http.bodies import Body, counted
from app.http.collections import Thresholds
from app.http.dependencies import InCollection, TheReleases, TheSettings
from app.http.paging import Limit, page_size
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.http.promises import PromiseOfTarget
from app.leaving import while_connected

router = APIRouter(route_class=StrictRoute, tags=["releases"])


class _ReleaseConvertor(Convertor[str]):
    """A release's name in a path: a segment that is neither `live` nor `shadow`, which mean something else there."""

    regex = "(?!(?:live|shadow)(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("release", _ReleaseConvertor())

Verdict = Literal["duplicate", "review", "different"]
ThisRelease = Annotated[
    str,
    Path(
        max_length=MAX_ID_CHARACTERS, description="As the list names it.", examples=["default-17"]
    ),
]


class Named(Body):
    """A release, by its name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"release": "default-17"}]})

    release: StoredId = Field(description="As the list names it.")


class ToActivate(Named):
    """The release that is to be live, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"release": "default-17", "reason": "finds more of the FAQ"}]
        },
    )

    reason: Annotated[Remark, Field(description="For the record.")] = ""
    force: Annotated[Text, Field(max_length=1000)] | None = Field(
        None,
        description="Why it is to go live although its gate did not pass; for the record, too.",
    )


class ToRollBack(Body):
    """Why the release before is to be live again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "too many false alarms"}]})

    reason: Annotated[Remark, Field(description="For the record.")] = ""


class Progress(BaseModel):
    """A release on its way."""

    release: str
    phase: Literal[
        "opening", "indexing", "promising", "ready", "joining", "swapping", "draining", "failed"
    ] = Field(
        description="`promising`: it derives the collections' own thresholds. `ready`: caught up, and following."
        " `joining`: every write is shown by both releases before it is acknowledged. `draining`: it is live, and the"
        " one before closes when its last request has ended."
    )
    goes_live: bool = Field(description="Whether it is made live as soon as it has caught up.")
    collections: int
    questions: int
    questions_indexed: int
    failure: str | None = Field(description="Why it failed; the live release was not touched.")
    broken_promises: list[str] = Field(
        description="Collections whose target precision the labels support by the live release, and not by this one."
    )


class Release(BaseModel):
    """A release: SAMEASK_RELEASE's, one that it was in versions before, or one that was trained here."""

    name: str
    state: Literal["live", "shadow", "ready", "refused"]
    why: str | None = Field(description="Why it is refused.")
    digest: str | None = Field(
        description="SHA-256 of its manifest, which holds that of every file."
    )
    parent: str | None
    created_at: str | None
    dimension: int | None
    metrics: dict[str, Any] = Field(description="Its `metrics.json`.")
    last_live_at: str | None = Field(description="When it was last made live.")
    shadow: Progress | None


class ReleaseList(BaseModel):
    """Every release."""

    releases: list[Release]


class LiveRelease(BaseModel):
    """The release that answers, and the swap under way."""

    release: str
    digest: str
    since: str | None
    reason: str | None
    swap: Progress | None = Field(description="Null when no swap is under way.")


class Stored(BaseModel):
    """A stored question."""

    id: str
    text: str


class Judgement(BaseModel):
    """What one release says of a pair."""

    similarity: float
    probability: float
    verdict: Verdict


class ChangedPair(BaseModel):
    """A stored pair whose verdict would change."""

    questions: list[Stored]
    live: Judgement
    shadow: Judgement


class Change(BaseModel):
    """How many pairs have one verdict by the live release and another by the shadow."""

    live: Verdict
    shadow: Verdict
    pairs: int


class PromiseChange(BaseModel):
    """What would change in the thresholds of a collection that has a wish."""

    live: Thresholds
    shadow: Thresholds
    live_promise: PromiseOfTarget | None
    shadow_promise: PromiseOfTarget | None
    is_broken: bool = Field(
        description="Whether the labels support the target by the live release, and not by the shadow."
    )


class ReleaseDiff(BaseModel):
    """What would change in a collection, over its questions' own nearest pairs."""

    collection: str
    live: str
    shadow: str
    questions: int = Field(
        description="Whose nearest pairs were looked at: all, or a sample (SAMEASK_DIFF_QUESTIONS)."
    )
    pairs: int
    labelled: int = Field(
        description="Pairs with a label: people's word holds whatever the release."
    )
    changed: int = Field(description="Pairs whose verdict would change.")
    changes: list[Change]
    examples: list[ChangedPair] = Field(
        description="Those whose probability changes most come first."
    )
    promise: PromiseChange | None = Field(
        description="Null where nothing is wished of the collection."
    )


@router.get("/admin/releases", response_model=ReleaseList, responses=documented())
async def list_releases(releases: TheReleases) -> object:
    """List every release with its figures: SAMEASK_RELEASE's, then those it was before, then those trained here."""
    return {"releases": await releases.all()}


@router.get("/admin/releases/shadow", response_model=Progress, responses=documented(NoShadow))
async def read_shadow(releases: TheReleases) -> object:
    """See how far the release on its way is, or why it failed."""
    return await releases.shadow()


@router.put(
    "/admin/releases/shadow",
    status_code=202,
    response_model=Progress,
    dependencies=[counted()],
    responses=documented(ReleaseNotFound, ReleaseUnusable, ReleaseProtected, ShadowBusy),
)
async def open_shadow(body: Named, releases: TheReleases) -> object:
    """Open a release beside the live one. It embeds every collection in the background, giving way to what is asked;
    begun again after a stop or a crash, it goes on from its snapshots."""
    return await releases.open_shadow(body.release)


@router.delete(
    "/admin/releases/shadow", status_code=204, responses=documented(NoShadow, ShadowBusy)
)
async def cancel_shadow(releases: TheReleases) -> None:
    """End the release on its way; what it has embedded is kept for another time."""
    await releases.cancel_shadow()


@router.get("/admin/releases/live", response_model=LiveRelease, responses=documented())
async def read_live_release(releases: TheReleases) -> object:
    """See what is live, since when and why, and how far a swap is."""
    return await releases.live()


@router.put(
    "/admin/releases/live",
    status_code=202,
    response_model=LiveRelease,
    dependencies=[counted()],
    responses=documented(
        ReleaseNotFound,
        ReleaseUnusable,
        GateNotPassed,
        ReleaseProtected,
        ShadowBusy,
        StorageFull,
    ),
)
async def activate_release(body: ToActivate, releases: TheReleases) -> object:
    """Make a release live: the shadow, or another, which is opened first. No request fails, no acknowledged write is
    missing. Rolling back is the same, with the name of one that was live before. If it is live, nothing happens."""
    await releases.activate(body.release, body.force or body.reason, force=body.force is not None)
    return await to_its_end(releases.live())


@router.post(
    "/admin/releases/live/rollback",
    status_code=202,
    response_model=LiveRelease,
    dependencies=[counted()],
    responses=documented(NothingBefore, ShadowBusy, ReleaseUnusable, ReleaseProtected),
)
async def roll_back_release(body: ToRollBack, releases: TheReleases) -> object:
    """Make the release live that was live before; its snapshots are there, so that it takes seconds."""
    await releases.roll_back(body.reason or "rolled back")
    return await to_its_end(releases.live())


@router.get(
    "/admin/releases/{name:release}/diff",
    response_model=ReleaseDiff,
    responses=documented(CollectionNotFound, ShadowNotReady),
)
async def compare_release(
    name: ThisRelease,
    request: Request,
    releases: TheReleases,
    settings: TheSettings,
    collection: InCollection = "default",
    limit: Limit = None,
) -> object:
    """See which verdicts would change if this shadow went live, over the stored questions' own nearest pairs.

    Both releases judge every pair as `/duplicates` would, in the background; with many questions it takes a while.
    """
    size = page_size(limit, settings)
    live, diff, change = await while_connected(request, releases.diff(name, collection))
    return {
        "collection": collection,
        "live": live,
        "shadow": name,
        "questions": diff.sampled,
        "pairs": diff.pairs,
        "labelled": diff.labelled,
        "changed": len(diff.changed),
        "changes": [
            {"live": before, "shadow": after, "pairs": pairs}
            for (before, after), pairs in diff.verdicts.most_common()
            if before != after
        ],
        "examples": diff.changed[:size],
        "promise": change,
    }


@router.delete(
    "/admin/releases/{name:release}",
    status_code=204,
    responses=documented(ReleaseNotFound, ReleaseProtected),
)
async def remove_release(name: ThisRelease, releases: TheReleases) -> None:
    """Remove a release that was trained here, with its snapshots, unless it is live, on its way, or kept
    (SAMEASK_KEEP_RELEASES)."""
    await releases.remove(name)
