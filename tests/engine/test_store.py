"""The store's promises, by value: revisions, versions, what a delete forgets, and what damage can't do."""

import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import text as text_module
from app.engine.store import (
    Changes,
    Contents,
    Copies,
    Key,
    NewLabel,
    Question,
    Store,
    Written,
    revisions,
)
from app.engine.store.collections import NAMED
from app.engine.store.schema import metadata
from app.engine.store.sqlite import PRAGMAS, Sqlite
from app.engine.text import DIGEST_BYTES, Words, digest, normalize
from app.errors import (
    CollectionNotFound,
    CollectionProtected,
    DataDamaged,
    DataDirectoryUnusable,
    FieldError,
    InvalidRequest,
    KeyNotFound,
    QuestionNotFound,
    StorageFull,
)
from tests.statements import plan, statements_of

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


NOTHING_HELD = np.empty(0, dtype=np.int64)


def question(id_: str, text: str, revision: int) -> Question:
    words = Words.of(text)
    return Question(id_, text, revision, None, words.digest, words.loose)


def held(store: Store, key: int, revision: int) -> Contents:
    """What an index at this revision may hold."""
    contents = store.revisions.contents(key, revision, NOTHING_HELD)
    assert contents
    return contents


def behind_its_back(path: Path, statement: str, *values: object) -> None:
    """Change the database without the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


# Collections


def test_a_new_store_has_the_default_collection(store: Store) -> None:
    (collection,) = store.collections.all()
    assert (collection.name, collection.revision, collection.questions) == ("default", 0, 0)
    assert store.collections.get("default") == collection


def test_a_collection_is_made_once(store: Store) -> None:
    made, now = store.collections.create("faq", 10)
    assert (made.name, made.revision, made.questions, now) == ("faq", 0, 0, True)
    assert store.collections.create("faq", 10) == (made, False)
    assert store.collections.get("faq") == made


def test_collections_are_listed_by_name(store: Store) -> None:
    for name in ("zoo", "animals", "Ärzte", "birds"):
        store.collections.create(name, 10)
    listed = [collection.name for collection in store.collections.all()]
    assert listed == ["animals", "birds", "default", "zoo", "Ärzte"]
    assert [c.name for c in store.collections.page("birds", 2)] == ["default", "zoo"]
    assert store.collections.page("Ärzte", 2) == []


def test_there_are_as_many_collections_as_allowed_and_no_more(store: Store) -> None:
    store.collections.create("second", 2)
    with pytest.raises(InvalidRequest) as refusal:
        store.collections.create("third", 2)
    assert refusal.value.errors == (FieldError("name", "can't be added: at most 2 collections"),)
    assert store.collections.create("second", 2)[1] is False
    assert [collection.name for collection in store.collections.all()] == ["default", "second"]


def test_a_deleted_collection_is_gone_with_its_questions(store: Store) -> None:
    made, _ = store.collections.create("faq", 10)
    store.questions.upsert("faq", [("1", "a"), ("2", "b")])
    store.questions.upsert("faq", [("1", "c")])
    store.questions.upsert("default", [("1", "kept")])
    assert store.collections.delete("faq").key == made.key
    for read in (
        store.collections.get,
        store.collections.delete,
        lambda name: store.questions.get(name, "1"),
    ):
        with pytest.raises(CollectionNotFound, match="'faq'"):
            read("faq")
    assert store.revisions.changes_since(made.key, 0, 10) is None
    assert store.questions.read(made.key, [1, 2, 3]) == {}
    assert store.questions.get("default", "1") == question("1", "kept", 1)


def test_the_key_of_a_deleted_collection_is_never_used_again(path: Path) -> None:
    keys = []
    for _ in range(3):
        with closing(Store(path)) as store:
            for name in ("faq", "faq", "other"):
                keys.append(store.collections.create(name, 10)[0].key)
                store.collections.delete(name)
    assert len(set(keys)) == 9
    assert keys == sorted(keys)


def test_a_collection_made_again_is_empty(store: Store) -> None:
    store.collections.create("faq", 10)
    store.questions.upsert("faq", [("1", "a")])
    store.collections.delete("faq")
    made, now = store.collections.create("faq", 10)
    assert (made.revision, made.questions, now) == (0, 0, True)
    assert store.questions.page("faq", None, 10) == []
    assert store.questions.exact_matches(made.key, ["a"]) == {}


def test_the_default_collection_is_protected(store: Store) -> None:
    store.questions.upsert("default", [("1", "a")])
    with pytest.raises(CollectionProtected):
        store.collections.delete("default")
    assert store.questions.get("default", "1") == question("1", "a", 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.collections.get("nowhere"),
        lambda store: store.collections.delete("nowhere"),
        lambda store: store.questions.upsert("nowhere", [("1", "a")]),
        lambda store: store.questions.delete("nowhere", "1"),
        lambda store: store.questions.get("nowhere", "1"),
        lambda store: store.questions.page("nowhere", None, 10),
    ],
)
def test_an_unknown_collection_is_not_found(store: Store, use: Callable[[Store], object]) -> None:
    with pytest.raises(CollectionNotFound, match="there is no collection 'nowhere'"):
        use(store)


# Writing


def test_each_question_written_takes_the_next_revision(store: Store) -> None:
    before = store.collections.get("default")
    assert store.questions.upsert("default", [("b", "two"), ("a", "one")]) == Written(
        before, revision=2, added=2
    )
    assert store.questions.get("default", "b") == question("b", "two", 1)
    assert store.questions.get("default", "a") == question("a", "one", 2)
    after = store.collections.get("default")
    assert (after.revision, after.questions) == (2, 2)


def test_a_changed_text_is_a_new_version(store: Store) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    written = store.questions.upsert("default", [("c", "three"), ("a", "uno"), ("b", "two")])
    assert (written.revision, written.added, written.updated, written.unchanged) == (4, 1, 1, 1)
    assert store.questions.page("default", None, 10) == [
        question("a", "uno", 4),
        question("b", "two", 2),
        question("c", "three", 3),
    ]
    assert store.collections.get("default").questions == 3


def test_an_unchanged_upsert_makes_no_revision(store: Store) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    written = store.questions.upsert("default", [("b", "two"), ("a", "one")])
    assert (written.revision, written.added, written.updated, written.unchanged) == (2, 0, 0, 2)
    assert store.collections.get("default").revision == 2
    assert store.questions.get("default", "a") == question("a", "one", 1)


def test_a_text_that_differs_only_in_case_or_space_is_stored_as_given(store: Store) -> None:
    store.questions.upsert("default", [("a", "one")])
    assert store.questions.upsert("default", [("a", " ONE")]).updated == 1
    assert store.questions.get("default", "a") == question("a", " ONE", 2)


def test_an_empty_upsert_does_nothing(store: Store) -> None:
    assert store.questions.upsert("default", []) == Written(
        store.collections.get("default"), revision=0
    )


def test_an_upsert_that_fails_writes_nothing(store: Store) -> None:
    store.questions.upsert("default", [("a", "one")])
    with pytest.raises(UnicodeEncodeError):
        store.questions.upsert("default", [("a", "uno"), ("b", "two"), ("c", "no \ud800 text")])
    assert store.questions.page("default", None, 10) == [question("a", "one", 1)]
    assert store.questions.upsert("default", [("b", "two")]).revision == 2


def test_many_questions_go_in_one_upsert(store: Store) -> None:
    many = [(f"{i:04}", f"question {i}") for i in range(1234)]
    assert store.questions.upsert("default", many).added == 1234
    assert store.questions.upsert("default", many).unchanged == 1234
    assert store.questions.page("default", None, 2000) == [
        question(id_, text, i + 1) for i, (id_, text) in enumerate(many)
    ]
    ids = [id_ for id_, _ in many]
    assert store.questions.revisions(store.collections.get("default").key, ids) == {
        id_: i + 1 for i, id_ in enumerate(ids)
    }


def test_collections_count_their_revisions_apart(store: Store) -> None:
    store.collections.create("faq", 10)
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    assert store.questions.upsert("faq", [("a", "eins")]).revision == 1
    assert store.questions.get("faq", "a") == question("a", "eins", 1)
    assert store.questions.get("default", "a") == question("a", "one", 1)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(id_=ANY_TEXT, text=ANY_TEXT)
def test_any_text_is_stored_as_given(store: Store, id_: str, text: str) -> None:
    store.questions.upsert("default", [(id_, text)])
    found = store.questions.get("default", id_)
    assert (found.id, found.text) == (id_, text)
    assert store.questions.exact_matches(1, [text])[text][-1] == found
    store.questions.delete("default", id_)


def test_what_was_written_is_there_when_the_store_opens_again(path: Path) -> None:
    with closing(Store(path)) as store:
        store.questions.upsert("default", [("a", "one"), ("b", "two")])
        store.questions.delete("default", "b")
        before = store.collections.all()
    with closing(Store(path)) as store:
        assert store.collections.all() == before
        assert store.questions.page("default", None, 10) == [question("a", "one", 1)]
        assert store.questions.upsert("default", [("b", "two")]).revision == 4


# Replaced and deleted versions


def test_a_replaced_version_can_be_read_until_it_is_purged(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.upsert("default", [("b", "dos")])
    versions = {revision: question(*said, revision) for revision, said in enumerate(VERSIONS, 1)}
    assert store.questions.read(key, [1, 2, 3, 4, 99]) == versions
    store.revisions.purge(key, 2)
    assert store.questions.read(key, [1, 2, 3, 4]) == versions
    store.revisions.purge(key, 3)
    assert store.questions.read(key, [1, 2, 3, 4]) == {
        revision: versions[revision] for revision in (2, 3, 4)
    }
    store.revisions.purge(key, 4)
    assert store.questions.read(key, [1, 2, 3, 4]) == {
        revision: versions[revision] for revision in (3, 4)
    }
    assert store.questions.page("default", None, 10) == [versions[3], versions[4]]


VERSIONS = [("a", "one"), ("b", "two"), ("a", "uno"), ("b", "dos")]


def test_many_versions_are_purged_some_at_a_time(
    store: Store, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "PURGED_AT_ONCE", 2)
    for number in range(6):
        store.questions.upsert("default", [("a", f"text {number}")])
    store.revisions.purge(key, 6)
    assert list(store.questions.read(key, range(1, 7))) == [6]
    assert not store.revisions.purge(key, 6)


def test_a_purge_leaves_other_collections_alone(store: Store, key: int) -> None:
    other = store.collections.create("faq", 10)[0].key
    for name in ("default", "faq"):
        store.questions.upsert(name, [("a", "one")])
        store.questions.upsert(name, [("a", "uno")])
    store.revisions.purge(key, 2)
    assert store.questions.read(key, [1, 2]) == {2: question("a", "uno", 2)}
    assert store.questions.read(other, [1, 2]) == {
        1: question("a", "one", 1),
        2: question("a", "uno", 2),
    }


def test_a_deleted_question_is_gone_at_once(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    written = store.questions.delete("default", "a")
    assert (written.revision, written.collection.key) == (3, key)
    with pytest.raises(QuestionNotFound, match="holds no question with id 'a'"):
        store.questions.get("default", "a")
    with pytest.raises(QuestionNotFound):
        store.questions.delete("default", "a")
    assert store.questions.page("default", None, 10) == [question("b", "two", 2)]
    assert store.questions.read(key, [1, 2, 3]) == {2: question("b", "two", 2)}
    assert store.questions.revisions(key, ["a", "b"]) == {"b": 2}
    assert store.questions.exact_matches(key, ["one", "two"]) == {"two": [question("b", "two", 2)]}
    collection = store.collections.get("default")
    assert (collection.revision, collection.questions) == (3, 1)


def test_the_earlier_texts_of_a_deleted_question_are_gone_too(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.delete("default", "a")
    assert store.questions.read(key, [1, 2, 3]) == {}


def test_a_deleted_id_may_come_back(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one")])
    store.questions.delete("default", "a")
    assert store.questions.upsert("default", [("a", "one")]).added == 1
    assert store.questions.get("default", "a") == question("a", "one", 3)
    assert store.questions.read(key, [1, 2, 3]) == {3: question("a", "one", 3)}
    assert store.collections.get("default").questions == 1


# Reading


def test_questions_are_listed_in_the_order_of_their_ids(store: Store) -> None:
    ids = ["b", "a", "10", "9", "é", "B", "a a", "z", "Ω", "😀", "\ufb00"]
    store.questions.upsert("default", [(id_, f"text of {id_}") for id_ in ids])
    ordered = [question(id_, f"text of {id_}", ids.index(id_) + 1) for id_ in sorted(ids)]
    assert store.questions.page("default", None, 100) == ordered
    assert store.questions.page("default", "a", 3) == [q for q in ordered if q.id > "a"][:3]
    assert store.questions.page("default", "zzz", 100) == [q for q in ordered if q.id > "zzz"]
    assert store.questions.page("default", "\U0010ffff", 100) == []


def test_exact_matches_are_of_the_same_visible_words_oldest_first(store: Store, key: int) -> None:
    store.questions.upsert(
        "default",
        [("z", "How old?"), ("b", "How  old?"), ("c", "How old!"), ("a", "How\u200b old?")],
    )
    matches = [
        question("z", "How old?", 1),
        question("b", "How  old?", 2),
        question("a", "How\u200b old?", 4),
    ]
    assert store.questions.exact_matches(key, [" How old? ", "how old?", "How old!"]) == {
        " How old? ": matches,
        "How old!": [question("c", "How old!", 3)],
    }
    assert store.questions.exact_matches(key, []) == {}


def test_exact_matches_know_current_versions_of_their_collection_only(
    store: Store, key: int
) -> None:
    store.collections.create("faq", 10)
    store.questions.upsert("faq", [("1", "one")])
    store.questions.upsert("default", [("1", "one"), ("2", "two")])
    store.questions.upsert("default", [("1", "uno")])
    store.questions.delete("default", "2")
    assert store.questions.exact_matches(key, ["one", "two", "uno"]) == {
        "uno": [question("1", "uno", 3)]
    }


def test_copies_are_the_current_questions_of_the_same_bytes_oldest_first(
    store: Store, key: int
) -> None:
    ids = [f"{number:02}" for number in range(30, 0, -1)]
    store.questions.upsert("default", [(id_, "One?") for id_ in ids])
    store.questions.upsert("default", [("other", "One? "), ("changed", "One?"), ("gone", "One?")])
    store.questions.upsert("default", [("changed", "Two?")])
    store.questions.delete("default", "gone")
    worded = [Words.of(text) for text in ("One?", "Two?", "Three?", "One?")]
    assert store.questions.copies(key, worded) == {
        "One?": Copies(tuple(ids[:20]), 30),
        "Two?": Copies(("changed",), 1),
    }
    few = store.questions.copies(key, worded[:1], excluded={*ids[:3], "other", "none"})
    assert few == {"One?": Copies(tuple(ids[3:23]), 27)}
    assert store.questions.copies(key, worded[:1], excluded=set(ids)) == {}


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_copies_are_found_by_their_index(store: Store, key: int) -> None:
    store.questions.upsert("default", [(f"{number}", "One?") for number in range(30)])
    with statements_of(store) as statements:
        store.questions.copies(key, [Words.of("One?"), Words.of("Two?")])
    steps = [step for statement in statements for step in plan(store, statement)]
    assert steps
    assert all("ix_questions_digest" in step for step in steps if "questions" in step), steps


def test_more_texts_are_matched_than_one_query_takes(store: Store, key: int) -> None:
    store.questions.upsert("default", [(f"{i}", f"question {i}") for i in range(1200)])
    matches = store.questions.exact_matches(key, [f" question {i}" for i in range(1300)])
    assert matches == {
        f" question {i}": [question(f"{i}", f"question {i}", i + 1)] for i in range(1200)
    }


# Changes


def test_an_empty_collection_has_no_changes(store: Store, key: int) -> None:
    assert store.revisions.changes_since(key, 0, 10) == Changes(
        revision=0, added=[], removed=[], complete=True
    )


def test_changes_are_what_an_index_has_to_add_and_remove(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.delete("default", "b")
    assert store.revisions.changes_since(key, 0, 10) == Changes(
        5, added=[question("c", "three", 3), question("a", "uno", 4)], removed=[], complete=True
    )
    assert store.revisions.changes_since(key, 3, 10) == Changes(
        5, added=[question("a", "uno", 4)], removed=[1, 2], complete=True
    )
    assert store.revisions.changes_since(key, 4, 10) == Changes(
        5, added=[], removed=[2], complete=True
    )
    assert store.revisions.changes_since(key, 5, 10) == Changes(
        5, added=[], removed=[], complete=True
    )


def test_changes_come_in_parts_when_there_are_many(store: Store, key: int) -> None:
    store.questions.upsert("default", [(f"{i}", f"text {i}") for i in range(5)])
    first = store.revisions.changes_since(key, 0, 2)
    assert first == Changes(
        2, [question("0", "text 0", 1), question("1", "text 1", 2)], [], complete=False
    )
    for id_ in ("4", "2", "0"):
        store.questions.delete("default", id_)
    assert store.revisions.changes_since(key, 5, 2) == Changes(7, [], [5, 3], complete=False)
    assert store.revisions.changes_since(key, 7, 2) == Changes(8, [], [1], complete=True)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    steps=st.lists(
        st.one_of(
            st.dictionaries(
                st.sampled_from("abcdef"), st.sampled_from(["one", "two", "three"]), min_size=1
            ),
            st.sampled_from("abcdef"),  # to delete
            st.integers(1, 3),  # to catch up by one part of this size
            st.just("purge"),
        ),
        max_size=25,
    )
)
def test_an_index_that_follows_the_changes_holds_the_current_questions(
    store: Store, steps: list[object]
) -> None:
    store.collections.create("followed", 10)
    key = store.collections.get("followed").key
    truth: dict[str, str] = {}
    index: dict[int, Question] = {}
    at = 0

    def follow(limit: int) -> bool:
        nonlocal at
        changes = store.revisions.changes_since(key, at, limit)
        assert changes is not None
        assert at <= changes.revision
        assert all(at < added.revision <= changes.revision for added in changes.added)
        for revision in changes.removed:
            index.pop(revision, None)
        index.update({added.revision: added for added in changes.added})
        at = changes.revision
        return changes.complete

    for step in steps:
        if isinstance(step, dict):
            store.questions.upsert("followed", list(step.items()))
            truth |= step
        elif isinstance(step, int):
            follow(step)
        elif step == "purge":
            store.revisions.purge(key, at)
        elif truth.pop(str(step), None):
            store.questions.delete("followed", str(step))
    while not follow(2):
        pass
    assert {found.id: found.text for found in index.values()} == truth
    assert sorted(index) == sorted(store.questions.revisions(key, list(truth)).values())
    assert at == store.collections.get("followed").revision
    store.collections.delete("followed")


def test_contents_are_what_an_index_at_a_revision_holds(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.delete("default", "b")
    expected = [[], [1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4]]
    assert [held(store, key, revision).ids.tolist() for revision in range(6)] == expected
    store.revisions.quarantine(key, {3: "no vector"})
    contents = held(store, key, 5)
    assert contents.ids[contents.required].tolist() == [4]
    assert contents.ids.tolist() == [3, 4]  # another release's model may have a vector for it


def test_what_was_superseded_since_may_be_there_and_need_not(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.delete("default", "b")
    assert held(store, key, 3).required.tolist() == [False, False, True]
    assert held(store, key, 5).required.tolist() == [True, True]


def test_a_collection_that_is_gone_has_no_contents(store: Store) -> None:
    made, _ = store.collections.create("faq", 10)
    assert held(store, made.key, 0).ids.tolist() == []
    store.collections.delete("faq")
    assert store.revisions.contents(made.key, 0, NOTHING_HELD) is None


def test_digests_are_those_of_the_texts_and_outlive_a_delete(store: Store, key: int) -> None:
    texts = ["one", "two", "three"]
    store.questions.upsert("default", [(text, text) for text in texts])
    store.questions.delete("default", "two")
    assert [row.tobytes() for row in held(store, key, 3).digests] == [
        digest(text) for text in texts
    ]
    assert held(store, key, 0).digests.shape == (0, DIGEST_BYTES)


# Quarantine


def test_quarantine_notes_a_reason_and_takes_it_back(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    store.revisions.quarantine(key, {1: "no vector", 2: "too odd"})
    assert store.questions.get("default", "a") == replace(
        question("a", "one", 1), quarantined="no vector"
    )
    assert store.questions.get("default", "b") == replace(
        question("b", "two", 2), quarantined="too odd"
    )
    assert store.revisions.quarantined_count() == 2
    store.revisions.quarantine(key, {1: None})
    assert store.questions.get("default", "a") == question("a", "one", 1)
    assert store.revisions.quarantined_count() == 1
    assert store.collections.get("default").revision == 2


def test_only_current_questions_count_as_quarantined(store: Store, key: int) -> None:
    store.collections.create("faq", 10)
    store.questions.upsert("faq", [("a", "one")])
    store.revisions.quarantine(store.collections.get("faq").key, {1: "no vector"})
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    store.revisions.quarantine(key, {1: "no vector", 2: "no vector", 99: "no such revision"})
    assert store.revisions.quarantined_count() == 3
    store.questions.upsert("default", [("a", "uno")])
    assert store.questions.get("default", "a") == question("a", "uno", 3)
    store.questions.delete("default", "b")
    assert store.revisions.quarantined_count() == 1


# Keys


def test_a_key_is_kept_as_it_was_made(path: Path, store: Store) -> None:
    assert (store.keys.all(), store.keys.exist(), store.keys.get("1")) == ([], False, None)
    before = datetime.now(UTC).replace(microsecond=0)
    made = store.keys.add("1", b"digest", ["read", "label"], "Grüße 🦊")
    assert made == Key(
        "1", b"digest", ("read", "label"), "Grüße 🦊", made.created_at, revoked_at=None
    )
    assert before <= datetime.fromisoformat(made.created_at) <= datetime.now(UTC)
    with closing(Store(path)) as other:
        assert (other.keys.all(), other.keys.exist()) == ([made], True)
        assert (other.keys.get("1"), other.keys.get("2")) == (made, None)


def test_an_id_names_one_key(store: Store) -> None:
    made = store.keys.add("1", b"digest", ["read"], "")
    with pytest.raises(sa.exc.IntegrityError):
        store.keys.add("1", b"another", ["admin"], "")
    assert store.keys.get("1") == made


def test_a_revoked_key_stays_in_the_list_with_the_time(store: Store) -> None:
    kept, made = (
        store.keys.add("1", b"one", ["read"], "kept"),
        store.keys.add("2", b"two", ["admin"], "revoked"),
    )
    revoked = store.keys.revoke("2")
    assert revoked == replace(made, revoked_at=revoked.revoked_at)
    assert datetime.fromisoformat(revoked.revoked_at or "") <= datetime.now(UTC)
    assert (store.keys.all(), store.keys.get("2")) == ([kept, revoked], revoked)


def test_a_key_is_revoked_once(path: Path, store: Store) -> None:
    store.keys.add("1", b"one", ["read"], "")
    behind_its_back(path, "UPDATE keys SET revoked_at = '2001-01-01T00:00:00Z'")
    assert store.keys.revoke("1").revoked_at == "2001-01-01T00:00:00Z"
    with pytest.raises(KeyNotFound, match="'2'"):
        store.keys.revoke("2")


@pytest.mark.parametrize(
    "damage",
    [
        "scopes = 'admin'",
        "digest = x'00'",
        "name = 'mine'",
        "created_at = ''",
        "checksum = checksum + 1",
        "id = '3'",
    ],
)
def test_a_damaged_key_is_told_and_never_given(
    path: Path, store: Store, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    sound = store.keys.add("1", b"one", ["read"], "")
    store.keys.add("2", b"two", ["read"], "")
    behind_its_back(path, f"UPDATE keys SET {damage} WHERE id = '2'")
    with pytest.raises(DataDamaged, match="fails its checksum: revoke it"):
        store.keys.get("3" if "id" in damage.split() else "2")
    assert (store.keys.all(), store.keys.get("1"), store.keys.exist()) == ([sound], sound, True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_key_whose_revocation_is_taken_back_is_damaged(path: Path, store: Store) -> None:
    store.keys.add("1", b"one", ["read"], "")
    store.keys.revoke("1")
    behind_its_back(path, "UPDATE keys SET revoked_at = NULL")
    with pytest.raises(DataDamaged):
        store.keys.get("1")


def test_a_damaged_key_can_be_revoked(path: Path, store: Store) -> None:
    store.keys.add("1", b"one", ["read"], "")
    behind_its_back(path, "UPDATE keys SET scopes = 'admin'")
    store.keys.revoke("1")
    assert [key.revoked_at is not None for key in store.keys.all()] == [True]


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_a_key_is_found_by_its_index(store: Store) -> None:
    with store.database.driver.engine.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM keys WHERE id = ?", ("1",)
        ).all()
    assert [step.detail for step in plan] == [
        "SEARCH keys USING INDEX sqlite_autoindex_keys_1 (id=?)"
    ]


def _sqlite(store: Store) -> Sqlite:
    assert isinstance(store.database.driver, Sqlite)
    return store.database.driver


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_texts_are_normalised_before_others_wait_for_the_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a while for long texts, and nobody else can write in a transaction."""
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    is_free: list[bool] = []

    def normalize_and_look(text: str) -> str:
        lock = _sqlite(store).write_lock
        is_free.append(lock.acquire(blocking=False))
        if is_free[-1]:
            lock.release()
        return normalize(text)

    monkeypatch.setattr(text_module, "normalize", normalize_and_look)
    store.questions.upsert("default", [("a", "uno"), ("c", "three")])
    pairs = [("uno", "four"), ("uno", "five")]
    new = [NewLabel(True, "anna", questions=pair) for pair in pairs]
    store.labels.write("default", [*new, NewLabel(True, "anna", ids=("b", "c"))])
    assert is_free == [True] * 5


# Views, and what changes under them


def test_a_view_is_of_one_moment_whatever_is_written_meanwhile(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one")])
    with ThreadPoolExecutor(1) as other, store.view():
        before = store.collections.get("default")
        other.submit(store.questions.upsert, "default", [("a", "uno"), ("b", "two")]).result()
        assert (store.collections.get("default"), store.questions.revisions(key, ["a", "b"])) == (
            before,
            {"a": 1},
        )
        assert other.submit(store.questions.revisions, key, ["a", "b"]).result() == {
            "a": 2,
            "b": 3,
        }  # a view is of one thread
    assert store.questions.revisions(key, ["a", "b"]) == {"a": 2, "b": 3}


def test_a_view_ends_with_an_error_inside(store: Store, key: int) -> None:
    with pytest.raises(CollectionNotFound), store.view():
        store.collections.get("unknown")
    store.questions.upsert("default", [("a", "one")])
    assert store.questions.revisions(key, ["a"]) == {"a": 1}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 511, 512, 513, 1100])
def test_any_number_of_values_is_looked_for(store: Store, key: int, count: int) -> None:
    store.questions.upsert("default", [(f"q{n}", f"question {n}") for n in range(1, 1101)])
    expected = {
        n: question(f"q{n}", f"question {n}", n)
        for n in random.Random(count).sample(range(1, 1101), count)
    }
    assert store.questions.read(key, list(expected)) == expected
    assert store.questions.revisions(key, [of.id for of in expected.values()]) == {
        of.id: of.revision for of in expected.values()
    }


def test_a_statement_without_one_of_its_values_is_an_error(store: Store) -> None:
    with store.database.reading() as connection, pytest.raises(KeyError, match="called"):
        next(NAMED.rows(connection, {}))


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_a_view_is_one_transaction(store: Store, key: int) -> None:
    with statements_of(store) as statements, store.view():
        store.collections.get("default")
        store.questions.exact_matches(key, ["one"])
        store.labels.on(key, [Words.of("one")])
    assert [statement.split()[0] for statement in statements] == [
        "BEGIN",
        *4 * ["SELECT"],
        "ROLLBACK",
    ]


def test_a_view_that_fails_leaves_nothing_behind(store: Store) -> None:
    with suppress(ValueError), store.view():
        assert store.collections.get("default").revision == 0
        raise ValueError
    store.questions.upsert("default", [("a", "one")])
    assert store.collections.get("default").revision == 1
    store.close()
    assert (
        store.collections.get("default").revision == 1
    )  # closed is not gone, and nothing holds on to what was
    store.close()


def test_a_view_takes_no_option_over_from_the_one_before(store: Store) -> None:
    with store.database.reading() as connection:
        before = connection.get_execution_options()
    store.questions.page("default", None, 1)
    store.labels.page("default", 0, 1)
    store.training_runs.page(None, 1)
    with store.database.reading() as connection:
        assert connection.get_execution_options() == before


def test_the_version_is_another_after_each_commit_of_whomever(
    path: Path, store: Store, key: int
) -> None:
    with closing(Store(path, prepare=False)) as other:
        seen = [store.database.version()]
        for change in (
            lambda: store.questions.upsert("default", [("a", "one")]),
            lambda: other.questions.upsert("default", [("a", "uno")]),
            lambda: store.revisions.quarantine(key, {2: "no vector"}),
            lambda: behind_its_back(
                path, "UPDATE questions SET text = 'secret' WHERE revision = 2"
            ),
        ):
            change()
            seen.append(store.database.version())
            assert store.database.version() == seen[-1]
    assert None not in seen
    assert len(set(seen)) == 5


# Damage


READS: dict[str, Callable[[Store, int], object]] = {
    "list": lambda store, _: store.questions.page("default", None, 10),
    "revisions": lambda store, key: store.questions.revisions(key, ["a", "b"]),
    "exact_matches": lambda store, key: store.questions.exact_matches(key, ["one", "two"]),
    "read": lambda store, key: store.questions.read(key, [1, 2]),
    "changes": lambda store, key: store.revisions.changes_since(key, 0, 10),
}
SOUND_ONLY = {
    "list": [question("b", "two", 2)],
    "revisions": {"b": 2},
    "exact_matches": {"two": [question("b", "two", 2)]},
    "read": {2: question("b", "two", 2)},
    "changes": Changes(2, [question("b", "two", 2)], [], complete=True),
}
DAMAGE = {
    "another text": "UPDATE questions SET text = 'secret' WHERE revision = 1",
    "bytes for text": "UPDATE questions SET text = x'6f6e65' WHERE revision = 1",
    "text that is not UTF-8": "UPDATE questions SET text = CAST(x'6fff65' AS TEXT) WHERE revision = 1",
    "a note": "UPDATE questions SET quarantined = 'nothing' WHERE revision = 1",
    "another checksum": "UPDATE questions SET checksum = checksum + 1 WHERE revision = 1",
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_row_is_passed_over_and_told(
    path: Path, store: Store, key: int, read: str, damage: str
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    behind_its_back(path, damage)
    assert READS[read](store, key) == SOUND_ONLY[read]
    assert READS[read](store, key) == SOUND_ONLY[read]
    assert store.database.damaged == 1


def test_a_damaged_row_makes_no_page_shorter(path: Path, store: Store) -> None:
    store.questions.upsert("default", [(id_, f"text {id_}") for id_ in "abcdef"])
    behind_its_back(path, "UPDATE questions SET text = 'secret' WHERE id = 'b'")
    behind_its_back(path, "UPDATE questions SET text = 'secret' WHERE id = 'c'")
    assert [found.id for found in store.questions.page("default", None, 3)] == ["a", "d", "e"]
    assert [found.id for found in store.questions.page("default", "a", 2)] == ["d", "e"]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_getting_a_damaged_question_says_so_without_its_text(
    path: Path, store: Store, damage: str
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    behind_its_back(path, damage)
    with pytest.raises(DataDamaged, match="'a' fails its checksum") as error:
        store.questions.get("default", "a")
    assert "secret" not in str(error.value)
    assert store.questions.get("default", "b") == question("b", "two", 2)


@pytest.mark.parametrize("column", ["id = 'x'", "revision = 7", "collection_key = 2"])
def test_a_row_that_moved_is_damaged(path: Path, store: Store, column: str) -> None:
    keys = {name: store.collections.create(name, 10)[0].key for name in ("default", "faq")}
    assert keys == {"default": 1, "faq": 2}
    store.questions.upsert("default", [("a", "one")])
    behind_its_back(path, f"UPDATE questions SET {column} WHERE revision = 1")
    assert [store.questions.page(name, None, 10) for name in keys] == [[], []]
    assert store.database.damaged == 1


def test_a_sound_store_has_nothing_damaged(store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    store.questions.upsert("default", [("a", "uno")])
    store.questions.delete("default", "b")
    store.revisions.quarantine(key, {3: "no vector"})
    assert store.questions.read(key, [1, 2, 3]) == {
        1: question("a", "one", 1),
        3: replace(question("a", "uno", 3), quarantined="no vector"),
    }
    assert store.database.damaged == 0


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_writing_a_damaged_question_again_mends_it(
    path: Path, store: Store, key: int, damage: str
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    behind_its_back(path, damage)
    assert store.questions.upsert("default", [("a", "one")]).updated == 1
    assert store.questions.get("default", "a") == question("a", "one", 3)
    assert store.questions.read(key, [1, 2, 3]) == {
        2: question("b", "two", 2),
        3: question("a", "one", 3),
    }


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_question_can_be_deleted(path: Path, store: Store, key: int, damage: str) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    behind_its_back(path, damage)
    assert store.questions.delete("default", "a").revision == 3
    assert store.questions.read(key, [1, 2, 3]) == {2: question("b", "two", 2)}


def test_a_damaged_collection_is_not_served(path: Path, store: Store) -> None:
    store.questions.upsert("default", [("a", "one")])
    behind_its_back(path, "UPDATE collections SET revision = 0")
    for use in (
        store.collections.get,
        lambda name: store.questions.upsert(name, [("b", "two")]),
        lambda _: store.collections.all(),
    ):
        with pytest.raises(DataDamaged):
            use("default")


@pytest.mark.parametrize(
    "content",
    [b"this is no database, it only looks like a file", b"SQLite format 3\x00" + bytes(200)],
)
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DataDirectoryUnusable, match="can't use the database"):
        Store(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryUnusable, match="can't use the database"):
        Store(tmp_path / "nowhere" / "sameask.db")


@pytest.mark.parametrize(
    "name", ["what?", "a?mode=ro", "100%", "%41", "a#b", "a b", "ü", "a:b", "file:x"]
)
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with closing(Store(folder / "sameask.db")) as store:
        store.questions.upsert("default", [("a", "one")])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in folder.iterdir()] == ["sameask.db"]


def test_a_full_disk_writes_nothing_and_is_told(path: Path, store: Store, key: int) -> None:
    store.questions.upsert("default", [("a", "one")])
    most_pages = 1
    sa.event.listen(
        store.database.driver.engine,
        "begin",
        lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {most_pages}"),
    )
    with pytest.raises(StorageFull, match="nothing was written"):
        store.questions.upsert("default", [("a", "uno"), ("b", "x" * 1_000_000)])
    assert store.questions.read(key, [1, 2, 3]) == {1: question("a", "one", 1)}
    assert (store.collections.get("default").revision, path.stat().st_size < 1_000_000) == (1, True)
    most_pages = 1_000_000
    assert store.questions.upsert("default", [("b", "x" * 1_000_000)]).revision == 2


# Connections


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_every_connection_has_its_pragmas(store: Store) -> None:
    with ExitStack() as stack:
        connections = [
            stack.enter_context(store.database.driver.engine.connect()) for _ in range(20)
        ]
        assert len({id(connection.connection.dbapi_connection) for connection in connections}) == 20
        for connection in connections:
            found = {
                pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
                for pragma in PRAGMAS
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 10_000,
                "secure_delete": 1,
            }


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "unheard_of"), ("synchronous", 7), ("foreign_keys", 5)]
)
def test_a_pragma_that_does_not_take_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str, value: object
) -> None:
    monkeypatch.setitem(PRAGMAS, pragma, value)
    with pytest.raises(
        DataDirectoryUnusable, match=f"SQLite keeps {pragma} at .* instead of {value!r}"
    ):
        Store(path)


def _as_stored(type_: sa.types.TypeEngine[object], engine: sa.Engine) -> str:
    name = type_.compile(engine.dialect).removesuffix(' COLLATE "C"')
    return name.replace("DOUBLE PRECISION", "FLOAT")


def test_the_migrated_schema_is_that_of_the_tables_in_code(store: Store) -> None:
    engine = store.database.driver.engine
    found = sa.inspect(engine)
    of_servers = {"replicas"} if engine.dialect.name == "postgresql" else set()  # by its own SQL
    tables = {*metadata.tables, *of_servers, "alembic_version"}
    assert set(found.get_table_names()) == tables
    for table in metadata.sorted_tables:
        stored = [_as_stored(column["type"], engine) for column in found.get_columns(table.name)]
        assert stored == [_as_stored(column.type, engine) for column in table.columns]
        names = [column["name"] for column in found.get_columns(table.name)]
        assert names == [column.name for column in table.columns]
        primary = found.get_pk_constraint(table.name)["constrained_columns"]
        assert primary == [column.name for column in table.primary_key]


def test_a_migrated_store_is_left_as_it_is(path: Path) -> None:
    with closing(Store(path)) as store:
        before = store.collections.all()
        with store.database.reading() as connection:
            (version,) = connection.exec_driver_sql(
                "SELECT version_num FROM alembic_version"
            ).scalars()
    with closing(Store(path)) as store, store.database.reading() as connection:
        assert list(
            connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        ) == [version]
        assert store.collections.all() == before


# Many at once


def test_two_stores_many_threads_give_distinct_revisions(
    path: Path, store: Store, key: int
) -> None:
    with closing(Store(path)) as other:

        def write(writer: int) -> list[int]:
            mine = (store, other)[writer % 2]
            return [
                mine.questions.upsert(
                    "default", [(f"{writer} {i}", f"text {i} of {writer}")]
                ).revision
                for i in range(10)
            ]

        with ThreadPoolExecutor(8) as threads:
            revisions = list(threads.map(write, range(8)))
        assert sorted(revision for mine in revisions for revision in mine) == list(range(1, 81))
        assert all(mine == sorted(mine) for mine in revisions)
        expected = {
            revision: question(f"{writer} {i}", f"text {i} of {writer}", revision)
            for writer, mine in enumerate(revisions)
            for i, revision in enumerate(mine)
        }
        assert (
            store.questions.read(key, range(1, 81))
            == other.questions.read(key, range(1, 81))
            == expected
        )
    collection = store.collections.get("default")
    assert (collection.revision, collection.questions) == (80, 80)


def test_readers_see_a_write_whole_or_not_at_all(store: Store) -> None:
    def texts(round_: int) -> list[tuple[str, str]]:
        return [(f"{i}", f"text {i} of round {round_}") for i in range(20)]

    store.questions.upsert("default", texts(0))
    done = threading.Event()

    def read() -> list[set[str]]:
        seen = []
        while not done.is_set():
            listed = store.questions.page("default", None, 100)
            seen.append({found.text.rpartition(" ")[2] for found in listed})
            assert len(listed) == 20
        return seen

    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read) for _ in range(4)]
        for round_ in range(1, 20):
            store.questions.upsert("default", texts(round_))
        done.set()
        assert all(len(rounds) == 1 for seen in reading for rounds in seen.result())


def test_writers_of_one_question_leave_one_current_version(store: Store, key: int) -> None:
    def write(writer: int) -> None:
        chance = random.Random(writer)
        for i in range(15):
            if chance.random() < 0.7:
                store.questions.upsert("default", [("a", f"{writer} {i}")])
            else:
                with suppress(QuestionNotFound):
                    store.questions.delete("default", "a")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    collection = store.collections.get("default")
    current = store.questions.page("default", None, 10)
    assert collection.questions == len(current) <= 1
    changes = store.revisions.changes_since(key, 0, 1000)
    assert changes == Changes(collection.revision, current, [], complete=True)
    assert store.database.damaged == 0


def test_a_collection_is_made_once_by_many_at_once(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: store.collections.create("faq", 10), range(8)))
    assert len({collection.key for collection, _ in made}) == 1
    assert [now for _, now in made].count(True) == 1


def test_reads_go_on_while_another_writes(path: Path, store: Store) -> None:
    store.questions.upsert("default", [("a", "one")])
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE questions SET text = 'half done'")
        assert store.questions.get("default", "a") == question("a", "one", 1)
        writer.rollback()
    assert store.questions.get("default", "a") == question("a", "one", 1)


# Speed


@pytest.mark.usefixtures("path")  # it asks SQLite
def test_no_statement_reads_a_whole_collection(store: Store, key: int) -> None:
    with statements_of(store) as statements:
        store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
        store.questions.upsert("default", [("a", "uno"), ("b", "two")])
        store.revisions.quarantine(key, {2: "no vector"})
        store.questions.delete("default", "a")
        store.revisions.purge(key, 4)
        store.questions.get("default", "b")
        store.questions.page("default", "a", 10)
        store.questions.revisions(key, ["b", "c"])
        store.questions.exact_matches(key, ["one", "two"])
        store.questions.read(key, [1, 2])
        store.revisions.changes_since(key, 2, 10)
        store.revisions.quarantined_count()
    assert len(statements) > 20
    for statement in statements:
        read = [detail for detail in plan(store, statement) if " questions " in f"{detail} "]
        if statement.startswith("SELECT") and "id IN" in statement:
            assert all(" AND id=?)" in detail for detail in read)
        assert all(
            "(collection_key=? AND " in detail or "ix_questions_quarantined" in detail
            for detail in read
        )
