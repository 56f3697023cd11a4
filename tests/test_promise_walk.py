"""From no labels to a promised precision: the example that shows it, run against a service of its own."""

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from examples.promise import DOMAINS, Walk, import_questions, label_until_kept, meanings_of
from tests.serving import served


def test_the_walk_labels_what_the_queue_offers_and_says_what_is_lacking(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    meanings = meanings_of(DOMAINS[:1], 4)
    walk = Walk("support-desk", 0.95, most=40)
    with served(create_app(settings)) as url, httpx.Client(base_url=url, timeout=60) as client:
        import_questions(client, walk, list(meanings))
        assert not label_until_kept(client, walk, meanings)
        labels = client.get("/labels", params={"collection": "support-desk"}).json()["labels"]
    assert len(labels) == 40
    for label in labels:
        one, other = (meanings[text] for text in label["questions"])
        assert label["is_duplicate"] == (one == other)
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| 0", "| 20", "| 40"]
    assert " | 0.900 | release | " in rows[1]
