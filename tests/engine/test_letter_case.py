"""Where letter case can carry meaning, and where nobody means anything by it."""

import pytest

from app.engine.letter_case import differences

CARRIES = [
    ("What does grep -o do?", "What does grep -O do?", "o", "O"),
    ("What is \\d in a pattern?", "What is \\D in a pattern?", "d", "D"),
    ("What is %m in strftime", "What is %M in strftime", "m", "M"),
    ("Where is $path set?", "Where is $PATH set?", "path", "PATH"),
    ("Does IT help?", "Does it help?", "IT", "it"),
    ("Can they call US?", "can they call us?", "US", "us"),
    ("Is 5 MB enough?", "is 5 Mb enough?", "MB", "Mb"),
    ("Is 100kb enough", "is 100KB enough?", "kb", "KB"),
    ("How do I clean Polish silver?", "How do I clean polish silver?", "Polish", "polish"),
    ("Who sells apple trees in March?", "Who sells Apple trees in March?", "apple", "Apple"),
]
CARRIES_NONE = [
    ("How do I reset my password?", "how do i reset my PASSWORD"),
    ("WHO CAN HELP US WITH IT?", "Who can help us with it?"),
    ("How Do I Clean Windows?", "how do i clean windows?"),
    ("how do i use java on windows", "How do I use Java on Windows?"),
    ("Polish silver, how?", "polish silver, how?"),
    ("Is it a well-Known fact?", "Is it a well-known fact?"),
    ("Can I pay and/Or swap?", "Can I pay and/or swap?"),
    ("How do I log IN?", "How do I log in?"),
    ("Where is my iPhone?", "where is my iphone?"),
    ("It is 5 PM", "it is 5 pm"),
    ("same", "same"),
]


@pytest.mark.parametrize(("one", "other", "first", "second"), CARRIES)
def test_case_that_can_carry_meaning(one: str, other: str, first: str, second: str) -> None:
    ((span1, span2),) = differences(one, other)
    assert (one[slice(*span1)], other[slice(*span2)]) == (first, second)
    assert differences(other, one) == [(span2, span1)]


@pytest.mark.parametrize(("one", "other"), CARRIES_NONE)
def test_case_that_carries_none(one: str, other: str) -> None:
    assert differences(one, other) == differences(other, one) == []


def test_a_long_text_is_soon_looked_through() -> None:
    text = 5_000 * "-o x "
    assert len(differences(text, text.upper())) == 5_000
