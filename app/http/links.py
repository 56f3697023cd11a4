"""OpenAPI links: where an answer leads, and which of its values the next request takes.

`LINKS` is the one place where they stand, by operation and status, as scopes stand in `access.SCOPES`. They are kept
because the document is walked along them: by clients that explore it, and by the fuzzer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Link:
    """A next request: its operation, its parameters and fields of its body, as values or runtime expressions."""

    operation: str
    description: str
    parameters: Mapping[str, str]
    body: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The OpenAPI object of the link."""
        described: dict[str, Any] = {
            "operationId": self.operation,
            "description": self.description,
        }
        if self.parameters:
            described["parameters"] = dict(self.parameters)
        if self.body:
            described["requestBody"] = dict(self.body)
        return described


def to(
    operation: str, description: str, body: Mapping[str, Any] | None = None, **parameters: str
) -> Link:
    """A link whose parameters are written as such."""
    return Link(operation, description, parameters, body)


COLLECTION = "$response.body#/collection"
NAME = "$response.body#/name"
RUN = "$response.body#/id"
ASKED_COLLECTION = "$request.query.collection"
WRITTEN_COLLECTION = "$request.body#/collection"
FIRST_ID = "$request.body#/questions/0/id"
FIRST_TEXT = "$request.body#/questions/0/text"
FIRST_LABEL = "$response.body#/labels/0/id"
CURSOR = "$response.body#/next_cursor"

A_LABEL = {
    "questions": [FIRST_TEXT, "Is this another question?"],
    "is_duplicate": False,
    "by": "anna",
}

# Lists of links that several answers share.
OF_A_COLLECTION = [
    to("upsert_questions", "Put questions into it.", {"collection": NAME}),
    to("list_questions", "List its questions.", collection=NAME),
    to("label_pairs", "Label pairs in it.", {"collection": NAME}),
    to("read_collection", "Read it again.", name=NAME),
    to("read_evidence", "See what its labels support.", name=NAME),
    to("read_review_queue", "Get pairs to label.", name=NAME, by="anna"),
    to("delete_collection", "Delete it.", name=NAME),
]
OF_A_RUN = [
    to("read_training_run", "Read it again.", id=RUN),
    to("follow_training_run", "Follow it.", id=RUN),
    to("cancel_training_run", "Cancel it.", id=RUN),
]
OF_A_SWAP = [
    to("read_live_release", "See how far it is."),
    to("roll_back_release", "Go back."),
]
WHERE_IT_IS_WRITTEN = [to("create_collection", "Make the collection.", name=WRITTEN_COLLECTION)]
WHERE_IT_IS_ASKED = [to("create_collection", "Make the collection.", name=ASKED_COLLECTION)]

LINKS: Mapping[str, Mapping[int, Sequence[Link]]] = {
    "find_duplicates": {404: WHERE_IT_IS_WRITTEN},
    "score_pairs": {404: WHERE_IT_IS_WRITTEN},
    "upsert_questions": {
        200: [
            to("read_question", "Read the first of them.", id=FIRST_ID, collection=COLLECTION),
            to("delete_question", "Delete the first of them.", id=FIRST_ID, collection=COLLECTION),
            to(
                "find_duplicates",
                "Ask for the first of them; the answer knows it.",
                {"collection": COLLECTION, "questions": [FIRST_TEXT]},
            ),
            to(
                "label_pairs",
                "Say that the first of them asks something else than another question.",
                {"collection": COLLECTION, "labels": [A_LABEL]},
            ),
        ],
        404: WHERE_IT_IS_WRITTEN,
    },
    "list_questions": {
        200: [
            to(
                "list_questions",
                "The next page, unless null.",
                cursor=CURSOR,
                collection=COLLECTION,
            ),
        ],
        404: WHERE_IT_IS_ASKED,
    },
    "label_pairs": {
        200: [
            to(
                "undo_label",
                "Undo the first of them.",
                id=FIRST_LABEL,
                collection=COLLECTION,
                by="$request.body#/labels/0/by",
            ),
            to("list_labels", "List the labels.", collection=COLLECTION),
        ],
        404: WHERE_IT_IS_WRITTEN,
    },
    "list_labels": {
        200: [
            to("list_labels", "The next page, unless null.", cursor=CURSOR, collection=COLLECTION),
            to(
                "undo_label",
                "Undo the first of them.",
                id=FIRST_LABEL,
                collection=COLLECTION,
                by="$response.body#/labels/0/by",
            ),
        ],
        404: WHERE_IT_IS_ASKED,
    },
    "undo_label": {
        200: [to("list_labels", "List the collection's labels.", collection=ASKED_COLLECTION)],
    },
    "create_collection": {200: OF_A_COLLECTION, 201: OF_A_COLLECTION},
    "read_evidence": {
        200: [to("read_review_queue", "Get pairs to label.", name=COLLECTION, by="anna")],
    },
    "read_review_queue": {
        200: [
            to(
                "skip_pair",
                "Skip the first of them.",
                {"by": "$request.query.by", "id": "$response.body#/pairs/0/id"},
                name=COLLECTION,
            ),
            to("label_pairs", "Label one of them.", {"collection": COLLECTION}),
            to("read_evidence", "See what the labels support.", name=COLLECTION),
        ],
    },
    "skip_pair": {
        200: [to("read_review_queue", "Get others.", name=COLLECTION, by="$request.body#/by")],
    },
    "list_collections": {
        200: [to("list_collections", "The next page, unless null.", cursor=CURSOR)]
    },
    "start_training": {
        202: OF_A_RUN,
        404: WHERE_IT_IS_WRITTEN,
        409: [to("label_pairs", "Label pairs.", {"collection": WRITTEN_COLLECTION})],
    },
    "list_training_runs": {
        200: [
            to("list_training_runs", "The next page, unless null.", cursor=CURSOR),
            to(
                "read_training_run",
                "Read the first of them.",
                id="$response.body#/training_runs/0/id",
            ),
        ]
    },
    "read_training_run": {200: OF_A_RUN},
    "cancel_training_run": {202: OF_A_RUN},
    "resume_training_run": {202: OF_A_RUN},
    "open_shadow": {
        202: [to("read_shadow", "See how far it is."), to("cancel_shadow", "End it.")],
    },
    "activate_release": {202: OF_A_SWAP},
    "roll_back_release": {202: OF_A_SWAP},
}


def link_operations(document: dict[str, Any]) -> None:
    """Write the links into an OpenAPI document. Raises KeyError for a status that the operation does not have."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, links in LINKS.get(operation["operationId"], {}).items():
                response = operation["responses"][str(status)]
                response["links"] = {link.operation: link.document() for link in links}
