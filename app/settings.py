"""Every setting of the service: one frozen object, made once in `main`, `cli` or a test, never at import.

Each field is read from the environment as `SAMEASK_<NAME>`; the table in docs/settings.md is made from the
descriptions here, and a test compares the two.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

TargetPrecision = Literal["0.90", "0.95", "0.98", "0.99"]
Backend = Literal[
    "auto", "torch", "torch-fp16", "torch-bf16", "openvino-fp32", "openvino-bf16", "openvino-int8"
]
NO_SETTINGS = ("SAMEASK_KEY",)  # the key of a command that speaks to a server


SHIPPED_RELEASE = Path("releases/minilm-questions-2")
FORMER_RELEASES = (Path("releases/minilm-questions"), Path("releases/minilm-quora"))
LARGER_RELEASE = Path("releases/mpnet-questions")  # what SAMEASK_RELEASE is where there is a GPU
FORMERLY = {  # what SAMEASK_RELEASE was in versions before, the newest first
    SHIPPED_RELEASE: FORMER_RELEASES,
    LARGER_RELEASE: (SHIPPED_RELEASE, *FORMER_RELEASES),
}


class Settings(BaseSettings):
    """The service's settings, from the environment (`SAMEASK_*`) or keyword arguments."""

    model_config = SettingsConfigDict(env_prefix="SAMEASK_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    allowed_hosts: str | None = Field(
        None,
        description="Host names, by comma, under which a server without keys answers beside `localhost` and the like.",
    )
    root_path: str | None = Field(
        None,
        pattern=r"^(/[^/?#\s]+)*$",
        description="Path under which a proxy makes the service known, as `/sameask`.",
    )
    cors_origins: str | None = Field(
        None,
        description="Origins, by comma, whose pages may ask from a browser, as in `https://forum.example.com`.",
    )
    admin_key_file: Path | None = Field(
        None,
        description="File that holds a key with the scope `admin`: 32 characters or more, as of `openssl rand`.",
    )
    webhook_url: str | None = Field(
        None,
        description="Where events are sent: `https`; `http` only to an address of SAMEASK_WEBHOOK_ALLOW_PRIVATE.",
    )
    webhook_secret_file: Path | None = Field(
        None,
        description="File with the secret that signs events: `whsec_` and 24 to 64 random bytes in base64.",
    )
    webhook_allowed_hosts: str | None = Field(
        None,
        description="Host names, by comma, that events may be sent to; the one of SAMEASK_WEBHOOK_URL among them.",
    )
    webhook_allow_private: str | None = Field(
        None,
        description="Private networks, by comma, that events may be sent to, as in `10.1.2.0/24`.",
    )
    data_dir: Path = Field(
        Path("data"),
        description="Folder of the database, snapshots, trained releases and converted models; one process at a time.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Address of a PostgreSQL database that several servers share, as `postgresql://user@host/name`;"
        " unset: the database in SAMEASK_DATA_DIR.",
    )
    releases_dir: Path | None = Field(
        None,
        description="Folder of trained releases, to be shared; unset: `releases` in SAMEASK_DATA_DIR.",
    )
    release: Path = Field(SHIPPED_RELEASE, description="Folder of the release to serve.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs; `auto` takes CUDA where there is a GPU."
    )
    backend: Backend = Field(
        "auto",
        description="The backend of the models: `torch` (float32), `torch-bf16`; on a GPU `torch-fp16`; on a CPU"
        " `openvino-fp32`, `openvino-bf16`, `openvino-int8`. `auto` measures once and takes the fastest that is as good"
        " as `torch`.",
    )
    target_precision: TargetPrecision = Field(
        "0.90",
        description="Precision that the verdict `duplicate` must hold: `0.90`, `0.95`, `0.98` or `0.99`.",
    )
    max_questions: int = Field(100, ge=1, description="Questions in one `POST /duplicates`.")
    max_pairs: int = Field(100, ge=1, description="Pairs in one `POST /pair-score`.")
    max_upsert: int = Field(1000, ge=1, description="Questions in one `POST /questions`.")
    max_labels: int = Field(1000, ge=1, description="Pairs in one `POST /labels`.")
    max_characters: int = Field(10_000, ge=1, description="Characters in one text.")
    max_top_k: int = Field(100, ge=1, description="Largest `top_k`.")
    max_exclude_ids: int = Field(1000, ge=0, description="Ids in `exclude_ids`.")
    max_page: int = Field(1000, ge=1, description="Largest `limit` of a list.")
    max_collections: int = Field(10_000, ge=1, description="Collections.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="Bytes in one request body.")
    max_import_bytes: int = Field(
        2**30, ge=1024, description="Bytes of one file that is imported from the page."
    )
    max_answer_bytes: int = Field(
        8 * 2**20,
        ge=65_536,
        description="Bytes of texts in one answer: pages of lists end before it, `POST /duplicates` refuses more.",
    )
    max_head_bytes: int = Field(
        32 * 2**10, ge=4096, description="Bytes in a request's line and headers."
    )
    max_head_seconds: float = Field(
        20, gt=0, description="Seconds in which a request's line and headers must have come."
    )
    max_body_seconds: float = Field(
        60, gt=0, description="Seconds in which a request's body must have come."
    )
    max_unread_seconds: float = Field(
        60,
        gt=0,
        description="Seconds in which a client must read its answer; after that its connection is closed.",
    )
    max_unread_bytes: int = Field(
        256 * 2**20,
        ge=2**20,
        description="Bytes of answers that all clients together may leave unread; past that, the slowest are let go.",
    )
    max_waiting_texts: int = Field(
        512,
        ge=1,
        description="Texts that may wait for the model at once; past that, requests get 429.",
    )
    verify_depth: int = Field(
        5,
        ge=1,
        description="Candidates of a question that the pair classifier reads at most, with `verify` `auto`.",
    )
    max_waiting_pairs: int = Field(
        1024,
        ge=1,
        description="Pairs that may wait for the pair classifier at once; past that, requests get 429.",
    )
    max_request_tokens: int = Field(
        65_536,
        ge=1024,
        description="Tokens that the models read for one request: more texts are refused, more candidates stay unread.",
    )
    max_waiting_writes: int = Field(
        256, ge=1, description="Writes that may be under way at once; past that, requests get 429."
    )
    max_batch_tokens: int | None = Field(
        None,
        ge=16,
        description="Tokens in one batch of the model; unset: 1,024 on a CPU, 32,768 on a GPU.",
    )
    max_cached_embeddings: int = Field(
        10_000,
        ge=0,
        description="Embeddings of texts asked lately that are kept, 4 bytes times the dimension each (10,000: 15 MiB"
        " with 384); 0: none.",
    )
    data_sets: Path | None = Field(
        None,
        description="Folder whose folders are the data sets that training may use beside labels; unset: none.",
    )
    elsewhere: Path | None = Field(
        None,
        description="Pairs of other domains, on which a trained release must not be worse; unset: those of Sameask.",
    )
    gate_margin: float = Field(
        0.005,
        ge=0,
        lt=1,
        description="How much worse than the live release a trained one may be, on any measure.",
    )
    training_worker: bool = Field(
        True,
        description="Whether the server works on training runs itself; if not, `sameask worker` does.",
    )
    training_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where training runs; `auto` takes CUDA where 8 GiB of the GPU are free beside what is served.",
    )
    training_max_bytes: int = Field(
        8 * 2**30,
        ge=2**20,
        description="Resident memory of a training run; past that, it is ended.",
    )
    training_silence_seconds: float = Field(
        600,
        gt=0,
        description="Seconds without progress or a line in its log after which a training run is ended.",
    )
    max_events_seconds: float = Field(
        3600,
        gt=0,
        description="Seconds after which a stream of events ends; browsers connect again.",
    )
    keep_releases: int = Field(
        3,
        ge=0,
        description="Releases that were live before the live one and can't be removed, so as to roll back.",
    )
    auto_promote: bool = Field(
        False, description="Make a trained release live when it passes its gate."
    )
    diff_questions: int = Field(
        500,
        ge=1,
        description="Questions of a collection whose nearest pairs a diff of two releases looks at.",
    )
    remember_asked: bool = Field(
        False,
        description="Remember what `POST /duplicates` is asked, for the review queue: 10,000 texts of a collection and"
        " 30 days at most.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least serious log line written. No level writes question texts."
    )

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, values: Any) -> Any:
        """A variable that is no setting is misspelt: to pass it over would start a service other than was meant."""
        known = [f"SAMEASK_{name.upper()}" for name in cls.model_fields]
        for name in sorted(os.environ):
            spelt = name.upper()
            if spelt.startswith("SAMEASK_") and spelt not in (*known, *NO_SETTINGS):
                close = get_close_matches(spelt, known, 1)
                hint = f": {close[0]} is meant?" if close else ""
                raise ValueError(f"{name} is no setting{hint}")
        return values

    @field_validator("target_precision", mode="before")
    @classmethod
    def _precision_as_a_number(cls, value: Any) -> Any:
        """`0.9` is `0.90`: what is no number is left to the rule of the field."""
        try:
            return f"{float(value):.2f}" if round(float(value), 2) == float(value) else value
        except (TypeError, ValueError):
            return value

    @model_validator(mode="after")
    def _requests_fit_the_queue(self) -> Self:
        largest = max(self.max_questions, 2 * self.max_pairs)
        if largest > self.max_waiting_texts:
            raise ValueError(
                f"SAMEASK_MAX_WAITING_TEXTS: is {self.max_waiting_texts}; the largest request has {largest} texts"
                " (SAMEASK_MAX_QUESTIONS, or twice SAMEASK_MAX_PAIRS)"
            )
        pairs = max(self.max_questions * self.verify_depth, self.max_pairs)
        if pairs > self.max_waiting_pairs:
            raise ValueError(
                f"SAMEASK_MAX_WAITING_PAIRS: is {self.max_waiting_pairs}; the largest request has {pairs} pairs"
                " (SAMEASK_MAX_QUESTIONS times SAMEASK_VERIFY_DEPTH, or SAMEASK_MAX_PAIRS)"
            )
        return self

    @property
    def store_url(self) -> str | None:
        """The address of the shared database, its password readable; None without one."""
        return self.database_url.get_secret_value() if self.database_url else None

    @property
    def releases_folder(self) -> Path:
        """Where trained releases are."""
        return self.releases_dir or self.data_dir / "releases"

    @property
    def former_releases(self) -> tuple[Path, ...]:
        """Those that versions before served, where nobody chose one; they stay in place, beside the new one."""
        return FORMERLY.get(self.release, ())
