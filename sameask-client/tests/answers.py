"""Documents as the service sends them."""

from typing import Any

AT = "2026-01-31T09:30:00Z"

REASON: dict[str, Any] = {
    "code": "cut",
    "sentence": "read only to token 256",
    "spans1": [[1180, 1424]],
    "spans2": [],
}
PAIR_LABEL: dict[str, Any] = {
    "id": 3,
    "is_duplicate": True,
    "by": "anna",
    "at": AT,
    "contradicted": False,
}
CANDIDATE: dict[str, Any] = {
    "id": "a",
    "ids": ["a", "b"],
    "id_count": 2,
    "text": "One?",
    "truncated": False,
    "similarity": 0.9,
    "probability": 1,
    "read": True,
    "verdict": "duplicate",
    "reasons": [REASON],
    "label": PAIR_LABEL,
}
FINDING: dict[str, Any] = {
    "question": "Uno?",
    "verdict": "duplicate",
    "truncated": True,
    "candidates": [CANDIDATE],
}
DUPLICATES: dict[str, Any] = {
    "release": "tiny",
    "collection": "default",
    "revision": 7,
    "results": [FINDING],
}
SCORES: dict[str, Any] = {
    "release": "tiny",
    "scores": [
        {
            "similarity": 0.5,
            "probability": 0.1,
            "verdict": "different",
            "reasons": [],
            "label": None,
        }
    ],
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8, 0]}],
    "model": "tiny",
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
WRITTEN = {"collection": "default", "revision": 2, "added": 1, "updated": 1, "unchanged": 0}
QUESTION = {"id": "a/b", "text": "One?", "revision": 1, "quarantined": None}
DELETED = {"collection": "default", "revision": 3}
LABELLED = {
    "collection": "default",
    "added": 1,
    "replaced": 0,
    "unchanged": 0,
    "labels": [{"id": 1, "contradicted": False}],
}
LABEL = {
    "id": 1,
    "questions": ["One?", "Two?"],
    "is_duplicate": False,
    "by": "anna",
    "at": AT,
    "note": None,
    "contradicted": False,
    "ended": {"by": "bert", "at": AT, "replaced_by": None},
}
COLLECTION = {"name": "faq", "revision": 0, "questions": 0, "created_at": AT}
THRESHOLDS = {"source": "collection", "review_source": "release", "duplicate": None, "review": 0.03}
PROMISE = {
    "target_precision": 0.95,
    "duplicate": None,
    "precision_bound": None,
    "recall": None,
    "labels": 12,
    "lacking": 60,
}
EVIDENCE: dict[str, Any] = {
    "collection": "faq",
    "release": "tiny",
    "target_precision": 0.95,
    "review_recall": None,
    "thresholds": THRESHOLDS,
    "promise": PROMISE,
    "promises": [PROMISE],
    "labels": {
        "counted": 12,
        "duplicates": 9,
        "skipped": 1,
        "contradicted": 0,
        "not_offered": 4,
        "by": [{"by": "anna", "labels": 12}],
    },
    "near_pairs": {"known": 30, "to_read": 0},
    "asked_hours": 1.5,
    "curve": [
        {
            "threshold": 0.5,
            "pairs": 20,
            "labels": 12,
            "precision": 0.9,
            "precision_low": 0.6,
            "precision_high": 1.0,
            "recall": 0.8,
            "recall_low": 0.3,
            "recall_high": 0.95,
            "volume_a_day": None,
        }
    ],
}
REVIEW_QUEUE: dict[str, Any] = {
    "collection": "faq",
    "release": "tiny",
    "pairs": [
        {
            "id": 17,
            "questions": [{"id": None, "text": "One?"}, {"id": "b", "text": "Two?"}],
            "similarity": 0.83,
            "probability": 0.71,
            "verdict": "review",
            "offered_by": "random",
            "offered_probability": 0.0021,
            "claimed_until": AT,
        }
    ],
    "waiting": 5,
    "to_read": 0,
}
SKIPPED = {"collection": "faq", "id": 17}
RUN: dict[str, Any] = {
    "id": 4,
    "collection": "default",
    "state": "running",
    "cancelling": False,
    "recipe": "both",
    "data_set": None,
    "target_precision": "0.90",
    "champion": "tiny",
    "created_at": AT,
    "started_at": AT,
    "ended_at": None,
    "progress": {"phase": "training", "step": 3, "steps": 9, "loss": 0.5, "eta_seconds": 40},
    "log": "",
    "release": None,
    "gate": None,
    "error": None,
}
SWAP: dict[str, Any] = {
    "release": "default-4",
    "phase": "indexing",
    "goes_live": True,
    "collections": 1,
    "questions": 10,
    "questions_indexed": 5,
    "failure": None,
}
LIVE: dict[str, Any] = {
    "release": "tiny",
    "digest": "ab",
    "since": AT,
    "reason": None,
    "swap": SWAP,
}
RELEASES: dict[str, Any] = {
    "releases": [
        {
            "name": "tiny",
            "state": "live",
            "why": None,
            "digest": "ab",
            "parent": None,
            "created_at": "2026-01-31",
            "dimension": 32,
            "metrics": {"ap": 0.9},
            "last_live_at": None,
            "shadow": None,
        }
    ]
}
JUDGEMENT = {"similarity": 0.9, "probability": 0.8, "verdict": "review"}
DIFF: dict[str, Any] = {
    "collection": "default",
    "live": "tiny",
    "shadow": "default-4",
    "questions": 2,
    "pairs": 1,
    "labelled": 0,
    "changed": 1,
    "changes": [{"live": "review", "shadow": "different", "pairs": 1}],
    "examples": [
        {
            "questions": [{"id": "a", "text": "One?"}, {"id": "b", "text": "Two?"}],
            "live": JUDGEMENT,
            "shadow": JUDGEMENT,
        }
    ],
}
READY: dict[str, Any] = {
    "ready": False,
    "failure": "the service is starting",
    "refused": None,
    "release": None,
    "collections": 0,
    "collections_ready": 0,
    "questions": 0,
    "questions_indexed": 0,
    "recall": 1,
}
