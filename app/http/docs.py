"""`/docs`: the OpenAPI document as a page to try things on, with no asset from elsewhere."""

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from app.http.problems import Problem

ASSETS = "/docs/assets"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def root() -> RedirectResponse:
    """The front door leads to the documentation."""
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Swagger UI, from the files that its package brings."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Sameask",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": 0},
    )


def mount_docs(app: FastAPI) -> None:
    """Serve the page, its assets, and an OpenAPI document that knows the problem document."""
    app.include_router(router)
    app.mount(ASSETS, StaticFiles(directory=swagger_ui_path))
    make_schema = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            schema = make_schema()
            schemas = schema["components"]["schemas"]
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs"))
            schemas["Problem"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
