"""Where a training run has come to, in a file that the service reads while it goes on."""

import json
import time
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback

Phase = Literal["preparing", "training", "measuring", "gate"]


class Progress:
    """Tells a file where a run is; without a file it tells nobody.

    The file is replaced whole at each word: phase, step of how many, loss, and seconds that the phase may still take.
    Nothing is written but when work was done, so that silence means that none is.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._phase: Phase = "preparing"
        self._step = 0

    def phase(self, name: Phase) -> None:
        """A new phase begins."""
        self._phase, self._step = name, 0
        self._tell(None, None, None, None)

    def beat(self) -> None:
        """One more piece of work is done, of a number that isn't known."""
        self._step += 1
        self._tell(self._step, None, None, None)

    def step(self, step: int, steps: int, loss: float | None, eta_seconds: float | None) -> None:
        """So many steps of a training are done."""
        self._tell(step, steps, loss, eta_seconds)

    def _tell(
        self, step: int | None, steps: int | None, loss: float | None, eta_seconds: float | None
    ) -> None:
        if self._file:
            told = {
                "phase": self._phase,
                "step": step,
                "steps": steps,
                "loss": loss,
                "eta_seconds": eta_seconds,
            }
            replace(self._file, told)


class TellProgress(TrainerCallback):
    """Passes a trainer's steps on, and how long the rest will take at the pace so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._loss: float | None = None
        self._began = (0, 0.0)  # step, seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """It may go on from a checkpoint, whose steps took no time now."""
        self._began = (state.global_step, time.monotonic())

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


def replace(file: Path, content: object) -> None:
    """Write JSON in place of what a file holds; nobody ever reads a half of it."""
    aside = file.with_name(f".{file.name}")
    aside.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    aside.replace(file)
