"""Drawing pairs by lot."""

import numpy as np

from app.engine.collection_thresholds import Drawn, Evidence
from app.engine.drawing import STRATA, Plan, draw, plan

NONE = Drawn(np.empty(0), np.empty(0, dtype=np.bool_), np.empty(0))


def test_the_probability_of_a_stratum_is_how_often_it_is_drawn() -> None:
    chances = np.zeros(STRATA)
    chances[[3, 4]] = [3.0, 1.0]
    left = np.zeros(STRATA, dtype=np.int64)
    left[[0, 3, 4]] = [1000, 5, 5]
    lots = np.random.default_rng(1)
    draws = [draw(Plan(chances), left, lots) for _ in range(4000)]
    for stratum, expected in ((0, 0.2 / 3), (3, 0.6 + 0.2 / 3), (4, 0.2 + 0.2 / 3)):
        of_stratum = [one for one in draws if one and one.stratum == stratum]
        assert {one.probability for one in of_stratum} == {of_stratum[0].probability}
        assert abs(of_stratum[0].probability - expected) < 1e-12
        assert abs(len(of_stratum) / len(draws) - expected) < 0.03
    at_random = sum(one is not None and one.by == "random" for one in draws)
    assert abs(at_random / len(draws) - 0.2) < 0.03


def test_nothing_is_drawn_where_nothing_is_left() -> None:
    lots = np.random.default_rng(1)
    assert draw(Plan(np.ones(STRATA)), np.zeros(STRATA, dtype=np.int64), lots) is None


def test_labels_are_wanted_above_a_threshold_that_can_be_reached() -> None:
    near = np.concatenate([np.full(500, 0.92), np.full(20, 0.8), np.full(3000, 0.02)])
    chances = plan(Evidence(NONE, near), 0.95, 0.03).chances
    assert chances.tolist() == [0, 0, 0, 0, 0, 5]
    few_above = np.concatenate([np.full(3, 0.92), np.full(500, 0.88), np.full(3000, 0.02)])
    chances = plan(Evidence(NONE, few_above), 0.7, 0.03).chances
    assert chances[4] > chances[5] > 0
