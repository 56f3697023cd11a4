"""The commands `make` and `check`; the package's docstring describes them."""

import argparse
import pkgutil
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.record.check import RECORDED, check
from tests.record.observation import observe
from tests.record.project import ROOT, Project

KEPT = RECORDED / "kept.tar.xz"


def main() -> int:
    """Do what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.record", description="A record of what the service does."
    )
    parser.add_argument("command", choices=("make", "check"))
    parser.add_argument("--root", type=Path, default=ROOT, help="Checkout whose service runs.")
    parser.add_argument(
        "--keep", action="store_true", help="With `make`: keep the data directory that is there."
    )
    arguments = parser.parse_args()
    project = Project(arguments.root.resolve())
    if arguments.command == "make":
        make(project, keep=arguments.keep)
        return 0
    wrong = check(project)
    sys.stdout.write("\n".join(wrong) + "\n" if wrong else "the same as recorded\n")
    return 1 if wrong else 0


def make(project: Project, *, keep: bool) -> None:
    """Write the record anew."""
    RECORDED.mkdir(exist_ok=True)
    if not keep:
        with tempfile.TemporaryDirectory(prefix="record-") as folder:
            pkgutil.resolve_name("tests.record.making:make_kept")(
                project, Path(folder)
            )  # it loads torch
            _pack(Path(folder))
    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        for name, content in observe(project, KEPT, Path(folder)).items():
            (RECORDED / name).write_text(content, "utf-8")


def _pack(folder: Path) -> None:
    with tarfile.open(KEPT, "w:xz", preset=9) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)


if __name__ == "__main__":
    sys.exit(main())
