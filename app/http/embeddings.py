"""`POST /v1/embeddings`: vectors of the live release, in the shape that clients of OpenAI know."""

from base64 import b64encode
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.errors import FieldError, InvalidRequest, Overloaded, ReleaseNotLive
from app.fields import NO_NUL_PATTERN, Limits, StoredId, Text
from app.http.bodies import Body, FirstErrors, counted
from app.http.dependencies import TheDetector, TheSettings, report
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.leaving import while_connected

router = APIRouter(route_class=StrictRoute, tags=["asking"])

WHICHEVER_IS_LIVE = "sameask"

TEXT_SCHEMA = {"type": "string", "minLength": 1, "pattern": NO_NUL_PATTERN}
INPUT_SCHEMA = {"anyOf": [TEXT_SCHEMA, {"type": "array", "minItems": 1, "items": TEXT_SCHEMA}]}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class EmbeddingsQuery(Body):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": WHICHEVER_IS_LIVE, "input": ["How can I change my password?"]}]
        },
    )

    input: Annotated[
        list[Text],
        Field(min_length=1, description="A text, or several; lists of token numbers are refused."),
        FirstErrors(),
        BeforeValidator(_listed),
        WithJsonSchema(INPUT_SCHEMA),
    ]
    model: Annotated[
        StoredId,
        Field(description=f"The live release's name, or `{WHICHEVER_IS_LIVE}`: whichever is live."),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"],
        Field(description="Numbers, or their bytes: float32, the least significant byte first."),
    ] = "float"
    dimensions: Annotated[
        int | None,
        Field(ge=1, le=2**31, strict=True, description="The release's own, if it is given."),
    ] = None
    user: Annotated[str | None, Field(max_length=1000, description="Is not looked at.")] = None


class Embedding(BaseModel):
    """The vector of one text; its length is 1."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="Place of its text in the request.")
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read: of long texts, those before the cut."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """One vector for each text, in their order. The dot product of two is their similarity."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str = Field(description="The release: vectors of two releases can't be compared.")
    usage: Usage


@router.post(
    "/v1/embeddings",
    response_model=EmbeddingList,
    dependencies=[counted(input="max_questions")],
    responses=documented(ReleaseNotLive, Overloaded),
)
async def embed_texts(
    query: EmbeddingsQuery,
    request: Request,
    response: Response,
    detector: TheDetector,
    settings: TheSettings,
) -> object:
    """Embed texts with the live release, in the shape of OpenAI's route of the same name.

    A problem document has a member `error` here as well, for clients that look for nothing else.
    """
    limits = Limits(settings)
    for number, text in enumerate(query.input):
        limits.text(f"input.{number}", text)
    limits.check()
    _check_dimensions(query.dimensions, detector.live.models.encoder.dimension)
    release = None if query.model == WHICHEVER_IS_LIVE else query.model
    embedded = await while_connected(request, detector.embed(query.input, release))
    report(response, embedded.phases.seconds)
    data = [
        {"index": number, "embedding": _written(vector, query.encoding_format)}
        for number, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    return {"data": data, "model": embedded.release, "usage": usage}


def _check_dimensions(wanted: int | None, dimension: int) -> None:
    """Raise InvalidRequest for other dimensions than the release's: its vectors can't be shortened."""
    if wanted not in (None, dimension):
        raise InvalidRequest(FieldError("dimensions", f"may only be {dimension}, the release's"))


def _written(vector: NDArray[np.float32], encoding: str) -> Any:
    """A vector (d,) as numbers, or as base64 of its bytes."""
    if encoding == "base64":
        return b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.tolist()
