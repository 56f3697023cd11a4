"""Which pairs to label next."""

import numpy as np

from app.engine.review import most_helpful

HUB = [("aaaa bbbb", f"aaaa bbb{i}") for i in range(5)]
OTHERS = [(f"{i}{i} cccc", f"cccc dd{i}") for i in range(60)]


def test_the_pairs_nearest_to_the_threshold_come_first_and_few_of_a_component() -> None:
    pairs = [*HUB, *OTHERS]
    probabilities = np.random.default_rng(0).uniform(size=len(pairs))
    probabilities[:5] = 0.9
    places = most_helpful(pairs, probabilities, 0.9)
    odds = np.log(probabilities / (1 - probabilities))
    distances = np.abs(odds - np.log(9))[places].tolist()
    assert len(places) == 50
    assert distances == sorted(distances)
    assert [place for place in places if place < 5] == [0, 1]


def test_as_many_are_named_as_are_wanted_or_there_are() -> None:
    assert most_helpful([], np.empty(0), 0.9) == []
    assert most_helpful(OTHERS, np.linspace(0, 1, 60), 1.0, most=2) == [59, 58]
