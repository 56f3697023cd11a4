"""Why a verdict is what it is, as `/duplicates` and `/pair-score` say it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Span = Annotated[
    tuple[int, int],
    Field(description="Start and end in code points; the end is not part of it."),
]


class PairReason(BaseModel):
    """One reason: what was said, read or left unread of a pair, or how its two texts differ."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "label",
                    "sentence": "anna said so on 12 November 2026",
                    "spans1": [],
                    "spans2": [],
                },
                {
                    "code": "opposite",
                    "sentence": "opposite: turn on → turn off",
                    "spans1": [[9, 13], [14, 16]],
                    "spans2": [[9, 13], [14, 17]],
                },
                {
                    "code": "cut",
                    "sentence": "read only to token 256",
                    "spans1": [[1180, 1424]],
                    "spans2": [],
                },
            ]
        },
    )

    code: str = Field(description="The kind of reason, for programs.")
    sentence: str = Field(description="One plain sentence, for people.")
    spans1: list[Span] = Field(description="Where it shows in the first text, or the one asked.")
    spans2: list[Span] = Field(description="Where it shows in the second text, or the candidate's.")
