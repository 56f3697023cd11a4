"""One request of a page: its visitor, its collection, and its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar, cast

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from app.detector import Detector
from app.engine.store import Store
from app.releases.releases import Releases
from app.scopes import KeyScope
from app.settings import Settings
from app.training_runs.queue import TrainingRuns
from app.web.access import Visitor
from app.web.forms import Fields, form_of
from app.web.templates import address, render

P = ParamSpec("P")
T = TypeVar("T")

MAX_LISTED_COLLECTIONS = 200


@dataclass(frozen=True)
class Screen:
    """A page of the navigation."""

    name: str
    path: str
    letter: str  # behind `g`, the key that leads there
    scope: KeyScope = KeyScope.READ


SCREENS = (
    Screen("Ask", "/", "a", KeyScope.ASK),
    Screen("Compare", "/page/compare", "c", KeyScope.ASK),
    Screen("Review", "/page/review", "v"),
    Screen("Questions", "/page/questions", "q"),
    Screen("Releases", "/page/releases", "r"),
    Screen("Health", "/page/health", "h"),
)


class Page:
    """A request, and the rooms that pages ask; it answers with a whole page, or with a part of one."""

    def __init__(self, request: Request, visitor: Visitor, fields: Fields) -> None:
        self.request = request
        self.visitor = visitor
        self.fields = fields
        fields.refuse_unreadable()
        self.collection = fields.collection()
        fields.check()
        state = request.app.state
        self.detector = cast(Detector, state.detector)
        self.releases = cast(Releases, state.releases)
        self.training_runs = cast(TrainingRuns, state.training_runs)
        self.settings = cast(Settings, state.settings)

    @property
    def store(self) -> Store:
        """The store; call it by `read`."""
        return self.detector.store

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that reads the store, or its error."""
        return await self.detector.read(function, *args, **kwargs)

    def url(self, path: str, **parameters: object) -> str:
        """The address of a page, in this collection."""
        name = self.collection if self.collection != "default" else None
        return address(self.request, path, collection=name, **parameters)

    def part(self, template: str, **values: Any) -> HTMLResponse:
        """A part of a page."""
        return HTMLResponse(self._render(template, **values))

    async def show(self, template: str, screen: str, **values: Any) -> HTMLResponse:
        """A whole page, with the navigation around it. Raises CollectionNotFound."""
        frame = await self._frame()
        return HTMLResponse(self._render(template, screen=screen, **{**frame, **values}))

    def _render(self, template: str, **values: Any) -> str:
        here = self.url
        return render(
            self.request,
            template,
            page=self,
            visitor=self.visitor,
            here=here,
            may_not=self.may_not(),
            **values,
        )

    def may_not(self) -> Mapping[str, str | None]:
        """By scope, the reason why the visitor lacks it; None where they have it."""
        return {scope.value: self.visitor.lacks(scope) for scope in KeyScope}

    async def _frame(self) -> dict[str, Any]:
        """The values of the navigation around every page."""
        current = await self.read(self.store.collections.get, self.collection)
        listed = []
        if not self.visitor.lacks(KeyScope.READ):
            listed = await self.read(self.store.collections.page, "", MAX_LISTED_COLLECTIONS)
        if current not in listed:
            listed = [current, *listed]
        live = self.detector.live
        return {
            "screens": [one for one in SCREENS if not self.visitor.lacks(one.scope)],
            "collections": listed,
            "stored": current,
            "live": live.release.name,
            "is_silent": live.thresholds(current.key).duplicate is None,
        }


async def _page_of(request: Request) -> Page:
    values = dict(request.query_params)
    if request.method not in ("GET", "HEAD"):
        values = {**values, **await form_of(request)}
    settings = cast(Settings, request.app.state.settings)
    return Page(request, request.state.visitor, Fields(values, settings))


ThePage = Annotated[Page, Depends(_page_of)]
