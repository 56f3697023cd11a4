"""All guards together: any two texts, their order, the places of what differs, how the time grows."""

from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.engine.guards import differences
from app.engine.guards.reading import READ_CHARACTERS
from app.engine.guards.word_lists import words
from tests.engine.guards.pairs import PAIRS, ROOT, fires
from tests.growth import QUADRATIC, growth

# Any text, and texts of the words that guards look at.
WORDS = st.sampled_from(
    sorted(
        words("""
        not can't no without never before after will was 15 16 1,000 1.5 half twenty-five 3pm 15:00
        $20 km mg -o --force \\d E18 AX-300 v2.4 Python iOS 3.11 from to by Anna Berlin my son's
        guest how why when much is the der nicht où 日本 🦊 İ ½ e\u0301 { }
        """)
    )
)
TEXTS = st.text(max_size=80) | st.lists(WORDS, max_size=12).map(" ".join)


@given(TEXTS, TEXTS)
@example("", "x")
@example("İİİ 1", "İ 2")
@example("{one} {0} not", "{one} {0}")
@settings(max_examples=400, deadline=None)
def test_guards_never_raise_and_their_places_lie_inside_the_texts(first: str, second: str) -> None:
    for difference in differences(first, second):
        reason = difference.reason()
        assert reason.sentence
        for text, spans in ((first, reason.spans1), (second, reason.spans2)):
            assert all(0 <= start < end <= len(text) for start, end in spans)


@pytest.mark.parametrize("behind", range(12))
def test_a_text_is_read_to_its_limit_whatever_it_cuts(behind: int) -> None:
    for end in ("at 5 p.m. today", "in the U.S.A. now", "invoice no. 12", "1 hour and 30 minutes"):
        text = end.rjust(READ_CHARACTERS + behind, "x")
        differences(text, f"{text} x 7")


@given(TEXTS, TEXTS)
@settings(max_examples=400, deadline=None)
def test_the_order_of_the_texts_makes_no_difference(first: str, second: str) -> None:
    turned = [difference.turned() for difference in differences(second, first)]
    assert differences(first, second) == turned


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_white_space_is_no_difference(text: str) -> None:
    seen = {difference.code for difference in differences(text, f" {text} ")}
    assert seen <= {"language"}


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "1" * 100_000,
        "a'" * 50_000,
        "1.1." * 25_000,
        "-a" * 50_000,
        "not " * 25_000,
        "from a to b " * 8_000,
        "\u0301" * 100_000,
        "_." * 50_000,
        "word " * 20_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_no_text_takes_long(text: str) -> None:
    def compare(length: int, number: int) -> None:
        part = text[:length]
        differences(part, f"{part} x {number}")
        differences(part, f"{part[: length // 2]} no {number}")

    of_quarter = partial(compare, len(text) // 4)
    assert growth(of_quarter, partial(compare, len(text))) < QUADRATIC / 2


def test_the_page_of_verdicts_has_the_figures_of_today() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text("utf-8")
    for file in sorted(PAIRS.glob("*.tsv")):
        precision, recall = fires(file.stem)
        line = f"| {file.stem.replace('_', ' ')} | {precision:.3f} | {recall:.3f} |"
        assert line in page
