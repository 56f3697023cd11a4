"""The servers that are compared, each at work with the same questions and the same weights (all-MiniLM-L6-v2).

*sameask* serves its release (that base, trained further: the same size and cost). *plain* is plain_server.py, exact
search. *infinity* (infinity-emb) makes embeddings and searches nothing; it is asked as it comes (torch in float32) and
in both ways that may be its fastest on a CPU. *Txtai* is its own API over its own index. The last two live in
environments of their own, which `make peers` makes; where one is missing, it is left out and the report says so.
"""

import csv
import json
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from app.engine.bases import find_base
from app.settings import Settings
from benchmarks.corpus import holds, ids_of, say
from benchmarks.load import Asking
from benchmarks.processes import Served, free_port, run, serving, started

MODEL = "all-MiniLM-L6-v2"
SETTINGS: dict[str, Any] = {
    "max_waiting_pairs": 2048
}  # 256 connections with 5 pairs each must find room
NO_CACHE: dict[str, Any] = {"max_cached_embeddings": 0}
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
}


@dataclass(frozen=True)
class Corpus:
    """The questions, as files that every server can read, in a folder where each keeps what it makes of them."""

    texts: Sequence[str]
    folder: Path

    @property
    def lines(self) -> Path:
        """A question a line, as JSON writes it without its quotes."""
        return self.folder / "questions.txt"

    @property
    def vectors(self) -> Path:
        """float32 (questions, dimension), made by sentence-transformers."""
        return self.folder / "vectors.npy"


@dataclass(frozen=True)
class Contender:
    """A server at work: how it is asked, and the text it finds first (None from one that does not search)."""

    asking: Asking
    first: Callable[[Any], str | None]


def prepare(texts: Sequence[str], folder: Path) -> Corpus:
    """Write the questions down, and embed them once for all rivals; what a kept folder has is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(texts, folder)
    write_lines(corpus)
    if not corpus.vectors.exists():
        say("sentence-transformers embeds the questions for the rivals")
        model = SentenceTransformer(str(find_base(MODEL)))
        np.save(
            corpus.vectors,
            model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False),
        )
    return corpus


def write_lines(corpus: Corpus) -> None:
    """Write the questions down for wrk. Exits where others stand there."""
    lines = "".join(json.dumps(text)[1:-1] + "\n" for text in corpus.texts)
    if corpus.lines.exists() and corpus.lines.read_text("utf-8") != lines:
        raise SystemExit(f"{corpus.folder} was made of other questions: name another")
    corpus.lines.write_text(lines, "utf-8")


@contextmanager
def sameask(settings: Settings) -> Iterator[dict[str, Contender]]:
    """Ours, asked without and with the pair classifier."""
    with serving(settings) as server:
        yield {
            name: Contender(
                _asking(server, "/duplicates", after=f'"], "verify": "{verify}"}}'), _of_results
            )
            for name, verify in (("sameask", "never"), ("sameask, verifying", "auto"))
        }


def imported(corpus: Corpus, release: Path, **settings: Any) -> Settings:
    """Settings of ours, whose data directory holds the questions."""
    given = Settings(
        data_dir=corpus.folder / "data", release=release.resolve(), **SETTINGS, **settings
    )
    if not holds(given.data_dir, corpus.texts):
        fill(given, corpus.texts, corpus.folder)
    return given


def fill(settings: Settings, texts: Sequence[str], folder: Path) -> None:
    """`sameask import`, of a file in the folder."""
    file = folder / "questions.csv"
    with file.open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows([("id", "text"), *ids_of(texts)])
    run(settings, "import", str(file))


@contextmanager
def plain(corpus: Corpus) -> Iterator[Served]:
    """The plain server."""
    port = free_port()
    given = (find_base(MODEL), corpus.lines, corpus.vectors, port)
    command = [sys.executable, str(Path(__file__).with_name("plain_server.py")), *map(str, given)]
    with started(command, port, "/openapi.json", QUIET) as server:
        yield server


def infinity_int8(corpus: Corpus, environment: Path) -> AbstractContextManager[Contender]:
    """infinity-emb on onnxruntime, the model exported and quantised by optimum, as its documentation advises."""
    exported, quantized = corpus.folder / "onnx", corpus.folder / "onnx-int8"
    if not quantized.exists():
        optimum, base = environment / "bin" / "optimum-cli", find_base(MODEL)
        kind = ("--task", "feature-extraction", "--library-name", "transformers")
        _run(optimum, "export", "onnx", "--model", base, *kind, exported)
        _run(
            optimum,
            "onnxruntime",
            "quantize",
            "--onnx_model",
            exported,
            _instructions(),
            "-o",
            quantized,
        )
    return _infinity(
        environment, quantized, "--device", "cpu", "--engine", "optimum", "--pooling-method", "mean"
    )


def infinity_torch(dtype: str) -> Callable[[Corpus, Path], AbstractContextManager[Contender]]:
    """infinity-emb on torch, its default, in float32 or bfloat16; on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = (
        "--device",
        device,
        "--engine",
        "torch",
        "--dtype",
        dtype,
        "--no-compile",
        "--no-bettertransformer",
    )
    return lambda _, environment: _infinity(environment, find_base(MODEL), *options)


@contextmanager
def _infinity(environment: Path, model: Path, *options: str) -> Iterator[Contender]:
    """It starts in the model's folder: optimum finds no ONNX file by an absolute path."""
    port = free_port()
    command = [
        str(environment / "bin" / "infinity_emb"),
        "v2",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--model-id", ".", "--served-model-name", MODEL, "--log-level", "error", *options]
    with started(command, port, "/health", QUIET, model) as server:
        yield Contender(
            _asking(server, "/embeddings", f'{{"model": "{MODEL}", "input": ["'), _nothing
        )


@contextmanager
def txtai(corpus: Corpus, environment: Path) -> Iterator[Contender]:
    """txtai's API."""
    index, configuration = corpus.folder / "txtai", corpus.folder / "txtai.yml"
    if not index.exists():
        given = (find_base(MODEL), corpus.lines, corpus.vectors, index)
        _run(environment / "bin" / "python", Path(__file__).with_name("txtai_index.py"), *given)
    configuration.write_text(f"path: {index}\nembeddings:\n  path: {find_base(MODEL)}\n", "utf-8")
    port = free_port()
    command = [
        str(environment / "bin" / "python"),
        "-m",
        "uvicorn",
        "txtai.api:app",
        "--port",
        str(port),
    ]
    command += ["--log-level", "warning", "--no-access-log"]
    with started(command, port, "/count", {**QUIET, "CONFIG": str(configuration)}) as server:
        yield Contender(_asking(server, "/batchsearch", '{"limit": 5, "queries": ["'), _of_rows)


INSTALLED = {
    "infinity, int8": ("infinity", infinity_int8),
    "infinity, bfloat16": ("infinity", infinity_torch("bfloat16")),
    "infinity, float32": ("infinity", infinity_torch("float32")),
    "txtai": ("txtai", txtai),
}


def rivals(
    stack: ExitStack, corpus: Corpus, environments: Path
) -> tuple[dict[str, Contender], list[str]]:
    """All that can be had, started, by name; and the names of those that are not installed."""
    found = {
        "plain": Contender(_asking(stack.enter_context(plain(corpus)), "/duplicates"), _of_results)
    }
    missing = []
    for name, (environment, start) in INSTALLED.items():
        if (environments / environment).is_dir():
            found[name] = stack.enter_context(start(corpus, (environments / environment).resolve()))
        else:
            missing.append(name)
    return found, missing


def share_found(contender: Contender, texts: Sequence[str]) -> float | None:
    """Of stored questions, asked with a number behind them: how many come first in their answer."""
    firsts = []
    with httpx.Client(timeout=60) as client:
        for number, text in enumerate(texts):
            body = contender.asking.body(f"{text} {number}")
            answer = client.post(
                contender.asking.url, content=body, headers={"Content-Type": "application/json"}
            )
            firsts.append(contender.first(answer.raise_for_status().json()))
    return None if None in firsts else sum(map(operator.eq, firsts, texts)) / len(texts)


def _asking(
    server: Served, path: str, before: str = '{"questions": ["', after: str = '"]}'
) -> Asking:
    return Asking(server.url + path, before, after)


def _of_results(answer: Any) -> str:
    return str(answer["results"][0]["candidates"][0]["text"])


def _of_rows(answer: Any) -> str:
    return str(answer[0][0]["text"])


def _nothing(answer: Any) -> None:
    assert len(answer["data"][0]["embedding"]) > 1


def _instructions() -> str:
    """The processor's, that the quantised model is made for, as an option of optimum."""
    flags = Path("/proc/cpuinfo").read_text("utf-8").split()
    return next(
        f"--{name}"
        for name in ("avx512_vnni", "avx512", "avx2", "arm64")
        if name in flags or name == "arm64"
    )


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, env=os.environ | QUIET, stdout=sys.stderr)
