"""How many labels are left to learn from and to measure on, as more and more pairs of a collection are labelled.

    python benchmarks/sides.py

The collection is two written domains of a help desk. Labelled are the pairs of each question and its five nearest by
shared letters, in random order. One row for each number of labels: pairs to train on, to tune on, to measure on, and
those that stand on no side.
"""

import random

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from app.engine.training_contract import GivenLabel
from training.label_split import take_sides
from training.written import read_clusters

DOMAINS = ("saas_accounts_billing", "telecom_internet_provider")
NEAREST = 5
LABELS = (500, 1000, 1500, 3347)


def main() -> None:
    """Print the table."""
    meanings: dict[str, object] = {}
    for number, cluster in enumerate(read_clusters("train")):
        if cluster.domain in DOMAINS:
            meanings |= dict.fromkeys(cluster.same, number)
            for near_miss in cluster.near_misses:
                both = filter(None, (near_miss.text, near_miss.twin))
                meanings |= dict.fromkeys(both, (number, near_miss.text))
    labels = [
        GivenLabel(one, other, meanings[one] == meanings[other], active=True, contradicted=False)
        for one, other in near_pairs(list(meanings))
    ]
    print("labels | train | tune | evaluation | on no side")
    for count in LABELS:
        sides = take_sides(labels[:count])
        sizes = [len(pairs) for pairs in (sides.train, sides.tune, sides.evaluation)]
        given = min(count, len(labels))
        print(*(f"{number:,}" for number in (given, *sizes, given - sum(sizes))), sep=" | ")


def near_pairs(texts: list[str]) -> list[tuple[str, str]]:
    """Each text with the nearest others, each pair once, in an order that is always the same."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit_transform(texts)
    similarities = (vectors @ vectors.T).toarray()
    np.fill_diagonal(similarities, -1)
    nearest = np.argsort(-similarities, axis=1)[:, :NEAREST].tolist()
    pairs = {(min(one, other), max(one, other)) for one, row in enumerate(nearest) for other in row}
    ordered = sorted(pairs)
    random.Random(0).shuffle(ordered)
    return [(texts[one], texts[other]) for one, other in ordered]


if __name__ == "__main__":
    main()
