"""Words that templates share."""

import pytest

from app.engine.reasons import label
from app.engine.rulings import Ruling
from app.web.templates import to_reader


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
