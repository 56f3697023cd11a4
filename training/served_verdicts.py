"""Two releases and pairs as a service meets them in; out come each one's calls of duplicates, and any harm in them.

Labels are no sample of a service's requests. So the gate also looks at verdicts of pairs near enough to be offered:
those of written questions, of which it is known whether they are duplicates, and the collection's own, of which nobody
has said so.
"""

from collections import Counter
from collections.abc import Sequence

from scipy.stats import beta

from app.engine.training_contract import Calls, ServedSet, UnlabelledPair
from training.called import Caller
from training.evaluation import similarities
from training.pairs import LabelledPair, both_texts, texts_of
from training.served import serve
from training.slices import in_slices
from training.written import Cluster, read_clusters

WRITTEN = "written questions as served"
NEAR = "the collection's near pairs"
CLUSTERS = 12  # of each domain of the written report
FEWEST_CALLS = 20  # without which a precision says little
LOOSER = 0.05  # by which a precision may be lower than it should, on pairs unlike the collection's
FEWER = 0.5  # of the duplicates that the champion finds, which the challenger should find
MORE = 2.0  # times the champion's calls of near pairs, from which somebody should look at some
MORE_SHARE = 0.1  # of all near pairs, by which there may be more in any case
ERROR = 0.025  # that a precision lies above its upper bound


def on_written(caller: Caller) -> Calls:
    """Written questions, each asked among those stored, as `training.served` has it."""
    others = [cluster.question for cluster in read_clusters("train")]
    served = serve(caller.encoder, _clusters(), others, caller.progress)
    called = caller.called(served.pairs, served.similarities)
    right = int((called & served.labels).sum())
    return Calls(len(called), int(called.sum()), right)


def on_near(caller: Caller, near: Sequence[UnlabelledPair]) -> Calls:
    """Near pairs of which nobody has said whether they are duplicates."""
    pairs = [LabelledPair(one.question1, one.question2, is_duplicate=False) for one in near]
    texts = texts_of(pairs)
    vectors = in_slices(caller.encoder.encode, texts, caller.progress)
    called = caller.called(both_texts(pairs), similarities(pairs, texts, vectors))
    return Calls(len(called), int(called.sum()))


def harm(served: Sequence[ServedSet], target: float) -> list[str]:
    """Sets on which fewer of the challenger's duplicates are right, with 95 % certainty, than should be."""
    reasons = []
    for one in served:
        upper = _upper_bound(one.challenger)
        wanted = _wanted(one, target)
        if upper is not None and upper < wanted - LOOSER:
            reasons.append(f"{_words(one)}: fewer are right than {wanted:.2f}")
    return reasons


def doubts(served: Sequence[ServedSet], target: float) -> list[str]:
    """Sets on which the challenger's duplicates look wrong, too few, or more than anybody has looked at."""
    reasons = []
    for one in served:
        precision = _precision(one.challenger)
        wanted = _wanted(one, target)
        if precision is not None and precision < wanted - LOOSER:
            reasons.append(f"{_words(one)}: fewer look right than {wanted:.2f}")
        elif _finds_less(one, target):
            reasons.append(f"{_words(one)}: it finds less than half as many duplicates")
        elif _calls_many_more(one):
            reasons.append(f"{_words(one)}: nobody has said whether they are; label some")
    return reasons


def _clusters() -> list[Cluster]:
    """Some of each domain of the written report."""
    taken: Counter[str] = Counter()
    chosen = []
    for cluster in read_clusters("report"):
        taken[cluster.domain] += 1
        if taken[cluster.domain] <= CLUSTERS:
            chosen.append(cluster)
    return chosen


def _precision(calls: Calls) -> float | None:
    """The share of the calls that are right; None where they are few, or nobody knows."""
    if calls.right is None or calls.duplicate < FEWEST_CALLS:
        return None
    return calls.right / calls.duplicate


def _upper_bound(calls: Calls) -> float | None:
    """Of that precision (Clopper and Pearson, 1934)."""
    if calls.right is None or calls.duplicate < FEWEST_CALLS:
        return None
    wrong = calls.duplicate - calls.right
    return float(beta.ppf(1 - ERROR, calls.right + 1, wrong)) if wrong else 1.0


def _wanted(one: ServedSet, target: float) -> float:
    """The precision that a challenger should have: the target, or the champion's where that is lower."""
    precision = _precision(one.champion)
    return target if precision is None else min(target, precision)


def _finds_less(one: ServedSet, target: float) -> bool:
    """Whether it finds too few of the duplicates that a champion finds whose calls can be believed."""
    before = one.champion.right
    after = one.challenger.right
    precision = _precision(one.champion)
    if before is None or after is None or precision is None:
        return False
    return precision >= target - LOOSER and after < FEWER * before


def _calls_many_more(one: ServedSet) -> bool:
    """Whether it calls so many more near pairs duplicates that somebody should look at some."""
    if one.challenger.right is not None:
        return False
    before = one.champion.duplicate
    more = before + MORE_SHARE * one.challenger.pairs
    return one.challenger.duplicate > max(MORE * before, more, FEWEST_CALLS)


def _words(one: ServedSet) -> str:
    champion = one.champion
    challenger = one.challenger
    words = f"{one.name}: {challenger.duplicate} of {challenger.pairs} called duplicates"
    if challenger.right is not None:
        words += f", {challenger.right} of them rightly"
    words += f" (champion: {champion.duplicate}"
    if champion.right is not None:
        words += f", {champion.right} rightly"
    return words + ")"
