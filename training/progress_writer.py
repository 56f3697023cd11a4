"""How far a training run is, in a file that the service reads while the run goes on."""

import time
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback

from app.engine.training_contract import Progress, write_one

Phase = Literal["preparing", "training", "measuring", "gate"]


class ProgressWriter:
    """Tells a file how far a run is; without a file it tells nobody.

    The file is replaced whole each time. It is written only when work was done, so that silence means that none is.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._phase: Phase = "preparing"
        self._step = 0

    def phase(self, name: Phase) -> None:
        """A new phase begins."""
        self._phase = name
        self._step = 0
        self._write(Progress(name))

    def beat(self) -> None:
        """One more piece of work is done, of an unknown number."""
        self._step += 1
        self._write(Progress(self._phase, self._step))

    def step(
        self,
        step: int,
        steps: int,
        loss: float | None,
        eta_seconds: float | None,
    ) -> None:
        """Some of the steps of a training are done."""
        self._write(Progress(self._phase, step, steps, loss, eta_seconds))

    def _write(self, progress: Progress) -> None:
        if self._file:
            write_one(self._file, progress, durable=False)


class TrainerProgress(TrainerCallback):
    """Passes a trainer's steps on, and the seconds that the rest will take at the pace so far."""

    def __init__(self, progress: ProgressWriter) -> None:
        self._progress = progress
        self._loss: float | None = None
        self._began = (0, 0.0)  # step, seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Training may go on from a checkpoint, whose steps took no time now."""
        self._began = (state.global_step, time.monotonic())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Batches are told their epoch, also where a training of several processes goes on from a checkpoint.

        There accelerate shards them, and passes no epoch on.
        """
        batches = given["train_dataloader"].batch_sampler
        while hasattr(batches, "batch_sampler"):
            batches = batches.batch_sampler
        if hasattr(batches, "set_epoch"):
            batches.set_epoch(int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Every step is told."""
        first, began = self._began
        pace = (time.monotonic() - began) / max(1, state.global_step - first)
        left = round(pace * (state.max_steps - state.global_step), 1)
        self._progress.step(state.global_step, state.max_steps, self._loss, left)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """The loss comes with the logs."""
        if "loss" in given["logs"]:
            self._loss = float(given["logs"]["loss"])
