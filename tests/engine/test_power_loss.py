"""What was acknowledged outlives a power loss, too: on a disk that keeps nothing but what was synced, and
whatever else it likes. See docs/decisions/0006-power-loss.md for what this can show and what it can't.
"""

import logging
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from app.engine.release import Release
from app.engine.store import Store
from tests.durability import DATABASE, EMPTY, PickyEncoder, State, read_state
from tests.engine.test_durability import assert_holds, read_journal, replayed

ROOT = Path(__file__).parent.parent.parent
COMPILER = shutil.which("cc")
WRITES = 18
LOSSES_FOR_ONE_INDEX = (
    5  # the store is compared after each loss of power, indexes and snapshots after one of so many
)
SECTOR = 512
Mode = Literal["what was synced", "names kept, contents lost", "any mixture"]
MODES: tuple[Mode, ...] = ("what was synced", "names kept, contents lost", "any mixture")

log = logging.getLogger(__name__)


@dataclass
class Disk:
    """What a disk is bound to hold of a folder: contents and names as they were at their last sync.

    Files and folders are known by their inodes. Those it knows are kept open, so that no number is used again.
    """

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)  # inode -> file descriptor

    def sync(self, path: Path) -> None:
        """Take in that a file or a folder was synced."""
        inode = self._hold(path)
        if path.is_dir():
            self.names[inode] = {entry.name: self._hold(entry) for entry in path.iterdir()}
        else:
            self.contents[inode] = path.read_bytes()

    def _hold(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self.held:
            self.held[inode] = os.open(path, os.O_RDONLY)
        return inode

    def close(self) -> None:
        """Let go of what is held."""
        for descriptor in self.held.values():
            os.close(descriptor)

    def survivor(self, target: Path, mode: Mode, chance: random.Random) -> None:
        """Write to `target` what may be found after a power loss at this moment."""
        live_names: dict[int, dict[str, int]] = {}
        live_contents: dict[int, bytes] = {}
        for folder, _, files in os.walk(self.root):
            entries = {entry.name: entry.inode() for entry in os.scandir(folder)}
            live_names[Path(folder).stat().st_ino] = entries
            live_contents |= {entries[name]: (Path(folder) / name).read_bytes() for name in files}

        def names_of(inode: int) -> dict[str, int]:
            synced, live = self.names.get(inode, {}), live_names.get(inode, {})
            if mode == "what was synced":
                return synced
            if mode == "names kept, contents lost":
                return live_names.get(inode, synced)
            either = {
                name: chance.choice([synced, live]).get(name)
                for name in sorted(synced.keys() | live.keys())
            }
            return {name: inode for name, inode in either.items() if inode is not None}

        def content_of(inode: int) -> bytes:
            synced = self.contents.get(inode, b"")
            live = live_contents.get(inode, synced)
            return _mixture(synced, live, chance) if mode == "any mixture" else synced

        def write(inode: int, path: Path) -> None:
            if inode in live_names or inode in self.names:
                path.mkdir()
                for name, child in names_of(inode).items():
                    write(child, path / name)
            else:
                path.write_bytes(content_of(inode))

        write(self.root.stat().st_ino, target)


def _mixture(synced: bytes, live: bytes, chance: random.Random) -> bytes:
    """Each sector as it was synced or as it was written since; one that was never written is zeros."""
    length = chance.choice([len(synced), len(live)])
    mixed = b""
    for start in range(0, length, SECTOR):
        source = chance.choice([synced, live])
        mixed += source[start : start + SECTOR].ljust(SECTOR, b"\0")
    return mixed[:length]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes each fsync of a process ask first."""
    if not sys.platform.startswith("linux") or not COMPILER:
        pytest.skip("simulating a power loss takes Linux (LD_PRELOAD, /proc) and a C compiler (cc)")
    library = tmp_path_factory.mktemp("shim") / "power_loss.so"
    source = ROOT / "tests" / "power_loss.c"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", library, source], check=True
    )
    return library


def run_with_syncs(
    data_dir: Path, seed: int, release: Release, shim: Path, at_sync: Callable[[Path], bool]
) -> None:
    """Let tests/durability.py write, and call `at_sync` before each fsync until it says stop; then kill it."""
    ask_read, ask_write = os.pipe()
    leave_read, leave_write = os.pipe()
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "POWER_LOSS_ROOT": str(data_dir),
        "POWER_LOSS_ASK": str(ask_write),
        "POWER_LOSS_LEAVE": str(leave_read),
        "PYTHONWARNINGS": "ignore",
    }
    arguments = [str(data_dir), str(seed), str(release.path), "--alone"]
    with (
        data_dir.with_suffix(".journal").open("wb") as journal,
        subprocess.Popen(
            [sys.executable, "-m", "tests.durability", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=journal,
            pass_fds=(ask_write, leave_read),
        ) as process,
        os.fdopen(ask_read) as asked,
        os.fdopen(leave_write, "wb", buffering=0) as leave,
    ):
        os.close(ask_write)
        os.close(leave_read)
        try:
            for line in asked:
                if at_sync(Path(line.rstrip("\n"))):
                    break
                leave.write(b".")
        finally:
            process.kill()


def test_acknowledged_writes_outlive_a_power_loss(
    tmp_path: Path, tiny_release: Release, tiny_model: Path, shim: Path
) -> None:
    encoder = PickyEncoder.open(tiny_model, "cpu")
    data_dir, survivor = tmp_path / "data", tmp_path / "survivor"
    data_dir.mkdir()
    chance = random.Random(0)
    losses: Counter[Mode] = Counter()

    def lose_power_then_sync(path: Path) -> bool:
        records = read_journal(data_dir.with_suffix(".journal"))
        mode = chance.choice(MODES)
        disk.survivor(survivor, mode, chance)
        allowed = replayed(records, EMPTY)
        if losses.total() % LOSSES_FOR_ONE_INDEX:
            assert_store_holds(survivor, allowed, mode)
        else:
            assert_holds(survivor, tiny_release, encoder, allowed)
        shutil.rmtree(survivor)
        losses[mode] += 1
        disk.sync(path)
        return "failed" in records[-1] or sum("write" in record for record in records) > WRITES

    with closing(Disk(data_dir)) as disk:
        run_with_syncs(data_dir, 11, tiny_release, shim, lose_power_then_sync)
        records = read_journal(data_dir.with_suffix(".journal"))
        assert [record["failed"] for record in records if "failed" in record] == []
        disk.survivor(survivor, "what was synced", chance)
        assert_holds(survivor, tiny_release, encoder, replayed(records, EMPTY))
    assert losses.total() > 2 * WRITES  # each write is synced, and so is what is written beside it
    log.info("power lost %d times: %s", losses.total(), losses)


def assert_store_holds(data_dir: Path, allowed: Sequence[State], mode: Mode) -> None:
    """The database opens, and holds one of the states allowed."""
    with closing(Store(data_dir / DATABASE)) as store:
        assert read_state(store) in allowed, mode
