"""The `sameask` command: what loads, and what keeps a command from starting."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers.utils.logging import enable_progress_bar

from app.cli.main import COMMANDS, load
from app.cli.terminal import FAULT, INTERRUPTED, PIPED_WIDTH, out
from app.engine.release import Release
from app.settings import Settings
from tests.cli.commands import COMMAND, ROOT, Outcome, Sameask, Server, assert_one_line
from tests.conftest import publish_release
from tests.serving import PATIENCE_SECONDS
from tests.tiny_model import DIMENSION, build_tiny_classifier

# What loads, and what does not


def _heavy_modules(*arguments: str) -> list[str]:
    """Which of the heavy modules a command has loaded in a fresh process when it ends well."""
    script = (
        "import atexit, sys; from app.cli.main import main; sys.argv = ['sameask', *sys.argv[1:]]\n"
        "heavy = {'torch', 'faiss', 'transformers', 'sentence_transformers', 'sqlalchemy', 'fastapi', 'pyarrow'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    return ended.stdout.rpartition("loaded:")[2].split()


def test_the_command_is_installed_by_its_name() -> None:
    (entry,) = entry_points(group="console_scripts", name="sameask")
    assert entry.value == "app.cli.main:main"


def test_help_loads_no_model_library() -> None:
    assert _heavy_modules("--help") == []


def test_a_command_to_a_server_loads_no_model_library(server: Server) -> None:
    assert _heavy_modules("find", "Can I cancel my order?", "--url", server.url) == []


def test_keys_are_made_without_the_model(sameask: Sameask) -> None:
    assert sameask("keys", "create", "--scope", "read").code == 0
    assert _heavy_modules("keys", "list") == ["sqlalchemy"]


def test_help_names_every_command_in_the_words_of_the_command_itself(sameask: Sameask) -> None:
    shown = sameask("--help")
    assert shown.code == 0
    for name, (place, help_) in COMMANDS.items():
        assert f"│ {name} " in shown.out
        assert help_ in shown.out
        assert (load(place).help or "").partition("\n")[0] == help_


# What every command has


def test_the_version_is_that_of_the_distribution(sameask: Sameask) -> None:
    assert sameask("--version") == Outcome(0, f"sameask {version('sameask')}\n", "")


@pytest.mark.parametrize("arguments", [(), ("import",), ("collections",), ("collections", "set")])
def test_help_has_a_short_name(sameask: Sameask, arguments: tuple[str, ...]) -> None:
    short, long = sameask(*arguments, "-h"), sameask(*arguments, "--help")
    assert short == long
    assert (short.code, short.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("expo",), ["export"]),
        (("collections", "s"), ["set"]),
        (("label", "--dup"), ["--duplicate"]),
    ],
)
def test_the_shell_completes_commands_and_options(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], completed: list[str]
) -> None:
    monkeypatch.setenv("_SAMEASK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(("sameask", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert sameask().out.split() == completed


def test_a_fault_is_one_line_with_an_exit_code_of_its_own(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise KeyError("who")

    monkeypatch.setattr("app.cli.keys._store", fault)
    ended = sameask("keys", "list")
    assert ended == Outcome(FAULT, "", "sameask: a fault of Sameask: KeyError: 'who'\n")
    monkeypatch.setenv("SAMEASK_LOG_LEVEL", "debug")
    with pytest.raises(KeyError):
        sameask("keys", "list")


def test_an_interrupted_command_says_so_by_its_exit_code(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.keys._store", interrupt)
    assert sameask("keys", "list").code == INTERRUPTED


def test_standard_error_has_progress_and_problems_alone(
    sameask: Sameask, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable_progress_bar()  # as in a new process
    classifier = build_tiny_classifier(tiny_model, tmp_path / "classifier")
    release = publish_release(tmp_path / "tiny", tiny_model, DIMENSION, classifier=classifier)
    monkeypatch.setenv("SAMEASK_RELEASE", str(release.path))
    file = tmp_path / "q.csv"
    file.write_text(f"id,text\n{'x' * 200},Ou est-ce?\n2,Ou est ce?\n", "utf-8")
    mined = sameask("mine", file, "-o", tmp_path / "pairs.ndjson").err.splitlines()
    assert [line.split()[0] for line in mined[:2]] == ["making", "embedding:"]
    imported = sameask("import", file).err.splitlines()
    noise = ("making the data directory", "importing", "0.", "1")
    assert [line for line in imported if not line.startswith(noise)] == []
    monkeypatch.setattr(out, "width", PIPED_WIDTH)
    found = sameask("find", "Ou est-ce?")
    assert found.err == ""
    (row,) = [line for line in found.out.splitlines() if "x" * 200 in line]
    assert "Ou est-ce?" in row


# What keeps a command from starting


def test_a_data_directory_in_use_is_one_line_that_names_url(
    sameask: Sameask, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(server.data_dir))
    assert_one_line(
        sameask("find", "One?"), str(server.data_dir), "in use by another process", "--url"
    )


def test_a_port_in_use_is_one_line(server: Server, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SAMEASK_PORT": server.url.rpartition(":")[2],
        "SAMEASK_DATA_DIR": str(tmp_path / "data"),
    }
    command = [*COMMAND, "serve"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert_one_line(
        Outcome(ended.returncode, ended.stdout, ended.stderr),
        "127.0.0.1:",
        "SAMEASK_PORT",
        "in use",
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["a-file", "a-file/data"])
def test_a_data_directory_that_can_not_be_made_is_one_line(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "a-file").write_text("in its place")
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / place))
    assert_one_line(sameask("find", "One?"), f"can't use the data directory {tmp_path / place}")


def test_a_database_that_is_none_is_one_line(sameask: Sameask, settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "sameask.db").write_bytes(b"This is no database. " * 100)
    assert_one_line(sameask("find", "One?"), str(settings.data_dir / "sameask.db"))


def test_a_release_that_is_not_there_is_one_line(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_RELEASE", str(tmp_path / "nowhere"))
    assert_one_line(
        sameask("find", "One?"), str(tmp_path / "nowhere" / "manifest.json"), "No such file"
    )


def test_a_damaged_release_is_one_line_that_names_the_file(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_release: Release
) -> None:
    damaged = shutil.copytree(tiny_release.path, tmp_path / "damaged")
    (damaged / "calibration.json").write_text('{"weight": 1.0, "bias": 0.0}')
    monkeypatch.setenv("SAMEASK_RELEASE", str(damaged))
    assert_one_line(sameask("find", "One?"), str(damaged / "calibration.json"), "sha256")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAMEASK_PORT", "http"),
        ("SAMEASK_PORT", "65536"),
        ("SAMEASK_DEVICE", "tpu"),
        ("SAMEASK_TARGET_PRECISION", "0.5"),
        ("SAMEASK_MAX_TOP_K", "0"),
        ("SAMEASK_MAX_BODY_BYTES", "many"),
        ("SAMEASK_MAX_WAITING_TEXTS", "3"),  # fewer than one request may have
    ],
)
def test_an_invalid_setting_is_one_line_that_names_it(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert_one_line(sameask("find", "One?"), f"{name}: ")


def test_several_invalid_settings_are_named_at_once(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_PORT", "0")
    monkeypatch.setenv("SAMEASK_DEVICE", "tpu")
    assert_one_line(sameask("find", "One?"), "SAMEASK_PORT: ", "SAMEASK_DEVICE: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "SAMEASK_ADMIN_KEYFILE",
            "SAMEASK_ADMIN_KEYFILE is no setting: SAMEASK_ADMIN_KEY_FILE is meant?",
        ),
        ("SAMEASK_XYZZY", "SAMEASK_XYZZY is no setting"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert_one_line(sameask("find", "One?"), words)


@pytest.mark.parametrize("value", ["0.9", "0.90", ".9", "0.900"])
def test_a_target_precision_is_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SAMEASK_TARGET_PRECISION", value)
    assert Settings().target_precision == "0.90"


@pytest.mark.parametrize("value", ["0.901", "0.5", "90", "high"])
def test_another_target_precision_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SAMEASK_TARGET_PRECISION", value)
    with pytest.raises(ValidationError, match="target_precision"):
        Settings()


@pytest.mark.parametrize(
    "command",
    [("find", "One?"), ("export",), ("mine", "-c", "default", "-o", "out.ndjson"), ("worker",)],
)
def test_from_another_folder_no_second_data_directory_is_made(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("SAMEASK_DATA_DIR")
    refused = sameask(*command)
    assert (refused.code, refused.out) == (1, "")
    assert f"there is no data directory {tmp_path / 'data'}: SAMEASK_DATA_DIR" in refused.err
    assert not (tmp_path / "data").exists()
