"""A release folder opens by value, and any byte that is not as its manifest says refuses it by name."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from app.engine.bases import KNOWN, WEIGHTS, BaseModel, find_base
from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.engine.release import (
    TARGET_PRECISIONS,
    Release,
    calibration_document,
    thresholds_document,
)
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds
from app.engine.signals import Reader
from app.engine.verdicts import Judge
from app.errors import ReleaseRefused
from tests.conftest import RELEASES
from tests.damage import flip_a_byte

MINILM = "all-MiniLM-L6-v2"
LISTED = ["calibration.json", "thresholds.json", "metrics.json", "README.md"]


@pytest.fixture
def folder(tmp_path: Path, tiny_release: Release) -> Path:
    """A copy of the tiny release, to be damaged."""
    return Path(shutil.copytree(tiny_release.path, tmp_path / "release"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file of a release; the manifest's digests stay right."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")
    if path.name != "manifest.json":
        rewrite(
            path.parent / "manifest.json",
            lambda manifest: manifest["files"].update({path.name: sha256(path)}),
        )


# Opening


def test_a_release_opens_by_value(folder: Path, tiny_model: Path) -> None:
    release = Release.open(folder)
    assert (release.path, release.name, release.parent, release.dimension) == (
        folder,
        "tiny",
        None,
        32,
    )
    assert release.base == BaseModel(str(tiny_model), {WEIGHTS: sha256(tiny_model / WEIGHTS)})
    assert release.by_similarity.calibration == Calibration([100.0], bias=-90.0)
    assert release.by_similarity.thresholds == Thresholds(
        dict.fromkeys(TARGET_PRECISIONS, Threshold(0.9, 0.9, 0.5, 100)), review=0.5
    )
    assert (release.by_pair, release.open_from, release.metrics) == (None, -1.0, {})
    assert release.digest == sha256(folder / "manifest.json")


def test_what_training_writes_is_what_the_service_reads(folder: Path) -> None:
    thresholds = {
        target: Threshold(0.8 + i / 100, 0.9 + i / 100, 0.5 - i / 10, 100 - i)
        for i, target in enumerate(TARGET_PRECISIONS)
    }
    thresholds["0.99"] = Threshold(None, None, 0.0, 0, lacking=5000)
    scale = Scale(
        Calibration([100.0], -90.0, [(0.0, 0.0), (1.0, 0.9)]), Thresholds(thresholds, 0.25)
    )
    rewrite(
        folder / "calibration.json",
        lambda content: content.update(calibration_document(scale, None)),
    )
    rewrite(
        folder / "thresholds.json",
        lambda content: content.update(thresholds_document(scale, None, 0.125)),
    )
    release = Release.open(folder)
    assert release.by_similarity.thresholds == scale.thresholds
    assert [tuple(knot) for knot in release.by_similarity.calibration.knots or ()] == [
        (0.0, 0.0),
        (1.0, 0.9),
    ]
    assert release.open_from == 0.125


def test_the_scorer_is_the_releases_own(tiny_release: Release, tiny_encoder: Encoder) -> None:
    scorer = tiny_release.scorer("0.95")
    (probability,) = scorer.probability(np.array([0.9], dtype=np.float32))
    assert probability == pytest.approx(0.5, abs=1e-5)
    judge = Judge(scorer, Reader(tiny_encoder, None))
    verdicts = [judge.verdict(p, is_read=False) for p in (0.9, 0.89, 0.49)]
    assert verdicts == ["duplicate", "review", "different"]


@pytest.mark.parametrize(
    ("said", "languages", "is_english"),
    [(None, ["en"], True), (["en"], ["en"], True), (["en", "de"], ["en", "de"], False)],
)
def test_a_release_is_for_english_unless_it_names_other_languages(
    folder: Path, said: list[str] | None, languages: list[str], is_english: bool
) -> None:
    def say(manifest: dict[str, Any]) -> None:
        manifest.pop("languages", None)
        if said is not None:
            manifest["languages"] = said

    rewrite(folder / "manifest.json", say)
    release = Release.open(folder)
    assert list(release.languages) == languages
    assert release.scorer("0.95").is_english == is_english


# Damage


@pytest.mark.parametrize("name", LISTED)
def test_a_flipped_byte_refuses_the_release_and_names_the_file(folder: Path, name: str) -> None:
    flip_a_byte(folder / name)
    with pytest.raises(
        ReleaseRefused, match=rf"{name} has sha256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"
    ):
        Release.open(folder)


@pytest.mark.parametrize("name", LISTED)
def test_a_missing_file_refuses_the_release_and_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ReleaseRefused, match=f"{name} is missing"):
        Release.open(folder)


def test_all_the_files_of_the_release_are_listed(tiny_release: Release) -> None:
    names = {path.name for path in tiny_release.path.iterdir()}
    assert names == {*LISTED, "manifest.json"}
    assert set(tiny_release.manifest["files"]) == set(LISTED)


@pytest.mark.parametrize("name", ["calibration.json", "thresholds.json", "metrics.json"])
def test_a_file_without_a_digest_is_not_read(folder: Path, name: str) -> None:
    rewrite(folder / "manifest.json", lambda manifest: manifest["files"].pop(name))
    with pytest.raises(ReleaseRefused, match=name):
        Release.open(folder)


def test_a_folder_without_a_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").unlink()
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(ReleaseRefused, match=r"can't read .*manifest\.json"):
            Release.open(path)


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b'{"name": "\xff"}'])
def test_a_manifest_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ReleaseRefused, match=r"can't read .*manifest\.json"):
        Release.open(folder)


@pytest.mark.parametrize("content", ["[]", "null", '"manifest"'])
def test_a_manifest_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ReleaseRefused, match=r"manifest\.json is not a JSON object"):
        Release.open(folder)


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_another_format_is_refused(folder: Path, found: object) -> None:
    rewrite(folder / "manifest.json", lambda manifest: manifest.update(format=found))
    with pytest.raises(ReleaseRefused, match=f"has format {found!r}; this version reads 1"):
        Release.open(folder)


@pytest.mark.parametrize("key", ["name", "parent", "base_model", "dimension", "files"])
def test_a_manifest_without_a_key_is_refused_and_the_key_named(folder: Path, key: str) -> None:
    rewrite(folder / "manifest.json", lambda manifest: manifest.pop(key))
    with pytest.raises(ReleaseRefused, match=f"'{key}'"):
        Release.open(folder)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("calibration.json", "similarity"),
        ("thresholds.json", "similarity"),
        ("thresholds.json", "open_from"),
    ],
)
def test_a_file_without_a_key_refuses_the_release(folder: Path, file: str, key: str) -> None:
    rewrite(folder / file, lambda content: content.pop(key))
    with pytest.raises(ReleaseRefused, match=f"is incomplete: .*'{key}'"):
        Release.open(folder)


@pytest.mark.parametrize("target", TARGET_PRECISIONS)
def test_every_target_precision_has_a_threshold(folder: Path, target: str) -> None:
    rewrite(
        folder / "thresholds.json", lambda content: content["similarity"]["duplicate"].pop(target)
    )
    with pytest.raises(ReleaseRefused, match=f"'{target}'"):
        Release.open(folder)


@pytest.mark.parametrize("files", [["calibration.json"], "calibration.json", None, 1])
def test_files_that_are_no_object_refuse_the_release(folder: Path, files: object) -> None:
    rewrite(folder / "manifest.json", lambda manifest: manifest.update(files=files))
    with pytest.raises(ReleaseRefused):
        Release.open(folder)


@pytest.mark.parametrize("name", ["../outside.json", "../release/../outside.json", "{absolute}"])
def test_a_listed_file_outside_the_folder_is_refused_even_with_its_digest(
    folder: Path, name: str
) -> None:
    outside = folder.parent / "outside.json"
    outside.write_text("{}")
    name = name.format(absolute=outside)
    rewrite(
        folder / "manifest.json", lambda manifest: manifest["files"].update({name: sha256(outside)})
    )
    with pytest.raises(ReleaseRefused, match=r"outside\.json' lies outside"):
        Release.open(folder)


NESTED = "[" * 100_000


@pytest.mark.parametrize("name", ["manifest.json", "calibration.json", "metrics.json"])
@pytest.mark.parametrize(
    "content", [f'{{"a":{NESTED}', '{"a": "\\ud800"}', f'{{"a": {5000 * "9"}}}', " " * 2**25]
)
def test_json_that_no_reader_survives_is_refused(folder: Path, name: str, content: str) -> None:
    """Nested without end, half of a character, a number of thousands of digits, megabytes."""
    (folder / name).write_text(content)
    if name != "manifest.json":
        rewrite(
            folder / "manifest.json",
            lambda manifest: manifest["files"].update({name: sha256(folder / name)}),
        )
    with pytest.raises(ReleaseRefused, match=rf"can't read .*{name}"):
        Release.open(folder)


WRONG: list[tuple[str, list[str | int], object]] = [
    ("manifest.json", ["name"], 7),
    ("manifest.json", ["parent"], ["a"]),
    ("manifest.json", ["dimension"], "384"),
    ("manifest.json", ["dimension"], 0),
    ("manifest.json", ["base_model"], "all-MiniLM-L6-v2"),
    ("manifest.json", ["base_model", "files"], ["model.safetensors"]),
    ("manifest.json", ["files", "README.md"], None),
    ("manifest.json", ["created_at"], 1.5),
    ("manifest.json", ["languages"], "en"),
    ("manifest.json", ["languages"], [1]),
    ("calibration.json", ["similarity"], []),
    ("calibration.json", ["similarity", "bias"], "-90"),
    ("calibration.json", ["similarity", "weights"], 100.0),
    ("calibration.json", ["similarity", "weights"], ["100"]),
    ("calibration.json", ["similarity", "weights"], [100.0, 1.0]),
    ("calibration.json", ["similarity", "weights", 0], float("nan")),
    ("calibration.json", ["similarity", "limits"], [1.0, 2.0]),
    ("calibration.json", ["similarity", "knots"], []),
    ("calibration.json", ["similarity", "knots"], [[0.0]]),
    ("calibration.json", ["similarity", "knots"], [[1.0, 0.0], [0.0, 1.0]]),
    ("thresholds.json", ["open_from"], "0.5"),
    ("thresholds.json", ["open_from"], None),
    ("thresholds.json", ["similarity", "review"], "0.5"),
    ("thresholds.json", ["similarity", "review"], float("inf")),
    ("thresholds.json", ["similarity", "duplicate"], [0.9]),
    ("thresholds.json", ["similarity", "duplicate", "0.95"], 0.9),
    ("thresholds.json", ["similarity", "duplicate", "0.95", "probability"], "0.9"),
    ("thresholds.json", ["similarity", "duplicate", "0.95", "labels"], 1.5),
]


@pytest.mark.parametrize(("name", "place", "value"), WRONG)
def test_a_wrong_type_is_refused_before_anything_is_judged_by_it(
    folder: Path, name: str, place: list[str | int], value: object
) -> None:
    def put(document: Any) -> None:
        for part in place[:-1]:
            document = document[part]
        document[place[-1]] = value

    rewrite(folder / name, put)
    with pytest.raises(ReleaseRefused, match=name):
        Release.open(folder)


@pytest.mark.parametrize("name", [300 * "long", "a\0b", "folder"])
def test_a_listed_file_that_is_none_is_refused(folder: Path, name: str) -> None:
    (folder / "folder").mkdir()
    rewrite(folder / "manifest.json", lambda manifest: manifest["files"].update({name: "0" * 64}))
    with pytest.raises(ReleaseRefused, match=r"is missing|File name too long"):
        Release.open(folder)


def test_figures_as_deep_as_they_may_be_can_be_told_in_json(folder: Path) -> None:
    (folder / "metrics.json").write_text(f'{{"a": {"[" * 190}1e999{"]" * 190}}}')
    rewrite(
        folder / "manifest.json",
        lambda manifest: manifest["files"].update(
            {"metrics.json": sha256(folder / "metrics.json")}
        ),
    )
    metrics = Release.open(folder).metrics
    expected = f'{{"a":{"[" * 190}null{"]" * 190}}}'
    assert TypeAdapter(dict[str, Any]).dump_json(dict(metrics)).decode() == expected


# The release that ships

SHORT_AT_MOST = (
    0.03  # by which the bound of a precision over many domains may be short of the target
)


@pytest.fixture(
    scope="module", params=["minilm-base", "minilm-quora", "minilm-questions", "minilm-questions-2"]
)
def minilm_release(request: pytest.FixtureRequest) -> Release:
    return Release.open(RELEASES / request.param)


def test_releases_of_one_bi_encoder_have_its_digest() -> None:
    names = (
        "minilm-questions",
        "minilm-questions-2",
        "mpnet-questions",
        "minilm-quora",
        "minilm-base",
    )
    same, again, *others = (Release.open(RELEASES / name).encoder_digest for name in names)
    assert same == again
    assert len({same, *others}) == 4


def test_the_shipped_release_stands_on_the_pinned_base(minilm_release: Release) -> None:
    assert (minilm_release.name, minilm_release.dimension) == (minilm_release.path.name, 384)
    assert minilm_release.base == BaseModel(MINILM, {WEIGHTS: KNOWN[MINILM].digest})
    assert minilm_release.base.open() == find_base(MINILM)


def test_the_shipped_probability_rises_with_similarity(minilm_release: Release) -> None:
    probabilities = minilm_release.by_similarity.calibration.probability(
        np.linspace(-1, 1, 201, dtype=np.float32)
    )
    assert bool((np.diff(probabilities) > 0).all())
    assert probabilities[100] < 0.05  # texts that have nothing in common
    assert probabilities[200] > 0.7  # texts that are the same


def test_the_shipped_thresholds_are_sane(minilm_release: Release) -> None:
    scale = minilm_release.by_pair or minilm_release.by_similarity
    thresholds: Mapping[str, Threshold] = scale.thresholds.duplicate
    assert 0 < scale.thresholds.review < 1
    known = [
        (float(t), thresholds[t])
        for t in TARGET_PRECISIONS
        if thresholds[t].probability is not None
    ]
    assert [t.probability for _, t in known] == sorted(t.probability or 0.0 for _, t in known)
    for target, threshold in known:
        assert scale.thresholds.review <= (threshold.probability or 0.0) <= 1
        assert (threshold.precision_bound or 0.0) >= target - SHORT_AT_MOST
        assert threshold.labels > 0
    for threshold in (t for t in thresholds.values() if t.probability is None):
        assert (threshold.precision_bound, threshold.labels) == (None, 0)
