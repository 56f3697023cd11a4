"""`sameask migrate` and `sameask copy`, and commands over a shared database."""

import json
from pathlib import Path

import pytest

from app.settings import Settings
from tests.cli.commands import Sameask, assert_one_line
from tests.postgres import PASSWORD


def test_an_empty_database_is_migrated_and_used(
    sameask: Sameask, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAMEASK_DATABASE_URL", postgres_url)
    refused = sameask("keys", "list")
    assert_one_line(refused, "run `sameask migrate`")
    for _ in range(2):
        migrated = sameask("migrate")
        assert migrated.code == 0, migrated.err
        assert migrated.out.endswith("has the schema 0013\n")
    made = sameask("keys", "create", "--scope", "read", "--name", "anna")
    assert made.code == 0
    (listed,) = json.loads(sameask("keys", "list", "--json").out)
    assert (listed["name"], listed["id"] in made.out) == ("anna", True)
    (tmp_path / "questions.csv").write_text("id,text\n1,How do I pay?\n")
    imported = sameask("import", tmp_path / "questions.csv")
    assert imported.code == 0, imported.err
    assert "How do I pay?" in sameask("export").out
    told = [one.out + one.err for one in (refused, migrated, made, imported)]
    assert PASSWORD not in "".join(told)


def test_migrate_needs_a_database(sameask: Sameask) -> None:
    assert_one_line(sameask("migrate"), "SAMEASK_DATABASE_URL names no database")


def test_a_data_directory_is_copied_to_a_database_and_back(
    sameask: Sameask, settings: Settings, cluster_url: str, tmp_path: Path
) -> None:
    (tmp_path / "questions.csv").write_text("id,text\n1,How do I pay?\n2,Where am I?\n")
    assert sameask("import", tmp_path / "questions.csv").code == 0
    there = sameask("copy", settings.data_dir, cluster_url, "--json")
    assert there.code == 0, there.err
    tables = {table["table"]: table for table in json.loads(there.out)}
    assert (tables["questions"]["rows"], tables["questions"]["left_out"]) == (2, 0)
    back = sameask("copy", cluster_url, tmp_path / "back")
    assert back.code == 0
    assert tables["questions"]["digest"] in back.out
    assert_one_line(sameask("copy", settings.data_dir, cluster_url), "nothing was copied")
    assert_one_line(
        sameask("copy", tmp_path / "nowhere", cluster_url), "there is no data directory"
    )
    assert not (tmp_path / "nowhere").exists()
    assert PASSWORD not in there.out + there.err + back.out + back.err
