"""Release folders broken in any way: each is refused with a sentence, or works, and the others are listed beside it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from app.engine.files import sha256
from app.engine.release import MANIFEST, TARGET_PRECISIONS, Release
from app.errors import ReleaseRefused

BATCH = 50  # folders that one list shows
FRAGMENTS = [
    *[
        "null",
        "true",
        "0",
        "-1",
        "1e308",
        "1e400",
        "-1e-400",
        "9" * 400,
        "NaN",
        "Infinity",
        '""',
        '"x"',
    ],
    *[
        "[]",
        "{}",
        "[[]]",
        '{"": 1}',
        "[1, 2]",
        '["0.9"]',
        '"' + "x" * 100_000 + '"',
        '"\\ud800"',
        '"\\u0000"',
    ],
    *[
        "[" * 500 + "]" * 500,
        '{"a":' * 150 + "1" + "}" * 150,
        "[" + "[]," * 100_000 + "1]",
        "0.5",
        "2",
        "-0.5",
    ],
]
BYTES = [
    *[b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b'{"format": 1}'],
    *[b"\x00" * 1000, b'{"a": ' * 50_000, b"1" * 2_000_000],
]


def fuzz_folders(
    client: TestClient, releases: Path, sound: Path, count: int, seed: int
) -> dict[str, int]:
    """Break so many copies of a sound release; how many were refused, and how many work.

    `client` speaks to a service that finds its releases in the folder `releases`. Raises AssertionError.
    """
    chosen = Random(seed)
    outcomes = {"refused": 0, "works": 0}
    for start in range(0, count, BATCH):
        folders = [
            releases / f"broken-{number}" for number in range(start, min(start + BATCH, count))
        ]
        damages = {folder.name: _broken_copy(sound, folder, chosen) for folder in folders}
        expected = {folder.name: _outcome(folder, damages[folder.name]) for folder in folders}
        answer = client.get("/admin/releases")
        assert answer.status_code == 200, (answer.text[:2000], damages)
        listed = {release["name"]: release for release in answer.json()["releases"]}
        for name, outcome in expected.items():
            outcomes[outcome] += 1
            if outcome == "refused":
                assert listed[name]["state"] == "refused", damages[name]
                assert 0 < len(listed[name]["why"]) < 2000, damages[name]
        for folder in folders:
            shutil.rmtree(folder)
    return outcomes


def _outcome(folder: Path, damage: str) -> str:
    """Whether the release is refused. One that is not has finite probabilities and a verdict for every precision."""
    try:
        release = Release.open(folder)
    except ReleaseRefused:
        return "refused"
    except Exception as error:
        raise AssertionError(f"{damage}: {type(error).__name__}") from error
    near = np.array([-1.0, 0.0, 0.5, 1.0], np.float32)
    for target in TARGET_PRECISIONS:
        scorer = release.scorer(target)
        evidence = [scorer.probability(near)]
        if release.by_pair:
            evidence.append(scorer.probability(near, 20 * near))
        for probabilities in evidence:
            assert np.all((probabilities >= 0) & (probabilities <= 1)), damage
            for probability in probabilities:
                release.scale.thresholds.verdict(float(probability), target)
        assert scorer.is_open(near).dtype == np.bool_
    return "works"


def _broken_copy(sound: Path, folder: Path, chosen: Random) -> str:
    """Copy a release and break something of it; says what, for whoever has to mend it."""
    shutil.copytree(sound, folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["name"] = folder.name
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    file = chosen.choice([MANIFEST, MANIFEST, *manifest["files"]])
    break_one = chosen.choice([_json, _json, _json, _bytes, _kind])
    damage = f"{file}: {break_one(folder / file, chosen)}"
    if file != MANIFEST and chosen.random() < 0.9:
        _sign(folder, file)  # so that what stands in it is looked at
    return damage


def _sign(folder: Path, file: str) -> None:
    """Give the manifest the digest that a file has now."""
    if (folder / file).is_file():
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        manifest["files"][file] = sha256(folder / file)
        (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def _json(file: Path, chosen: Random) -> str:
    """Put a fragment in the place of any part, or take the part away."""
    if file.suffix != ".json":
        return _bytes(file, chosen)
    document = json.loads(file.read_text("utf-8"))
    paths = list(_paths(document))
    if not paths:
        return _bytes(file, chosen)
    path = chosen.choice(paths)
    *way, last = path
    place = document
    for step in way:
        place = place[step]
    if chosen.random() < 0.2:
        del place[last]
        file.write_text(json.dumps(document), "utf-8")
        return f"without {path}"
    fragment = chosen.choice(FRAGMENTS)
    place[last] = "@@"
    file.write_text(json.dumps(document).replace('"@@"', fragment), "utf-8")
    return f"{path} is {fragment[:60]}"


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in parts:
        yield (key,)
        for inner in _paths(part):
            yield (key, *inner)


def _bytes(file: Path, chosen: Random) -> str:
    """Other bytes, fewer, or some of them changed."""
    content = file.read_bytes()
    place = chosen.randrange(len(content) + 1)
    match chosen.randrange(3):
        case 0:
            changed = chosen.choice(BYTES)
        case 1:
            changed = content[:place]
        case _:
            changed = content[:place] + chosen.randbytes(8) + content[place + 8 :]
    file.write_bytes(changed)
    return f"{len(changed)} bytes, {changed[:40]!r}"


def _kind(file: Path, chosen: Random) -> str:
    """No file any more, or another kind of it."""
    file.unlink()
    kind = chosen.choice(
        ["missing", "a folder", "a link to itself", "a link to nowhere", "a pipe", "without end"]
    )
    match kind:
        case "a folder":
            file.mkdir()
        case "a link to itself":
            file.symlink_to(file)
        case "a link to nowhere":
            file.symlink_to("/nowhere/at/all")
        case "a pipe":
            os.mkfifo(file)
        case "without end":
            file.symlink_to("/dev/zero")
    return kind
