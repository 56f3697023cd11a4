"""Other languages than English fire, names and terms in English don't."""

import csv
from itertools import chain

import pytest

from app.engine.guards.language import foreign
from tests.engine.guards.pairs import PAIRS, ROOT, difference, sentence
from training.written import read_clusters


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "Wie kann ich mein Abo kündigen?",
            "Wie kann ich mein Abo verlängern?",
            "not in English, the only language that the release is for",
        ),
        (
            "mot de passe oublié et plus accès à mon adresse",
            "How do I reset my password?",
            "not in English, the only language that the release is for",
        ),
        (
            "¿Cuántos años tiene el perro?",
            "¿Cuántos anos tiene el perro?",
            "not in English, the only language that the release is for",
        ),
        (
            "Где мой заказ?",
            "Где мой счёт?",
            "not in English, the only language that the release is for",
        ),
        (
            "今日の天気は？",
            "明日の天気は？",
            "not in English, the only language that the release is for",
        ),
        ("What does 'die Katze' mean in English?", "What does 'der Hund' mean in English?", None),
        ("Is the café in São Paulo open?", "Is the café in Orléans open?", None),
        ("grep -c nginx.conf", "grep -C nginx.conf", None),
        ("How do I ｆｉｎｄ it?", "How do I find it?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("language", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "language", "Wie kann ich mein Abo kündigen?", "Wie kann ich mein Abo verlängern?"
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == (
        "language",
        ((0, 3), (4, 8), (9, 12), (13, 17), (22, 30)),
        ((0, 3), (4, 8), (9, 12), (13, 17), (22, 32)),
    )


def test_it_sees_questions_in_other_languages() -> None:
    rows = (PAIRS.parent / "other_languages.tsv").read_text("utf-8").splitlines()[1:]
    unseen = [row for row in rows if difference("language", *row.split("\t")[:2]) is None]
    assert len(unseen) <= 1


def test_it_takes_hardly_an_english_question_for_another_language() -> None:
    texts = list(chain(*(cluster.same for cluster in read_clusters("calibration"))))
    with (ROOT / "examples" / "questions.csv").open(encoding="utf-8", newline="") as file:
        texts += [row["text"] for row in csv.DictReader(file)]
    assert len(texts) > 1500
    assert sum(bool(foreign(text)) for text in texts) <= 0.005 * len(texts)
