"""A client of Sameask: has this question been asked before?

`Client` waits for each answer, `AsyncClient` is for asynchronous code. Both have the same methods, by the names that
the service's OpenAPI document gives its operations. A call becomes one description of a request (`operation.py`), which
says how its answer becomes a frozen dataclass. The two classes send it, again where that is safe and may help
(`retrying.py`).
"""

from sameask_client.asking import (
    Candidate,
    Duplicates,
    Finding,
    PairLabel,
    Reason,
    Score,
    Scores,
    Verdict,
)
from sameask_client.async_client import AsyncClient
from sameask_client.client import Client
from sameask_client.collections import Collection, Thresholds
from sameask_client.documents import as_document
from sameask_client.embeddings import Embedding, Embeddings, Usage
from sameask_client.errors import (
    Conflict,
    InvalidRequest,
    KeyRefused,
    NoAnswer,
    NotAllowed,
    NotFound,
    NotSameask,
    Overloaded,
    ProblemError,
    SameaskError,
    ServiceFailing,
    WrongArgument,
)
from sameask_client.health import Alive, Ready
from sameask_client.labels import (
    Ending,
    GivenLabel,
    ImportedLabels,
    Label,
    Labelled,
    NewLabel,
)
from sameask_client.operation import UNSET
from sameask_client.promises import (
    CurvePoint,
    Evidence,
    LabelCounts,
    Labeller,
    NearPairs,
    OfferedPair,
    OfferedQuestion,
    Promise,
    ReviewQueue,
    Skipped,
)
from sameask_client.questions import Deleted, ImportedQuestions, Question, Written
from sameask_client.releases import (
    Change,
    ChangedPair,
    ComparedQuestion,
    Judgement,
    LiveRelease,
    PromiseChange,
    Release,
    ReleaseDiff,
    ReleaseList,
    SwapProgress,
)
from sameask_client.retrying import NO_RETRIES, Retries
from sameask_client.training_runs import TrainingProgress, TrainingRun
from sameask_client.version import __version__

__all__ = [
    "NO_RETRIES",
    "UNSET",
    "Alive",
    "AsyncClient",
    "Candidate",
    "Change",
    "ChangedPair",
    "Client",
    "Collection",
    "ComparedQuestion",
    "Conflict",
    "CurvePoint",
    "Deleted",
    "Duplicates",
    "Embedding",
    "Embeddings",
    "Ending",
    "Evidence",
    "Finding",
    "GivenLabel",
    "ImportedLabels",
    "ImportedQuestions",
    "InvalidRequest",
    "Judgement",
    "KeyRefused",
    "Label",
    "LabelCounts",
    "Labelled",
    "Labeller",
    "LiveRelease",
    "NearPairs",
    "NewLabel",
    "NoAnswer",
    "NotAllowed",
    "NotFound",
    "NotSameask",
    "OfferedPair",
    "OfferedQuestion",
    "Overloaded",
    "PairLabel",
    "ProblemError",
    "Promise",
    "PromiseChange",
    "Question",
    "Ready",
    "Reason",
    "Release",
    "ReleaseDiff",
    "ReleaseList",
    "Retries",
    "ReviewQueue",
    "SameaskError",
    "Score",
    "Scores",
    "ServiceFailing",
    "Skipped",
    "SwapProgress",
    "Thresholds",
    "TrainingProgress",
    "TrainingRun",
    "Usage",
    "Verdict",
    "Written",
    "WrongArgument",
    "__version__",
    "as_document",
]
