"""Converted models on disk, each a folder that appears by rename, whole, and never changes afterwards.

    <folder>/<release>/<part>-<precision>/
        model.xml, model.bin     OpenVINO's IR
        manifest.json            what it was made of and by, and the files' digests
    <folder>/<release>/choice.json    which backend was the fastest on which machine, and what was measured

All of it can be made again. A file that is damaged, or made by other versions, is.
"""

import errno
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.engine.bases import verify_files
from app.engine.files import replace_file, sha256
from app.engine.models.openvino import read, save, versions
from app.errors import ReleaseRefused

FORMAT = 2  # of the kept models, and of the measurement behind a choice
MODEL = "model.xml"
WEIGHTS = "model.bin"
MANIFEST = "manifest.json"
CHOICE = "choice.json"

log = logging.getLogger(__name__)


class ModelCache:
    """The converted models of one release; of none, where there is no folder."""

    def __init__(self, folder: Path | None, release_digest: str) -> None:
        """`folder` holds every release's models; this release's stand in a folder named by its digest."""
        self._folder = folder / release_digest[:16] if folder else None
        self._made_of = {"format": FORMAT, "release": release_digest, **versions()}

    def model(self, name: str, make: Callable[[], Any]) -> Any:
        """The `openvino.Model` of this name as it was kept, or made now and kept for next time."""
        if self._folder is None:
            return make()
        folder = self._folder / name
        if self._is_good(folder):
            try:
                return read(folder / MODEL)
            except RuntimeError as error:
                log.warning("the converted model %s is made again: %s", folder, error)
        graph = make()
        try:
            self._keep(folder, graph)
        except (OSError, RuntimeError) as error:
            log.warning("the converted model can't be kept in %s: %s", folder, error)
        return graph

    def choice(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """The choice noted on this machine with these versions; empty if there is none, or it can't be read."""
        if self._folder is None:
            return {}
        try:
            written = json.loads((self._folder / CHOICE).read_text("utf-8"))
            is_ours = written["made_of"] == {**self._made_of, **machine}
            parts = written["parts"] if is_ours else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return parts if isinstance(parts, dict) else {}

    def keep_choice(self, machine: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        """Write down which backend each part runs on here, and why."""
        if self._folder is None:
            return
        document = {"made_of": {**self._made_of, **machine}, "parts": parts}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = self._folder / f".{CHOICE}-{os.getpid()}-{threading.get_ident()}"
            replace_file(self._folder / CHOICE, json.dumps(document, indent=2), aside=aside)
        except OSError as error:
            log.warning(
                "the choice of a backend can't be kept, a restart will measure again: %s", error
            )

    def _is_good(self, folder: Path) -> bool:
        try:
            manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
            if manifest["made_of"] != self._made_of:
                return False
            digests = {name: manifest["files"][name] for name in (MODEL, WEIGHTS)}
            verify_files(folder, digests, ReleaseRefused)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, ReleaseRefused) as error:
            log.warning("the converted model %s is made again: %s", folder, error)
            return False
        return True

    def _keep(self, folder: Path, graph: Any) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as made:
            new = Path(made) / "new"
            old = Path(made) / "old"
            new.mkdir()
            save(graph, new / MODEL)
            files = {name: sha256(new / name) for name in (MODEL, WEIGHTS)}
            manifest = {"made_of": self._made_of, "files": files}
            (new / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
            with suppress(FileNotFoundError):
                folder.rename(old)  # a process that reads it has it open
            try:
                new.rename(folder)
            except OSError as error:
                # Another process may have been first, with the same.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
