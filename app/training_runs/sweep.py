"""Removes the files of training runs that no run needs: its run has ended, or its collection was deleted."""

import re
import shutil
from pathlib import Path

from app.engine.store import Store
from app.settings import Settings

RUNS = "training"  # the folder of the data directory with a folder for each run
CHECKPOINTS = re.compile(r"\..+-(\d+)\.training")  # beside the release that a run is to make


def sweep(store: Store, settings: Settings) -> None:
    """Remove the folders of runs that succeeded, were cancelled, or are no more, and their checkpoints."""
    folders: dict[
        Path, str
    ] = {}  # listed first: a run that begins meanwhile is needed by the time that is asked
    for folder in _within(settings.data_dir / RUNS):
        folders[folder] = folder.name
    for folder in _within(settings.releases_folder):
        if match := CHECKPOINTS.fullmatch(folder.name):
            folders[folder] = match[1]
    if not folders:
        return
    needed = {str(run_id) for run_id in store.training_runs.needing_files()}
    for folder, run_id in folders.items():
        if run_id not in needed:
            shutil.rmtree(folder, ignore_errors=True)


def checkpoints(release: Path) -> Path:
    """Where a child keeps its checkpoints until the release is there."""
    return release.parent / f".{release.name}.training"


def _within(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
