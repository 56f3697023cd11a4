"""Labels in the store, by value: who says what of which pair, what that comes to, and that nothing of it is lost."""

import random
import re
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.rulings import Ruling, by_other, ruling, ruling_on
from app.engine.store import Given, Label, Labelled, NewLabel, Store
from app.engine.text import Words, pair_digest
from app.errors import (
    CollectionNotFound,
    FieldError,
    InvalidRequest,
    LabelNotFound,
    LabelReplaced,
    QuestionNotFound,
)
from tests.statements import plan, statements_of

PAIR = ("How do I reset my password?", "How can I change my password?")
OTHER = ("Where is my invoice?", "Who sent me this invoice?")


def said(
    by: str, is_duplicate: bool, pair: Sequence[str] = PAIR, note: str | None = None
) -> NewLabel:
    return NewLabel(is_duplicate, by, note, questions=pair)


def say(store: Store, *new: NewLabel, collection: str = "default") -> list[int]:
    """Label, and return the ids."""
    return [given.id for given in store.labels.write(collection, new).labels]


def listed(
    store: Store, collection: str = "default", **filters: Any
) -> list[tuple[int, str, bool]]:
    """Id, person and word of each label."""
    return [
        (label.id, label.by, label.is_duplicate)
        for label in store.labels.page(collection, 0, 100, **filters)
    ]


def verdict(store: Store, key: int, pair: tuple[str, str] = PAIR) -> str | None:
    """What the labels of a pair come to; None without any."""
    found = ruled(store, key, pair)
    return found.verdict if found else None


def ruled(store: Store, key: int, pair: tuple[str, str]) -> Ruling | None:
    """The ruling on a pair; the same whether it is looked up by pair or by one of its texts."""
    one, other = (Words.of(text) for text in pair)
    labels = store.labels.of(key, [(one, other)]).get(pair, [])
    found = ruling_on(one, other, labels)
    on_one = by_other(one, store.labels.on(key, [one]).get(one.text, []))
    assert ruling_on(one, other, on_one.get(other.loose, [])) == found
    return found


def digests(pair: tuple[str, str]) -> tuple[bytes, tuple[bytes, bytes]]:
    """By which a label of the pair is known, and found."""
    one, other = (Words.of(text) for text in pair)
    return pair_digest(one, other), (one.loose, other.loose)


def behind_its_back(path: Path, statement: str, *values: object) -> None:
    """Change the database without the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


# What labels come to


@pytest.mark.parametrize(
    ("words", "verdict", "by", "contradicted"),
    [
        ([("anna", True)], "duplicate", "anna", False),
        ([("anna", False)], "different", "anna", False),
        ([("anna", True), ("bob", True)], "duplicate", "bob", False),
        ([("anna", False), ("bob", False)], "different", "bob", False),
        ([("anna", True), ("bob", False)], "review", "bob", True),
        ([("anna", False), ("bob", True)], "review", "bob", True),
        ([("anna", True), ("bob", True), ("carl", False), ("dora", True)], "review", "dora", True),
    ],
)
def test_a_ruling_is_the_latest_word_and_review_where_people_disagree(
    words: list[tuple[str, bool]], verdict: str, by: str, contradicted: bool
) -> None:
    labels = [
        Label(id_, PAIR, is_duplicate, who, f"at {id_}", None, False, None, *digests(PAIR))
        for id_, (who, is_duplicate) in enumerate(words, 1)
    ]
    for order in (labels, labels[::-1]):
        found = ruling(order)
        assert found == Ruling(len(words), words[-1][1], by, f"at {len(words)}", contradicted)
        assert (found.verdict, found.links) == (verdict, verdict != "different")


WORD = "How do I reset it?"
LEVELS = {
    "the same bytes": (PAIR, 0),
    "turned": (PAIR[::-1], 0),
    "white space": ((f" {PAIR[0]}", PAIR[1].replace(" ", "  ")), 1),
    "an invisible character": ((f"{PAIR[0]}\u200b", PAIR[1]), 1),
    "without the question mark": ((PAIR[0], PAIR[1].rstrip("?")), 2),
    "shouted": ((PAIR[0].upper(), PAIR[1]), 2),
    "both at once": ((f"{PAIR[1].lower()}!", f"{PAIR[0]} ??"), 2),
}


@pytest.mark.parametrize(("pair", "level"), LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("is_duplicate", [False, True])
def test_a_label_holds_for_loosely_the_same_texts_and_the_most_exact_one_wins(
    store: Store, key: int, pair: tuple[str, str], level: int, is_duplicate: bool
) -> None:
    said_so = "duplicate" if is_duplicate else "different"
    opposite = "different" if is_duplicate else "duplicate"
    say(store, said("anna", is_duplicate))
    assert verdict(store, key, pair) == said_so
    shouted = (PAIR[0].upper(), PAIR[1].upper())
    say(store, said("bob", not is_duplicate, shouted))  # loosely the same, and nothing else
    assert verdict(store, key, pair) == (said_so if level < 2 else "review")
    assert verdict(store, key, shouted) == opposite
    say(store, said("carl", not is_duplicate, pair))
    assert verdict(store, key, pair) == (opposite if level else "review")
    assert verdict(store, key) == (said_so if level else "review")


def test_within_a_level_the_latest_word_of_a_person_counts(store: Store, key: int) -> None:
    say(store, said("anna", False), said("anna", True, (PAIR[0].upper(), PAIR[1])))
    asked = (PAIR[0], PAIR[1].rstrip("?"))
    assert ruled(store, key, asked) == ruled(store, key, (PAIR[0].lower(), PAIR[1]))
    assert verdict(store, key, asked) == "duplicate"
    assert verdict(store, key) == "different"


@pytest.mark.parametrize(
    ("one", "other", "elsewhere"),
    [
        ("What does grep -o do?", "What does grep -O do?", ["what does GREP -o do", "x?"]),
        (WORD, f"{WORD}\u200b", [f" {WORD}", WORD.upper()]),
        (WORD, WORD.rstrip("?"), [WORD.lower(), f"{WORD}!"]),
        ("2\u2075?", "25?", []),
    ],
)
def test_any_two_texts_that_differ_can_be_labelled_and_that_says_nothing_of_looser_pairs(
    store: Store, key: int, one: str, other: str, elsewhere: list[str]
) -> None:
    say(store, said("anna", False, (one, other)))
    assert verdict(store, key, (one, other)) == verdict(store, key, (other, one)) == "different"
    for text in elsewhere:
        assert verdict(store, key, (one, text)) is None
        assert verdict(store, key, (one, one)) is None


@given(
    words=st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 3)), max_size=6),
    asked=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
def test_a_label_of_the_same_bytes_always_wins(
    store: Store, words: list[tuple[str, bool, int]], asked: tuple[int, int]
) -> None:
    key = store.collections.create("levels", 10)[0].key
    spellings = ["One?", "One? ", "one", "ONE!"]
    for by, is_duplicate, spelling in words:
        pair = (spellings[spelling], "Another")
        store.labels.write("levels", [said(by, is_duplicate, pair)])
    pair = (spellings[asked[0]], ["Another", "another", "Another.", " Another"][asked[1]])
    first = verdict(store, key, pair)
    assert verdict(store, key, pair[::-1]) == first
    assert (first is None) == (not words)
    for is_duplicate in (True, False):
        store.labels.write("levels", [said(by, is_duplicate, pair) for by in "ab"])
        assert verdict(store, key, pair) == ("duplicate" if is_duplicate else "different")
    store.collections.delete("levels")


PEOPLE = ["anna", "bob", "carl"]
TEXTS = ["one", "two", "three"]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(PEOPLE),
                st.permutations(TEXTS).map(lambda texts: texts[:2]),
                st.booleans(),
            ),
            st.integers(0, 30),  # which of all labels so far to undo
        ),
        max_size=20,
    )
)
def test_labels_keep_to_a_model_of_ten_lines(store: Store, steps: list[Any]) -> None:
    key = store.collections.create("modelled", 10)[0].key
    words: dict[tuple[frozenset[str], str], bool] = {}
    owners: list[tuple[frozenset[str], str]] = []  # of each label that was ever given
    for step in steps:
        if isinstance(step, int):
            if (
                owners
                and store.labels.page("modelled", 0, 100, history=True)[step % len(owners)].ended
                is None
            ):
                store.labels.undo("modelled", step % len(owners) + 1, "dora")
                del words[owners[step % len(owners)]]
        else:
            by, pair, is_duplicate = step
            place = (frozenset(pair), by)
            store.labels.write("modelled", [said(by, is_duplicate, [f" {text}" for text in pair])])
            owners += [place] * (words.get(place) is not is_duplicate)
            words[place] = is_duplicate
    for pair in (("one", "two"), ("three", "one"), ("two", "three")):
        of_pair = {word for (texts, _), word in words.items() if texts == frozenset(pair)}
        expected = (
            "review"
            if len(of_pair) == 2
            else {True: "duplicate", False: "different"}.get(*of_pair)
            if of_pair
            else None
        )
        assert verdict(store, key, pair) == verdict(store, key, pair[::-1]) == expected
        worded = [(Words.of(pair[0]), Words.of(pair[1]))]
        for label in store.labels.of(key, worded).get(pair, []):
            assert label.contradicted is (expected == "review")
    assert len(store.labels.page("modelled", 0, 100, history=True)) == len(owners)
    assert {
        (frozenset(t.strip() for t in label.questions), label.by): label.is_duplicate
        for label in store.labels.page("modelled", 0, 100)
    } == words
    store.collections.delete("modelled")


# Writing


def test_labels_are_written_by_texts_and_by_ids(store: Store) -> None:
    store.questions.upsert("default", [("a", PAIR[0]), ("b", PAIR[1])])
    answer = store.labels.write(
        "default",
        [NewLabel(True, "anna", ids=("a", "b")), said("anna", False, OTHER, "two people")],
    )
    assert answer == Labelled(2, 0, 0, [Given(1, False), Given(2, False)])
    first, second = store.labels.page("default", 0, 10)
    assert (first.questions, first.is_duplicate, first.by, first.note) == (PAIR, True, "anna", None)
    assert (second.questions, second.is_duplicate, second.note, second.ended) == (
        OTHER,
        False,
        "two people",
        None,
    )
    assert first.at.endswith("Z")
    assert (first.pair, first.loose) == digests(PAIR)


def test_a_label_makes_no_revision(store: Store) -> None:
    store.questions.upsert("default", [("a", PAIR[0])])
    before = store.collections.get("default")
    say(store, said("anna", True))
    assert store.collections.get("default") == before


@pytest.mark.parametrize(
    "pair",
    [
        PAIR,
        PAIR[::-1],
        (f"{PAIR[0]}\u200b", f" {PAIR[1]}\t"),
        (f"\ufeff{PAIR[0]}", PAIR[1]),
    ],
)
def test_saying_the_same_again_changes_nothing(store: Store, pair: tuple[str, str]) -> None:
    say(store, said("anna", True, note="sure"))
    before = store.labels.page("default", 0, 10, history=True)
    assert store.labels.write("default", [said("anna", True, pair)]) == Labelled(
        0, 0, 1, [Given(1, False)]
    )
    assert store.labels.write("default", [said("anna", True, pair, "sure")]) == Labelled(
        0, 0, 1, [Given(1, False)]
    )
    assert store.labels.page("default", 0, 10, history=True) == before


def test_the_same_twice_in_one_request_is_one_label(store: Store) -> None:
    answer = store.labels.write(
        "default", [said("anna", True), said("anna", True, PAIR[::-1]), said("bob", True)]
    )
    assert answer == Labelled(2, 0, 1, [Given(1, False), Given(1, False), Given(2, False)])


@pytest.mark.parametrize(
    "new", [said("anna", False, PAIR[::-1]), said("anna", True, note="another note")]
)
def test_saying_otherwise_replaces_the_label_and_keeps_it_for_the_record(
    store: Store, key: int, new: NewLabel
) -> None:
    say(store, said("anna", True, note="sure"))
    assert store.labels.write("default", [new]) == Labelled(0, 1, 0, [Given(2, False)])
    old, now = store.labels.page("default", 0, 10, history=True)
    assert (old.is_duplicate, old.note, old.by) == (True, "sure", "anna")
    assert old.ended
    assert (old.ended.by, old.ended.replaced_by, old.ended.at) == ("anna", 2, now.at)
    assert (now.is_duplicate, now.note, now.ended) == (new.is_duplicate, new.note, None)
    assert listed(store) == [(2, "anna", new.is_duplicate)]
    assert verdict(store, key) == ("duplicate" if new.is_duplicate else "different")


def test_two_people_who_say_the_opposite_contradict_each_other(store: Store, key: int) -> None:
    assert store.labels.write(
        "default", [said("anna", True), said("anna", True, OTHER)]
    ).labels == [
        Given(1, False),
        Given(2, False),
    ]
    assert store.labels.write("default", [said("bob", False)]).labels == [Given(3, True)]
    assert listed(store, contradicted=True) == [(1, "anna", True), (3, "bob", False)]
    assert listed(store, contradicted=False) == [(2, "anna", True)]
    assert (store.labels.contradicted(), verdict(store, key), verdict(store, key, OTHER)) == (
        2,
        "review",
        "duplicate",
    )
    say(store, said("anna", False))
    assert (listed(store, contradicted=True), verdict(store, key)) == ([], "different")
    assert listed(store) == [(2, "anna", True), (3, "bob", False), (4, "anna", False)]


def test_a_contradiction_within_one_request_is_told_of_both(store: Store) -> None:
    assert store.labels.write("default", [said("anna", True), said("bob", False)]).labels == [
        Given(1, True),
        Given(2, True),
    ]


def test_unknown_ids_are_all_named_and_nothing_is_written(store: Store) -> None:
    store.questions.upsert("default", [("a", PAIR[0]), ("b", PAIR[1])])
    bad = [
        NewLabel(True, "anna", ids=("a", "b")),
        NewLabel(True, "anna", ids=("x", "a")),
        NewLabel(True, "anna", ids=("y", "x")),
    ]
    with pytest.raises(
        QuestionNotFound, match=r"^collection 'default' holds no questions with ids 'x', 'y'$"
    ):
        store.labels.write("default", bad)
    with pytest.raises(
        QuestionNotFound, match=r"^collection 'default' holds no question with id 'x'$"
    ):
        store.labels.write("default", bad[:2])
    with pytest.raises(QuestionNotFound, match=r"'0', '1', .* '9' and 2 more$"):
        store.labels.write(
            "default", [NewLabel(True, "anna", ids=(str(2 * n), str(2 * n + 1))) for n in range(6)]
        )
    store.questions.delete("default", "b")
    with pytest.raises(QuestionNotFound, match="'b'"):
        store.labels.write("default", bad[:1])
    assert listed(store, history=True) == []


def test_a_text_with_itself_is_refused_by_field_and_nothing_is_written(store: Store) -> None:
    store.questions.upsert("default", [("a", PAIR[0]), ("b", PAIR[0])])
    itself = "is a pair of a text with itself"
    with pytest.raises(InvalidRequest) as refused:
        store.labels.write(
            "default",
            [
                said("anna", True),
                said("anna", True, (PAIR[0], PAIR[0])),
                NewLabel(True, "anna", ids=("a", "a")),
                NewLabel(False, "anna", ids=("a", "b")),
            ],
        )
    assert refused.value.errors == tuple(FieldError(f"labels.{i}", itself) for i in (1, 2, 3))
    assert listed(store, history=True) == []


def test_a_request_that_contradicts_itself_is_refused_by_field(store: Store) -> None:
    with pytest.raises(InvalidRequest) as refused:
        store.labels.write(
            "default",
            [
                said("bob", False),
                said("anna", True),
                said("anna", False, PAIR[::-1]),
                said("anna", True, note="!"),
            ],
        )
    words = "says otherwise than labels.1 of the same pair"
    assert refused.value.errors == (FieldError("labels.2", words), FieldError("labels.3", words))
    assert listed(store, history=True) == []


def test_labels_belong_to_their_collection_and_go_with_it(
    path: Path, store: Store, key: int
) -> None:
    other = store.collections.create("faq", 10)[0].key
    say(store, said("anna", True), collection="faq")
    say(store, said("bob", False))
    assert (verdict(store, other), verdict(store, key)) == ("duplicate", "different")
    assert (listed(store, "faq"), listed(store)) == ([(1, "anna", True)], [(1, "bob", False)])
    store.collections.delete("faq")
    assert verdict(store, other) is None
    with closing(sqlite3.connect(path)) as connection:
        left = connection.execute("SELECT count(*) FROM labels WHERE collection_key = ?", (other,))
        assert left.fetchone() == (0,)
    store.collections.create("faq", 10)
    assert listed(store, "faq", history=True) == []
    assert listed(store) == [(1, "bob", False)]


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.labels.write("nowhere", [said("anna", True)]),
        lambda store: store.labels.undo("nowhere", 1, "anna"),
        lambda store: store.labels.page("nowhere", 0, 10),
        lambda store: store.labels.agreed("nowhere"),
    ],
)
def test_an_unknown_collection_is_not_found(store: Store, use: Callable[[Store], object]) -> None:
    with pytest.raises(CollectionNotFound, match="there is no collection 'nowhere'"):
        use(store)


def test_labels_outlive_their_questions(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", PAIR[0]), ("b", PAIR[1])])
    store.labels.write("default", [NewLabel(True, "anna", ids=("a", "b"))])
    for id_ in ("a", "b"):
        store.questions.delete("default", id_)
    assert (verdict(store, key), store.labels.page("default", 0, 10)[0].questions) == (
        "duplicate",
        PAIR,
    )


def test_what_was_said_is_there_when_the_store_opens_again(path: Path) -> None:
    with closing(Store(path)) as store:
        say(store, said("anna", True), said("bob", False), said("anna", False, OTHER))
        say(store, said("anna", True, OTHER))
        store.labels.undo("default", 2, "carl")
        before = store.labels.page("default", 0, 10, history=True)
    with closing(Store(path)) as store:
        assert store.labels.page("default", 0, 10, history=True) == before
        assert say(store, said("carl", True)) == [5]


# Undoing


def test_an_undone_label_counts_no_more_and_stays_for_the_record(store: Store, key: int) -> None:
    say(store, said("anna", True), said("bob", False))
    undone = store.labels.undo("default", 2, "carl")
    assert undone.ended
    assert (undone.id, undone.by, undone.ended.by, undone.ended.replaced_by) == (
        2,
        "bob",
        "carl",
        None,
    )
    assert (listed(store), verdict(store, key)) == ([(1, "anna", True)], "duplicate")
    assert (store.labels.contradicted(), store.labels.page("default", 0, 10)[0].contradicted) == (
        0,
        False,
    )
    assert store.labels.page("default", 1, 10, history=True) == [undone]
    store.labels.undo("default", 1, "anna")
    assert (listed(store), verdict(store, key), len(listed(store, history=True))) == ([], None, 2)


def test_undoing_twice_changes_nothing(store: Store) -> None:
    say(store, said("anna", True))
    assert store.labels.undo("default", 1, "bob") == store.labels.undo("default", 1, "carl")


def test_a_label_that_was_replaced_is_not_undone(store: Store) -> None:
    say(store, said("anna", True))
    say(store, said("anna", False))
    with pytest.raises(LabelReplaced, match=r"^label 1 was replaced by label 2: undo that one$"):
        store.labels.undo("default", 1, "anna")
    assert listed(store) == [(2, "anna", False)]


def test_what_was_undone_can_be_said_again(store: Store) -> None:
    say(store, said("anna", True))
    store.labels.undo("default", 1, "anna")
    assert store.labels.write("default", [said("anna", True)]) == Labelled(
        1, 0, 0, [Given(2, False)]
    )
    assert listed(store, history=True) == [(1, "anna", True), (2, "anna", True)]


@pytest.mark.parametrize("label_id", [2, 2**63 - 1])
def test_a_label_that_is_not_there_is_not_found(store: Store, label_id: int) -> None:
    say(store, said("anna", True))
    with pytest.raises(
        LabelNotFound, match=f"^collection 'default' holds no label with id {label_id}$"
    ):
        store.labels.undo("default", label_id, "anna")


# Reading


def test_labels_are_listed_in_the_order_in_which_they_were_given(store: Store) -> None:
    texts = [(f"one {n}", f"other {n}") for n in range(7)]
    say(store, *(said(PEOPLE[n % 3], n % 2 == 0, pair) for n, pair in enumerate(texts)))
    assert [label.questions for label in store.labels.page("default", 0, 100)] == texts
    assert [label.id for label in store.labels.page("default", 2, 3)] == [3, 4, 5]
    assert listed(store, is_duplicate=False) == [
        (2, "bob", False),
        (4, "anna", False),
        (6, "carl", False),
    ]
    assert listed(store, by="bob") == [(2, "bob", False), (5, "bob", True)]
    assert listed(store, by="bob", is_duplicate=True) == [(5, "bob", True)]
    assert listed(store, by="nobody") == []
    store.labels.undo("default", 5, "anna")
    assert listed(store, by="bob") == [(2, "bob", False)]
    assert listed(store, by="bob", history=True) == [(2, "bob", False), (5, "bob", True)]


def test_training_reads_each_pair_once_and_none_that_is_disputed(store: Store) -> None:
    third = ("One?", "Two?")
    say(
        store,
        said("anna", True),
        said("bob", True, (f" {PAIR[1]}", PAIR[0])),
        said("anna", False, OTHER),
        said("bob", True, third),
        said("anna", False, third),
    )
    found = {(label.questions, label.is_duplicate) for label in store.labels.agreed("default")}
    assert found == {((f" {PAIR[1]}", PAIR[0]), True), (OTHER, False)}
    store.labels.undo("default", 4, "anna")
    store.labels.undo("default", 3, "anna")
    found = {(label.questions, label.is_duplicate) for label in store.labels.agreed("default")}
    assert found == {((f" {PAIR[1]}", PAIR[0]), True), (third, False)}


def test_more_pairs_are_labelled_than_one_query_takes(store: Store, key: int) -> None:
    pairs = [(f"question {n}", "the canonical one") for n in range(1200)]
    assert (
        store.labels.write(
            "default", [said("anna", n % 2 == 0, pair) for n, pair in enumerate(pairs)]
        ).added
        == 1200
    )
    assert (
        store.labels.write(
            "default", [said("anna", n % 2 == 0, pair) for n, pair in enumerate(pairs)]
        ).unchanged
        == 1200
    )
    found = store.labels.of(key, [(Words.of(one), Words.of(other)) for one, other in pairs])
    assert [found[pair][0].is_duplicate for pair in pairs] == [n % 2 == 0 for n in range(1200)]
    assert len(store.labels.on(key, [Words.of("The canonical one")])["The canonical one"]) == 1200
    assert len(store.labels.on(key, [Words.of(pair[0]) for pair in pairs])) == 1200


def test_one_of_many_same_requests_at_once_does_the_work(store: Store) -> None:
    def label(_: int) -> Labelled:
        return store.labels.write("default", [said("anna", True)])

    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _: store.labels.write("default", [said("anna", True)]), range(16))
        )
    assert {answer.labels[0].id for answer in answers} == {1}
    assert sum(answer.added for answer in answers) == 1
    assert sum(answer.unchanged for answer in answers) == 15


# Damage


DAMAGE = {
    "the word": "UPDATE labels SET is_duplicate = 1 - is_duplicate WHERE id = 1",
    "a text": "UPDATE labels SET question1 = 'secret' WHERE id = 1",
    "a text that is not UTF-8": "UPDATE labels SET question1 = CAST(x'6fff65' AS TEXT) WHERE id = 1",
    "the person": "UPDATE labels SET said_by = 'mallory' WHERE id = 1",
    "another checksum": "UPDATE labels SET checksum = checksum + 1 WHERE id = 1",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_label_is_passed_over_and_told(
    path: Path, store: Store, key: int, damage: str
) -> None:
    say(store, said("anna", True), said("anna", False, OTHER))
    behind_its_back(path, damage)
    assert (verdict(store, key), verdict(store, key, OTHER)) == (None, "different")
    assert [label.id for label in store.labels.page("default", 0, 1)] == [2]
    assert [label.id for label in store.labels.agreed("default")] == [2]
    assert store.labels.on(key, [Words.of(text) for text in PAIR]) == {}
    with pytest.raises(LabelNotFound):
        store.labels.undo("default", 1, "anna")
    assert store.database.damaged == 1


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_saying_it_again_mends_a_damaged_label(
    path: Path, store: Store, key: int, damage: str
) -> None:
    say(store, said("anna", True), said("anna", False, OTHER))
    behind_its_back(path, damage)
    assert store.labels.write("default", [said("anna", True)]) == Labelled(
        1, 0, 0, [Given(3, False)]
    )
    assert (listed(store), verdict(store, key)) == (
        [(2, "anna", False), (3, "anna", True)],
        "duplicate",
    )


def test_sound_labels_are_not_damaged(store: Store, key: int) -> None:
    say(store, said("anna", True, note="ünï 🦊"), said("bob", False))
    say(store, said("anna", False))
    store.labels.undo("default", 2, "carl")
    assert len(store.labels.page("default", 0, 10, history=True)) == 3
    assert (verdict(store, key), store.database.damaged) == ("different", 0)


# Schema, many at once, speed


def test_many_people_who_label_at_once_get_distinct_ids(store: Store, key: int) -> None:
    def label(person: int) -> list[int]:
        chance = random.Random(person)
        return [
            say(store, said(f"{person}", chance.random() < 0.5, (f"one {n}", f"other {n}")))[0]
            for n in range(10)
        ]

    with ThreadPoolExecutor(8) as threads:
        ids = [id_ for mine in threads.map(label, range(8)) for id_ in mine]
    assert sorted(ids) == list(range(1, 81))
    for n in range(10):
        pair = (Words.of(f"one {n}"), Words.of(f"other {n}"))
        labels = store.labels.of(key, [pair])[f"one {n}", f"other {n}"]
        assert len(labels) == 8
        assert {label.contradicted for label in labels} == {
            len({label.is_duplicate for label in labels}) == 2
        }
    assert store.database.damaged == 0


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_no_statement_reads_all_labels(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", PAIR[0]), ("b", PAIR[1])])
    with statements_of(store) as statements:
        store.labels.write("default", [NewLabel(True, "anna", ids=("a", "b")), said("bob", False)])
        store.labels.write("default", [said("anna", False)])
        store.labels.undo("default", 3, "anna")
        for filters in (
            {},
            {"is_duplicate": True},
            {"by": "anna"},
            {"contradicted": True},
            {"history": True},
        ):
            store.labels.page("default", 1, 10, **filters)
        words = [Words.of(text) for text in (*PAIR, *OTHER)]
        store.labels.on(key, words)
        store.labels.on(key, words[:1])
        store.labels.of(key, [(words[0], words[1]), (words[2], words[3])])
        store.labels.contradicted()
    steps = [step for statement in statements for step in plan(store, statement)]
    read = [step for step in steps if " labels " in step]
    assert len(read) > 15
    for (
        detail
    ) in read:  # the covering one: the greatest id, which SQLite takes from the end of the index
        assert re.search(
            r"\(collection_key=\? AND |\(key=\?\)|COVERING|ix_labels_contradicted", detail
        ), detail
