"""What the release that ships says, served, of pairs after public complaints."""

from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready

ROOT = Path(__file__).parent.parent
COMPLAINTS = ROOT / "tests" / "data" / "complaints.tsv"
SURE = ("accent", "case", "cut", "emoji", "form", "script")  # what the model can't read or tell
AT_ONCE = 50


@pytest.fixture(scope="module")
def false_duplicates(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """By kind, how many pairs are called duplicates and are none."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("complaints"),
        release=ROOT / Settings().release,
        device="cpu",
    )
    rows = [line.split("\t") for line in COMPLAINTS.read_text("utf-8").splitlines()[1:]]
    verdicts: list[str] = []
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        for start in range(0, len(rows), AT_ONCE):
            pairs = [
                {"question1": one, "question2": other}
                for one, other, *_ in rows[start : start + AT_ONCE]
            ]
            answer = client.post("/pair-score", json={"pairs": pairs}).json()
            verdicts += [score["verdict"] for score in answer["scores"]]
    wrong = [
        kind
        for (_, _, is_duplicate, kind), verdict in zip(rows, verdicts, strict=True)
        if verdict == "duplicate" and is_duplicate == "0"
    ]
    return Counter(wrong)


def test_nothing_is_called_the_same_that_the_model_can_not_tell_apart(
    false_duplicates: Counter[str],
) -> None:
    assert [kind for kind in SURE if false_duplicates[kind]] == []


def test_roles_and_opposites_are_seldom_called_the_same(false_duplicates: Counter[str]) -> None:
    assert false_duplicates["roles"] + false_duplicates["opposite"] <= 2  # of 31
