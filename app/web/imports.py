"""Import: a dropped file, looked at before it is sent, checked before it is written."""

from typing import cast
from urllib.parse import unquote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.errors import FieldError, FileRefused, InvalidRequest, UnreadableFile
from app.fields import MAX_ID_CHARACTERS
from app.file_preview import SAMPLE_BYTES, preview
from app.importing import Import, Imports
from app.web.page import Page, ThePage
from app.whole_files import without_range

NAME_HEADER = "X-File-Name"
SIZE_HEADER = "X-File-Size"
OFFSET_HEADER = "X-File-Offset"

router = APIRouter()


class WholeFile(FileResponse):
    """A file, always whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(without_range(scope), receive, send)


@router.post("/page/import/preview")
async def preview_import(page: ThePage) -> HTMLResponse:
    """The kind and the columns of a file, by samples of its beginning and its end, of which the body is made. Raises
    FileRefused."""
    name, size = _name_and_size(page.request)
    sample = await page.request.body()
    imports = _imports(page)
    beginning = sample[:SAMPLE_BYTES]
    end = sample[SAMPLE_BYTES:] or sample
    try:
        imports.refuse_if_large(size)
        seen = await run_in_threadpool(preview, name, size, beginning, end)
        one = imports.begin(name, size, page.collection, seen)
    except UnreadableFile as error:
        raise FileRefused(str(error)) from error
    return _columns(page, one)


@router.put("/page/import/{number}/piece")
async def send_piece(number: int, page: ThePage) -> Response:
    """Take the next piece of a file, its bytes unchanged."""
    offset = _number(page.request, OFFSET_HEADER)
    await _imports(page).append(number, offset, await page.request.body())
    return Response(status_code=204)


@router.get("/page/import/{number}/columns")
async def choose_columns(number: int, page: ThePage) -> HTMLResponse:
    """The columns again, of a file that was checked by some."""
    return _columns(page, _imports(page).get(number))


@router.post("/page/import/{number}/check")
async def check_import(number: int, page: ThePage) -> HTMLResponse:
    """Check every row, by the columns that were chosen."""
    text_column = page.fields.given("text_column")
    id_column = page.fields.given("id_column")
    if not text_column:
        raise InvalidRequest(
            FieldError("text_column", "is needed: which column holds the questions?")
        )
    if id_column == text_column:
        raise InvalidRequest(FieldError("id_column", "is the column of the questions too"))
    prefix = page.fields.given("prefix")
    if len(prefix) > MAX_ID_CHARACTERS:
        raise InvalidRequest(
            FieldError("prefix", f"may have at most {MAX_ID_CHARACTERS} characters")
        )
    one = _imports(page).check(number, (id_column or None, text_column), prefix)
    return _shown(page, one)


@router.post("/page/import/{number}/write")
async def write_import(number: int, page: ThePage) -> HTMLResponse:
    """Write the rows that can be taken."""
    return _shown(page, _imports(page).write(number))


@router.post("/page/import/{number}/stop")
async def stop_import(number: int, page: ThePage) -> HTMLResponse:
    """Stop the import; the rows that were written stay."""
    return _shown(page, await _imports(page).stop(number))


@router.get("/page/import/{number}")
async def show_import(number: int, page: ThePage) -> HTMLResponse:
    """The progress of the import."""
    return _shown(page, _imports(page).get(number))


@router.get("/page/import/{number}/rejected")
async def rejected_rows(number: int, page: ThePage) -> FileResponse:
    """The rows that can't be taken, each with its line and the reason, as CSV."""
    one = _imports(page).get(number)
    if not one.rejected.exists():
        raise HTTPException(404)  # it was not checked, or is over
    name = f"not-taken-of-{one.name.rpartition('.')[0] or one.name}.csv"
    return WholeFile(one.rejected, media_type="text/csv", filename=name)


def _imports(page: Page) -> Imports:
    return cast(Imports, page.request.app.state.imports)


def _columns(page: Page, one: Import) -> HTMLResponse:
    return page.part("import_preview.html", imported=one)


def _shown(page: Page, one: Import) -> HTMLResponse:
    """The progress of the import. Once rows were written, parts of the page that show the collection's questions are
    loaded anew."""
    answer = page.part("import_job.html", imported=one)
    if one.done and not one.is_under_way:
        answer.headers["HX-Trigger-After-Swap"] = "questions-changed"
    return answer


def _name_and_size(request: Request) -> tuple[str, int]:
    name = unquote(request.headers.get(NAME_HEADER, ""))[:200]
    return name.replace("\\", "/").rpartition("/")[2], _number(request, SIZE_HEADER)


def _number(request: Request, header: str) -> int:
    value = request.headers.get(header, "")
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InvalidRequest(FieldError(header, "must be a whole number"))
    return int(value)
