"""The project in a checkout: how its commands are started, without its modules' names."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parent.parent.parent
COMMAND_LINE = Path(__file__).parent / "command_line.py"
WIDTH = "100"
HERE = "/proc/self/cwd"  # an absolute path that stays true wherever the folder is unpacked

Outcome = dict[str, object]


@dataclass(frozen=True)
class Project:
    """A checkout of the project."""

    root: Path = ROOT

    @property
    def entry_point(self) -> str:
        """What the `sameask` command calls, as `module:function`."""
        document = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
        return str(document["project"]["scripts"]["sameask"])

    def environment(self, settings: Mapping[str, object] | None = None) -> dict[str, str]:
        """The environment of every process: this checkout first, a fixed width, no colours, these settings alone."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SAMEASK_", "COV_"))
        }
        for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
            kept.pop(name, None)
        fixed = {
            "PYTHONPATH": str(self.root),
            "PYTHONWARNINGS": "ignore",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": WIDTH,
            "TERMINAL_WIDTH": WIDTH,
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        own = {f"SAMEASK_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        return {**kept, **fixed, **own}

    def run(
        self,
        program: str,
        commands: Sequence[Sequence[str]],
        folder: Path,
        settings: Mapping[str, object],
    ) -> list[Outcome]:
        """Run commands of `sameask` or `training`, one after the other in one process, in the folder."""
        outcome = subprocess.run(
            [sys.executable, str(COMMAND_LINE), program, self.entry_point],
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            cwd=folder,
            env=self.environment(settings),
            check=False,
        )
        if outcome.returncode:
            raise RuntimeError(outcome.stderr)
        return cast(list[Outcome], json.loads(outcome.stdout))

    def help(self, program: str, folder: Path, settings: Mapping[str, object]) -> list[Outcome]:
        """`--help` of every command and every command inside it."""
        outcome = subprocess.run(
            [sys.executable, str(COMMAND_LINE), program, self.entry_point, "--help"],
            capture_output=True,
            text=True,
            cwd=folder,
            env=self.environment(settings),
            check=False,
        )
        if outcome.returncode:
            raise RuntimeError(outcome.stderr)
        return cast(list[Outcome], json.loads(outcome.stdout))
