"""Words that templates share."""

import pytest

from app.engine.reasons import label
from app.engine.rulings import Ruling
from app.web.templates import clock, to_reader


@pytest.mark.parametrize(
    ("by", "contradicted", "told"),
    [
        ("anna", False, "you said so on 1 May 2026"),
        ("joanna", False, "joanna said so on 1 May 2026"),
        ("anna said so", False, "anna said so said so on 1 May 2026"),
        ("anna", True, "people disagree: you said duplicate on 1 May 2026, another the opposite"),
        (
            "joanna",
            True,
            "people disagree: joanna said duplicate on 1 May 2026, another the opposite",
        ),
    ],
)
def test_who_reads_the_reason_of_their_own_label_is_you(
    by: str, contradicted: bool, told: str
) -> None:
    ruling = Ruling(1, True, by, "2026-05-01T12:00:00+00:00", contradicted)
    assert to_reader(label(ruling).sentence, "anna") == told


def test_a_time_says_that_it_is_in_utc() -> None:
    assert clock("2020-11-12T09:30:00Z") == "12 November 2020, 09:30 UTC"
    assert clock("2020-11-12T00:30:00+01:00").endswith("23:30 UTC")
