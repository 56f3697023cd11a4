"""Files of the pages: named by their content, so that a browser may keep them for ever, and packed once."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

FOLDER = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
DIGEST_DIGITS = 12
MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}

router = APIRouter()


@dataclass(frozen=True)
class StaticFile:
    """A file: its name with a part of its digest, its content as it is and packed, and its type."""

    name: str
    content: bytes
    packed: bytes
    media_type: str


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]
    return StaticFile(
        name=f"{path.stem}.{digest}{path.suffix}",
        content=content,
        packed=gzip.compress(content, mtime=0),
        media_type=MEDIA_TYPES[path.suffix],
    )


FILES: Mapping[str, StaticFile] = {path.name: _read(path) for path in sorted(FOLDER.iterdir())}
BY_SERVED_NAME: Mapping[str, StaticFile] = {file.name: file for file in FILES.values()}


@router.get("/page/static/{name}")
async def static_file(name: str, request: Request) -> Response:
    """One file; 404 for a name that no page of this version has."""
    file = BY_SERVED_NAME.get(name)
    if file is None:
        raise HTTPException(404)
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
