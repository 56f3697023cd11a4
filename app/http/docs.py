"""`/docs`: the OpenAPI document as a page to try things on, with no asset from elsewhere."""

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import UnsupportedBody
from app.http.access import declare
from app.http.browsers import page_policy
from app.http.dependencies import outer_path
from app.http.links import link_operations
from app.http.problems import Problem, described
from app.whole_files import without_range

ASSETS = "/docs/assets"
FILES = Path(fastapi_offline.__file__).parent / "static"  # Swagger UI as its package brings it

router = APIRouter(include_in_schema=False)


class Assets(StaticFiles):
    """Files, always whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(without_range(scope), receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file that a browser may keep, and asks about each time."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI, from the files that its package brings."""
    outer = outer_path(request)
    page = get_swagger_ui_html(
        openapi_url=f"{outer}/openapi.json",
        title="Sameask",
        swagger_js_url=f"{outer}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{outer}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{outer}{ASSETS}/favicon.png",
        swagger_ui_parameters={
            "tryItOutEnabled": True,
            "defaultModelsExpandDepth": 0,
            "validatorUrl": None,  # it would be shown the document
        },
    )
    html = bytes(page.body).decode()
    page.headers["Content-Security-Policy"] = page_policy(html)
    return page


def mount_docs(app: FastAPI) -> None:
    """Serve the page, its assets, and an OpenAPI document that knows the problem document and the scopes."""
    app.include_router(router)
    app.mount(ASSETS, Assets(directory=FILES), name="assets")
    make_schema = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            document = make_schema()  # it is app.openapi_schema from now on
            _describe_problems(document)
            _describe_streams(document)
            _describe_bodies(document)
            declare(document)
            link_operations(document)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _describe_bodies(document: dict[str, Any]) -> None:
    """Say of every operation with a body that it refuses what is no plain JSON."""
    ((status, refusal),) = described(UnsupportedBody).items()
    for methods in document["paths"].values():
        for operation in methods.values():
            if "requestBody" in operation:
                operation["responses"][str(status)] = refusal


def _describe_problems(document: dict[str, Any]) -> None:
    """Put the problem document in the place of FastAPI's own errors."""
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _describe_streams(document: dict[str, Any]) -> None:
    """Describe an event where OpenAPI 3.1 describes what comes: FastAPI does it by a keyword of 3.2."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                for media in response.get("content", {}).values():
                    if "itemSchema" in media:
                        media["schema"] = media.pop("itemSchema")
