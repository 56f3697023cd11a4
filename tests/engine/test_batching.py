"""The batcher's law: everybody is answered, rightly, whatever the model and the other callers do."""

import random
import string
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import batching
from app.engine.batching import Batcher
from app.errors import ModelFailing, Overloaded

POISON = "poison"
PATIENCE_SECONDS = 60

Model = Callable[[Sequence[str]], Sequence[str]]
Answer = Future[list[str | Exception]]


def shout(texts: Sequence[str]) -> list[str]:
    """The rightful answers: every text in capitals."""
    return [text.upper() for text in texts]


class Capitals:
    """A model that gives capitals, keeps what it saw, waits while `free` is clear, and fails as `fault` says."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.free = threading.Event()
        self.free.set()
        self.fault: Callable[[], Sequence[str]] | None = None

    def __call__(self, texts: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        self.entered.set()
        if not self.free.wait(PATIENCE_SECONDS):
            raise TimeoutError("no test freed the model")
        if self.fault:
            return self.fault()
        if POISON in texts:
            raise ValueError("the model chokes on poison")
        return shout(texts)

    @property
    def seen(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


class Start(Protocol):
    """Starts a batcher that the end of the test closes."""

    def __call__(
        self,
        model: Model,
        *,
        max_waiting: int = 1000,
        max_cost: int = 64,
        cost: Callable[[str], int] = len,
    ) -> Batcher[str, str]: ...


@pytest.fixture
def model() -> Iterator[Capitals]:
    model = Capitals()
    yield model
    model.free.set()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Batcher[str, str]] = []

    def start(
        model: Model,
        *,
        max_waiting: int = 1000,
        max_cost: int = 64,
        cost: Callable[[str], int] = len,
    ) -> Batcher[str, str]:
        started.append(
            Batcher(model, cost=cost, probe="probe", max_waiting=max_waiting, max_cost=max_cost)
        )
        return started[-1]

    yield start
    for batcher in started:
        batcher.close()


@pytest.fixture
def short_probe_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PROBE_INTERVAL_SECONDS", 0.01)


def hold(batcher: Batcher[str, str], model: Capitals) -> Answer:
    """Return when the model is at work on the text `held`, which it does not finish before `model.free` is set."""
    model.free.clear()
    model.entered.clear()
    held = batcher.submit(["held"])
    assert model.entered.wait(PATIENCE_SECONDS)
    return held


def settle(batcher: Batcher[str, str]) -> None:
    """Return when all that was answered before has left the batcher: the model's thread does one thing at a time."""
    batcher.submit(["settled"], background=True).result()


def wait_until_it_works(batcher: Batcher[str, str]) -> None:
    while batcher.failure is not None:
        threading.Event().wait(0.001)


def close_while_held(batcher: Batcher[str, str]) -> threading.Thread:
    """A thread that closes the batcher; return when the batcher refuses, while the model is still held."""
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(ModelFailing):
        submit_until_refused(batcher)
    return closing


def submit_until_refused(batcher: Batcher[str, str]) -> NoReturn:
    while True:
        batcher.submit(["late"], background=True)


# One bad text is one error


@pytest.mark.parametrize("threads", [1, 16])
def test_one_poisoned_text_of_four_hundred_is_one_error(
    start: Start, model: Capitals, threads: int
) -> None:
    batcher = start(model, max_cost=1000)
    texts = [POISON if i == 123 else f"question {i}" for i in range(400)]
    held = hold(batcher, model)
    with ThreadPoolExecutor(threads) as callers:
        answers = list(callers.map(lambda text: batcher.submit([text]), texts))
    model.free.set()
    outcomes = [answer.result() for answer in answers]
    (error,) = outcomes.pop(123)
    assert type(error) is ValueError
    assert str(error) == "the model chokes on poison"
    assert outcomes == [[text.upper()] for text in texts if text != POISON]
    assert held.result() == ["HELD"]
    assert batcher.failure is None


def test_a_bad_text_spares_its_own_caller_too(start: Start, model: Capitals) -> None:
    before, error, after = start(model).submit(["a", POISON, "b"]).result()
    assert (before, str(error), after) == ("A", "the model chokes on poison", "B")


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_text_that_raises_no_exception_is_one_error_too(
    start: Start, raised: type[BaseException]
) -> None:
    def quits(texts: Sequence[str]) -> list[str]:
        if POISON in texts:
            raise raised
        return shout(texts)

    batcher = start(quits)
    before, error, after = batcher.submit(["a", POISON, "b"]).result()
    assert isinstance(error, Exception)
    assert str(error) == f"the model raised {raised.__name__}"
    assert (before, after) == ("A", "B")
    assert batcher.submit(["c"]).result() == ["C"]


def test_a_wrong_number_of_results_for_a_batch_is_mended_one_by_one(start: Start) -> None:
    batcher = start(
        lambda texts: shout(texts) if len(texts) == 1 else ["ONE TOO FEW"] * (len(texts) - 1)
    )
    assert batcher.submit(["a", "b", "c"]).result() == ["A", "B", "C"]
    assert batcher.failure is None


# The bounded queue


def test_what_does_not_fit_is_refused_and_what_fits_is_answered(
    start: Start, model: Capitals
) -> None:
    batcher = start(model, max_waiting=512)
    model.free.clear()
    refused: list[Overloaded] = []

    def ask(text: str) -> tuple[str, Answer] | None:
        try:
            return text, batcher.submit([text])
        except Overloaded as error:
            refused.append(error)
            return None

    with ThreadPoolExecutor(16) as callers:
        asked = list(callers.map(ask, [f"question {i}" for i in range(700)]))
    admitted = [one for one in asked if one]
    assert (len(admitted), len(refused), batcher.waiting) == (512, 188, 512)
    assert all(1 <= error.retry_after_seconds <= 60 for error in refused)

    model.free.set()
    assert [answer.result() for _, answer in admitted] == [[text.upper()] for text, _ in admitted]
    settle(batcher)
    assert batcher.waiting == 0
    again = [f"again {i}" for i in range(512)]
    assert batcher.submit(again).result() == shout(again)


def test_a_call_that_does_not_fit_whole_is_refused_whole(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=10)
    hold(batcher, model)
    fits = batcher.submit(["a"] * 6)
    with pytest.raises(
        Overloaded, match="7 of at most 10 texts are waiting, there is no room for 4 more"
    ):
        batcher.submit(["b"] * 4)
    assert batcher.waiting == 7
    last = batcher.submit(["c"] * 3)
    model.free.set()
    assert (fits.result(), last.result()) == (["A"] * 6, ["C"] * 3)
    assert "b" not in model.seen


def test_refuse_if_full_tells_without_taking_room(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=3)
    hold(batcher, model)
    batcher.refuse_if_full(2)
    with pytest.raises(Overloaded, match="no room for 3 more"):
        batcher.refuse_if_full(3)
    assert batcher.waiting == 1
    assert batcher.submit(["a", "b"]).cancel()


def test_the_longer_the_queue_the_later_to_try_again(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=100_000)
    hold(batcher, model)
    seconds = []
    for count in (1, 998, 9000, 90_000):
        batcher.submit(["a"] * count)
        with pytest.raises(Overloaded) as refusal:
            batcher.refuse_if_full(100_000)
        seconds.append(refusal.value.retry_after_seconds)
    assert seconds == sorted(seconds)
    assert (seconds[0], seconds[-1]) == (1, 60)
    assert seconds[0] < seconds[1]
    closing = close_while_held(batcher)
    model.free.set()
    closing.join()


def test_an_empty_call_is_answered_at_once(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=1)
    hold(batcher, model)
    assert batcher.submit([]).result(timeout=0) == []
    assert batcher.submit([], background=True).result(timeout=0) == []


# Callers who leave


def test_the_model_never_sees_the_texts_of_callers_who_left(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=101)
    held = hold(batcher, model)
    answers = [batcher.submit([f"{i}", f"{i}!"]) for i in range(50)]
    assert all(answer.cancel() for answer in answers[::2])
    assert batcher.waiting == 51  # their room is free at once
    model.free.set()
    assert [answer.result() for answer in answers[1::2]] == [
        [f"{i}", f"{i}!"] for i in range(1, 50, 2)
    ]
    assert sorted(model.seen) == sorted(
        ["held", *(text for i in range(1, 50, 2) for text in (f"{i}", f"{i}!"))]
    )
    assert held.result() == ["HELD"]


def test_callers_who_left_cost_no_batch(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=4)
    hold(batcher, model)
    before = batcher.submit(["a"])
    gone = [batcher.submit(["gone"]) for _ in range(20)]
    after = batcher.submit(["b"])
    assert all(answer.cancel() for answer in gone)
    model.free.set()
    assert (before.result(), after.result()) == (["A"], ["B"])
    assert model.batches == [["held"], ["a", "b"]]


def test_a_caller_who_leaves_between_two_groups_of_a_batch_is_skipped(
    start: Start, model: Capitals
) -> None:
    at_short_ones, may_go_on = threading.Event(), threading.Event()

    def stops_at_short_ones(texts: Sequence[str]) -> Sequence[str]:
        if "a" in texts:
            at_short_ones.set()
            assert may_go_on.wait(PATIENCE_SECONDS)
        return model(texts)

    batcher = start(stops_at_short_ones, max_cost=12)
    hold(batcher, model)
    short, long = batcher.submit(["a", "b", "c", "d"]), batcher.submit(["l" * 8])
    model.free.set()
    assert at_short_ones.wait(PATIENCE_SECONDS)
    assert long.cancel()
    may_go_on.set()
    assert short.result() == ["A", "B", "C", "D"]
    settle(batcher)
    assert model.batches == [["held"], ["a", "b", "c", "d"], ["settled"]]


def test_a_caller_who_leaves_while_the_model_is_at_work_harms_nobody(
    start: Start, model: Capitals
) -> None:
    batcher = start(model)
    held = hold(batcher, model)
    assert held.cancel()
    assert batcher.waiting == 0
    model.free.set()
    assert batcher.submit(["next"]).result() == ["NEXT"]
    assert batcher.failure is None


# A model that fails


def raises(error: BaseException) -> Callable[[], Sequence[str]]:
    def fault() -> Sequence[str]:
        raise error

    return fault


FAULTS = {
    "RuntimeError": raises(RuntimeError("out of memory")),
    "SystemExit": raises(SystemExit(1)),
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "wrong number": lambda: ["ONE", "TOO", "MANY", "ALWAYS"],
    "nothing": list,
}


@pytest.mark.usefixtures("short_probe_interval")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_failing_model_is_told_and_heals_by_itself(
    start: Start, model: Capitals, fault: Callable[[], Sequence[str]]
) -> None:
    batcher = start(model)
    assert batcher.submit(["before"]).result() == ["BEFORE"]

    model.fault = fault
    outcomes = batcher.submit(["a", "b"]).result()
    assert [type(outcome) for outcome in outcomes] == [ModelFailing, ModelFailing]
    failure = batcher.failure
    assert failure is not None
    assert [str(outcome) for outcome in outcomes] == [failure] * 2
    assert [type(outcome) for outcome in batcher.submit(["still"]).result()] == [ModelFailing]

    model.fault = None
    wait_until_it_works(batcher)  # nobody asks meanwhile: it probes by itself
    assert batcher.submit(["after", "that"]).result() == ["AFTER", "THAT"]
    assert batcher.failure is None
    assert len(model.threads) == 1


def test_the_failure_names_the_error_but_no_text(start: Start, model: Capitals) -> None:
    batcher = start(model)
    model.fault = raises(RuntimeError("can't read 'secret'"))
    (outcome,) = batcher.submit(["secret"]).result()
    assert str(outcome) == batcher.failure == "the model fails: RuntimeError"
    model.fault = None


def test_a_mended_model_answers_the_next_caller_without_waiting_for_a_probe(
    start: Start, model: Capitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "PROBE_INTERVAL_SECONDS", 2 * PATIENCE_SECONDS)
    batcher = start(model)
    model.fault = raises(RuntimeError("for a while"))
    (outcome,) = batcher.submit(["a"]).result()
    assert str(outcome) == batcher.failure
    model.fault = None
    assert batcher.submit(["b"]).result(timeout=PATIENCE_SECONDS) == ["B"]
    assert batcher.failure is None


def test_an_idle_healthy_model_is_not_probed(start: Start, model: Capitals) -> None:
    batcher = start(model)
    assert batcher.submit(["a"]).result() == ["A"]
    settle(batcher)
    assert model.batches == [["a"], ["settled"]]


def test_busy_seconds_show_a_model_at_work(start: Start, model: Capitals) -> None:
    batcher = start(model)
    assert batcher.busy_seconds == 0.0
    hold(batcher, model)
    assert batcher.busy_seconds > 0.0


# Batches


def test_batches_are_sorted_by_cost_and_bounded_when_padded(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=12)
    hold(batcher, model)
    answer = batcher.submit(["e" * 8, "a", "b", "c", "d", "f" * 5, "g" * 3, "h" * 4])
    model.free.set()
    assert answer.result() == ["E" * 8, "A", "B", "C", "D", "F" * 5, "G" * 3, "H" * 4]
    assert model.batches == [
        ["held"],
        ["a", "b", "c", "d"],
        ["g" * 3, "h" * 4],
        ["f" * 5],
        ["e" * 8],
    ]


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=200), max_cost=st.integers(1, 100))
def test_no_padded_batch_exceeds_the_limit_but_one_text_alone(
    lengths: list[int], max_cost: int
) -> None:
    model = Capitals()
    batcher = Batcher[str, str](model, cost=len, probe="probe", max_waiting=1000, max_cost=max_cost)
    texts = [string.ascii_letters[i % 52] * length for i, length in enumerate(lengths)]
    hold(batcher, model)
    answer = batcher.submit(texts)
    model.free.set()
    assert answer.result() == shout(texts)
    batcher.close()
    batches = model.batches[1:]
    assert all(batch == sorted(batch, key=len) for batch in batches)
    assert all(len(batch) == 1 or len(batch) * len(batch[-1]) <= max_cost for batch in batches)
    assert sorted(text for batch in batches for text in batch) == sorted(texts)


def test_what_waits_when_the_model_is_free_is_the_next_batch(start: Start, model: Capitals) -> None:
    batcher = start(model)
    hold(batcher, model)
    answers = [batcher.submit([f"{i}"]) for i in range(10)]
    model.free.set()
    assert [answer.result() for answer in answers] == [[f"{i}"] for i in range(10)]
    assert model.batches == [["held"], [f"{i}" for i in range(10)]]


def test_a_lone_text_above_the_limit_is_served_alone(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=12)
    hold(batcher, model)
    before, costly, after = (
        batcher.submit(["a"]),
        batcher.submit(["x" * 100]),
        batcher.submit(["b"]),
    )
    model.free.set()
    assert (before.result(), costly.result(), after.result()) == (["A"], ["X" * 100], ["B"])
    assert model.batches == [["held"], ["a"], ["x" * 100], ["b"]]


def test_callers_are_served_in_order_of_arrival(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=4)
    hold(batcher, model)
    answers = [batcher.submit([f"{i:04}"]) for i in range(20)]
    model.free.set()
    assert [answer.result() for answer in answers] == [[f"{i:04}"] for i in range(20)]
    assert model.batches == [["held"], *([f"{i:04}"] for i in range(20))]


@pytest.mark.parametrize("background", [False, True])
def test_a_small_call_does_not_wait_for_a_large_one(
    start: Start, model: Capitals, background: bool
) -> None:
    batcher = start(model, max_cost=16)
    hold(batcher, model)
    large = [batcher.submit([text] * 40, background=background) for text in ("aaaa", "bbbb")]
    small = batcher.submit(["cccc", "dddd"], background=background)
    model.free.set()
    assert small.result() == ["CCCC", "DDDD"]
    assert [answer.result() for answer in large] == [["AAAA"] * 40, ["BBBB"] * 40]
    assert model.batches[1:4] == [
        ["aaaa", "aaaa", "bbbb", "bbbb"],
        ["cccc", "dddd", "aaaa", "aaaa"],
        ["bbbb", "bbbb", "aaaa", "aaaa"],
    ]


# Background work


def test_background_work_yields_but_keeps_a_share(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=16)
    hold(batcher, model)
    background = batcher.submit([f"b{i}" for i in range(8)], background=True)
    urgent = batcher.submit([f"u{i}" for i in "0123456789xy"])
    model.free.set()
    assert urgent.result() == [f"U{i}" for i in "0123456789XY"]
    assert background.result() == [f"B{i}" for i in range(8)]
    assert model.batches[1:] == [
        ["u0", "u1", "u2", "u3", "u4", "u5", "b0", "b1"],
        ["u6", "u7", "u8", "u9", "ux", "uy", "b2", "b3"],
        ["b4", "b5", "b6", "b7"],
    ]


@pytest.mark.parametrize("urgent_cost", [2, 5, 16])
@pytest.mark.parametrize("cost", [1, 5, 16, 17])
def test_costly_background_work_progresses_while_urgent_work_waits(
    start: Start, model: Capitals, cost: int, urgent_cost: int
) -> None:
    batcher = start(model, max_cost=16)
    hold(batcher, model)
    background = batcher.submit(["b" * cost], background=True)
    urgent = [batcher.submit(["u" * urgent_cost]) for _ in range(100)]
    last = batcher.submit(["last"])
    model.free.set()
    assert (background.result(), last.result()) == (["B" * cost], ["LAST"])
    assert [answer.result() for answer in urgent] == [["U" * urgent_cost]] * 100
    assert model.seen.index("b" * cost) < model.seen.index("last")


def test_a_batcher_that_gives_way_waits_while_another_is_at_work(
    start: Start, model: Capitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GENTLE_SHARE", 1e-9)
    done: list[str] = []

    def note(texts: Sequence[str]) -> list[str]:
        done.extend(texts)
        return shout(texts)

    other, gentle = start(model), start(note)
    hold(other, model).add_done_callback(lambda _: done.append("other"))
    gentle.give_way([other])
    assert gentle.submit(["first"], background=True).result(PATIENCE_SECONDS) == ["FIRST"]
    second = gentle.submit(["second"], background=True)
    threading.Event().wait(0.1)  # long enough to go wrong
    model.free.set()
    assert second.result(PATIENCE_SECONDS) == ["SECOND"]
    assert done == ["first", "other", "second"]


def test_a_batcher_that_gives_way_gets_on_however_busy_the_other_is(
    start: Start, model: Capitals
) -> None:
    other, gentle = start(model), start(shout)
    held = hold(other, model)
    gentle.give_way([other])
    for number in range(5):
        assert gentle.submit([f"a{number}"], background=True).result(PATIENCE_SECONDS) == [
            f"A{number}"
        ]
    assert not held.done()


def test_a_batcher_gives_way_in_small_batches_until_it_need_not(start: Start) -> None:
    model, other = Capitals(), start(shout)
    gentle = start(model, max_cost=1000)
    texts = ["x" * 64] * 8
    gentle.give_way([other])
    gentle.submit(texts, background=True).result(PATIENCE_SECONDS)
    assert [len(batch) for batch in model.batches] == [batching.GENTLE_COST // 64] * 4
    model.batches.clear()
    gentle.give_way([])
    gentle.submit(texts, background=True).result(PATIENCE_SECONDS)
    assert [len(batch) for batch in model.batches] == [8]


def test_closing_ends_the_wait_of_one_that_gives_way(
    start: Start, model: Capitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GENTLE_SHARE", 1e-9)
    other, gentle = start(model), start(shout)
    hold(other, model)
    gentle.give_way([other])
    gentle.submit(["first"], background=True).result(PATIENCE_SECONDS)
    waiting = gentle.submit(["second"], background=True)
    gentle.close()
    assert isinstance(waiting.result(PATIENCE_SECONDS)[0], ModelFailing)


def test_background_work_is_neither_counted_nor_refused(start: Start, model: Capitals) -> None:
    batcher = start(model, max_waiting=2)
    hold(batcher, model)
    background = batcher.submit(["b"] * 100, background=True)
    assert batcher.waiting == 1
    urgent = batcher.submit(["u"])
    with pytest.raises(Overloaded):
        batcher.submit(["v"])
    more = batcher.submit(["c"], background=True)
    model.free.set()
    assert (background.result(), urgent.result(), more.result()) == (["B"] * 100, ["U"], ["C"])


# Who gets what


def test_results_stand_in_the_order_of_their_texts(start: Start, model: Capitals) -> None:
    batcher = start(model, max_cost=30)
    texts = [chr(ord("a") + i % 26) * (i * 7 % 19 + 1) for i in range(300)]
    assert batcher.submit(texts).result() == shout(texts)
    assert len(model.batches) > 1


@pytest.mark.parametrize("seed", range(3))
def test_every_caller_gets_its_own_results(start: Start, seed: int) -> None:
    batcher = start(shout, max_waiting=100_000, max_cost=200)

    def call_often(caller: int) -> tuple[list[list[str]], list[list[str | Exception]]]:
        chance = random.Random(1000 * seed + caller)
        calls = [
            [
                f"{caller} {number} {i} " + "x" * chance.randint(0, 60)
                for i in range(chance.randint(0, 20))
            ]
            for number in range(30)
        ]
        answers = [batcher.submit(texts, background=chance.random() < 0.3) for texts in calls]
        return [shout(texts) for texts in calls], [answer.result() for answer in answers]

    with ThreadPoolExecutor(16) as callers:
        for expected, found in callers.map(call_often, range(16)):
            assert found == expected
    settle(batcher)
    assert batcher.waiting == 0


# The end


def test_close_answers_everybody_who_waits(start: Start, model: Capitals) -> None:
    batcher = start(model)
    in_progress = hold(batcher, model)
    waiting = [batcher.submit(["a", "b"]), batcher.submit(["c"], background=True)]
    left = batcher.submit(["left"])
    assert left.cancel()
    closing = close_while_held(batcher)
    model.free.set()
    closing.join()
    assert in_progress.result(timeout=0) == ["HELD"]
    outcomes = [outcome for answer in waiting for outcome in answer.result(timeout=0)]
    assert [type(outcome) for outcome in outcomes] == [ModelFailing] * 3
    assert {str(outcome) for outcome in outcomes} == {"the service is shutting down"}
    assert model.seen == ["held"]


def test_after_close_nothing_is_taken_and_the_failure_shows(start: Start, model: Capitals) -> None:
    batcher = start(model)
    assert batcher.submit(["a"]).result() == ["A"]
    batcher.close()
    batcher.close()
    with pytest.raises(ModelFailing, match="the service is shutting down"):
        batcher.submit(["b"])
    assert batcher.failure == "the model's thread has ended"
    assert model.seen == ["a"]
