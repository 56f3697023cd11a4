"""Written clusters and labelled sets in; what a classifier learns from in each epoch out.

No text of the written clusters tells by itself whether its pair is a duplicate: within an epoch each stands in as
many duplicates as differences. The clusters are sampled anew for every epoch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from training.elsewhere import Portion
from training.pairs import LabelledPair, open_pairs
from training.written import Cluster, Side, read_clusters

FOLDS = 5


@dataclass(frozen=True)
class Ingredients:
    """What a mix is made of."""

    clusters: Sequence[Cluster]
    related: Sequence[LabelledPair] = ()  # different questions of one domain, near each other
    portions: Sequence[Portion] = ()  # other labelled sets
    cluster_count: int | None = None  # clusters in an epoch; all unless said
    related_count: int = 6000  # pairs of `related` in an epoch
    easy_share: float = 0.03  # of random pairs, for each other pair


@dataclass(frozen=True)
class Epoch:
    """The pairs of one epoch: those of written texts, and all of them in random order."""

    written: Sequence[LabelledPair]
    pairs: Sequence[LabelledPair]

    @property
    def written_share(self) -> float:
        """Of all pairs."""
        return len(self.written) / len(self.pairs)


def sample_epoch(ingredients: Ingredients, seed: int) -> Epoch:
    """One epoch: draws of the clusters, of the related pairs and of each portion, and easy random pairs."""
    chances = random.Random(seed)
    clusters = list(ingredients.clusters)
    count = min(ingredients.cluster_count or len(clusters), len(clusters))
    drawn = chances.sample(clusters, count)
    written = [pair for cluster in drawn for pair in cluster_pairs(cluster, chances)]
    written += _drawn(ingredients.related, ingredients.related_count, chances)
    others: list[LabelledPair] = []
    for portion in ingredients.portions:
        count = round(portion.share * len(portion.pairs))
        others += _balanced(_drawn(portion.pairs, count, chances), chances)
    easy = _easy(written, others, ingredients.easy_share, chances)
    pairs = [*written, *others, *easy]
    chances.shuffle(pairs)
    return Epoch(written, pairs)


def asked_pairs(side: Side) -> list[LabelledPair]:
    """Each question of a side with its paraphrases, and with its near-misses."""
    pairs = []
    for cluster in read_clusters(side):
        question = cluster.question
        pairs += [LabelledPair(question, text, True) for text in cluster.paraphrases]
        pairs += [LabelledPair(question, near.text, False) for near in cluster.near_misses]
    return open_pairs(pairs)


def cluster_pairs(cluster: Cluster, chances: random.Random) -> list[LabelledPair]:
    """Pairs of one cluster, as many duplicates as differences, in which each text that is drawn stands alike.

    Of n questions that ask the same, each stands in two duplicates (a ring) and two differences. Each of n near-misses
    and its twin stands in one duplicate (with each other) and one difference. The number n is three or more, and at
    most that of the smaller side. Two near-misses never make a pair.
    """
    twinned = [(near.text, near.twin) for near in cluster.near_misses if near.twin]
    size = min(len(cluster.same), len(twinned))
    if size < 3:
        return []
    same = chances.sample(cluster.same, size)
    near = chances.sample(twinned, size)
    pairs: list[LabelledPair] = []
    for place, text in enumerate(same):
        following = same[(place + 1) % size]
        pairs.append(LabelledPair(text, following, is_duplicate=True))
    dealt: list[str] = []
    for text, twin in near:
        pairs.append(LabelledPair(text, twin, is_duplicate=True))
        dealt += [text, twin]
    shift = chances.randrange(size)
    for place, text in enumerate(dealt):
        # A near-miss and its twin go to neighbours of the ring, so that no text meets both.
        is_twin = place % 2
        number = place // 2 + is_twin + shift
        partner = same[number % size]
        pairs.append(LabelledPair(partner, text, is_duplicate=False))
    return pairs


def _drawn(pairs: Sequence[LabelledPair], count: int, chances: random.Random) -> list[LabelledPair]:
    return chances.sample(list(pairs), min(count, len(pairs)))


def _balanced(pairs: list[LabelledPair], chances: random.Random) -> list[LabelledPair]:
    """Of duplicates alone, as many different pairs are made by dealing the second questions anew."""
    count = len(pairs)
    if count < 2 or not all(pair.is_duplicate for pair in pairs):
        return pairs
    step = chances.randrange(1, count)
    dealt: list[LabelledPair] = []
    for place, pair in enumerate(pairs):
        other = pairs[(place + step) % count]
        if pair.question1 != other.question2:
            different = LabelledPair(pair.question1, other.question2, is_duplicate=False)
            dealt.append(different)
    return [*pairs, *dealt]


def _easy(
    written: Sequence[LabelledPair],
    others: Sequence[LabelledPair],
    share: float,
    chances: random.Random,
) -> list[LabelledPair]:
    """Random pairs of questions, different but for an accident in a thousand."""
    texts = [pair.question1 for pair in (*written, *others)]
    chances.shuffle(texts)
    count = min(round(share * len(texts)), len(texts) // 2)
    first = texts[:count]
    second = texts[count : 2 * count]
    easy: list[LabelledPair] = []
    for one, other in zip(first, second, strict=True):
        if one != other:
            easy.append(LabelledPair(one, other, is_duplicate=False))
    return easy


@dataclass(frozen=True)
class Style:
    """How well the label of a pair can be told from what should not tell it: AUC, 0.5 is chance."""

    one_text: float  # by one text of the pair alone: its words and character n-grams
    surface: float  # by length, case and shared words of both


def style_of(pairs: Sequence[LabelledPair], groups: Sequence[int]) -> Style:
    """Cross-validated over groups of pairs that share texts; each text of a pair is asked alone."""
    labels = np.array([pair.is_duplicate for pair in pairs])
    numbers = np.array(groups)
    texts = [pair.question1 for pair in pairs] + [pair.question2 for pair in pairs]
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), min_df=5, lowercase=False)
    by_text = make_pipeline(words, LogisticRegression(max_iter=1000))
    one_text = _auc(by_text, texts, np.tile(labels, 2), np.tile(numbers, 2))
    by_surface = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    surfaces = np.array([_surface(pair) for pair in pairs])
    surface = _auc(by_surface, surfaces, labels, numbers)
    return Style(one_text, surface)


def _auc(
    model: Pipeline,
    rows: Sequence[str] | NDArray[np.float64],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
) -> float:
    said = cross_val_predict(
        model, rows, labels, groups=groups, cv=GroupKFold(FOLDS), method="predict_proba"
    )
    return float(roc_auc_score(labels, said[:, 1]))


def _surface(pair: LabelledPair) -> list[float]:
    """Lengths, case, question marks and the share of common words of both texts, whichever comes first."""
    one = pair.question1.lower().split()
    other = pair.question2.lower().split()
    shared = set(one) & set(other)
    all_words = set(one) | set(other)
    common = len(shared) / max(1, len(all_words))
    shorter, longer = sorted((len(one), len(other)))
    first_is_lower = pair.question1 == pair.question1.lower()
    second_is_lower = pair.question2 == pair.question2.lower()
    first_asks = pair.question1.endswith("?")
    second_asks = pair.question2.endswith("?")
    surface: list[float] = [
        common,
        shorter,
        longer,
        longer - shorter,
        first_is_lower + second_is_lower,
        first_is_lower == second_is_lower,
        first_asks + second_asks,
        first_asks == second_asks,
    ]
    return surface
