"""Similarity and probability, by value against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from app.engine.scorer import Calibration, Scale, Scorer, Thresholds, similarity

Vectors = NDArray[np.float32]


def unit(rows: NDArray[np.float64]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def pairs_of_arrays() -> st.SearchStrategy[tuple[Vectors, Vectors]]:
    """Two float32 arrays of one shape (n, d), of any finite values up to 1."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
    elements = st.floats(-1, 1, width=32, allow_subnormal=False)

    def arrays(shape: tuple[int, ...]) -> st.SearchStrategy[Vectors]:
        return hnp.arrays(np.float32, shape, elements=elements)

    return shapes.flatmap(lambda shape: st.tuples(arrays(shape), arrays(shape)))


# Similarity


def test_similarity_is_the_cosine_of_unit_vectors() -> None:
    a = np.array([[1, 0], [1, 0], [1, 0], [0.6, 0.8]], dtype=np.float32)
    b = np.array([[1, 0], [0, 1], [-1, 0], [0.8, 0.6]], dtype=np.float32)
    np.testing.assert_allclose(similarity(a, b), [1, 0, -1, 0.96], rtol=0, atol=1e-7)


@pytest.mark.parametrize("dimension", [1, 2, 32, 384, 768])
def test_similarity_equals_numpy_in_double_precision(dimension: int) -> None:
    chance = np.random.default_rng(dimension)
    a, b = unit(chance.normal(size=(50, dimension))), unit(chance.normal(size=(50, dimension)))
    expected = [
        np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))
        for x, y in zip(a.astype(float), b, strict=True)
    ]
    found = similarity(a, b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert found.dtype == np.float32


@given(pairs_of_arrays())
def test_similarity_is_symmetric_to_the_bit(pair: tuple[Vectors, Vectors]) -> None:
    a, b = pair
    np.testing.assert_array_equal(
        similarity(a, b).view(np.uint32), similarity(b, a).view(np.uint32)
    )


@given(pairs_of_arrays())
def test_similarity_is_symmetric_whatever_the_memory_layout(pair: tuple[Vectors, Vectors]) -> None:
    a, b = np.asfortranarray(pair[0]), pair[1]
    np.testing.assert_array_equal(similarity(a, b), similarity(b, a))
    one = np.broadcast_to(a[0], b.shape)  # a query against many, as a search does it
    np.testing.assert_array_equal(similarity(one, b), similarity(b, one))


@given(pairs_of_arrays())
def test_a_pair_scores_the_same_alone_and_among_others(pair: tuple[Vectors, Vectors]) -> None:
    a, b = pair
    alone = np.concatenate([similarity(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
    np.testing.assert_allclose(similarity(a, b), alone, rtol=0, atol=1e-6)


def test_similarity_stays_between_minus_one_and_one() -> None:
    long = np.full((1, 4), 0.5000001, dtype=np.float32)
    assert np.einsum("ij,ij->i", long, long)[0] > 1.0
    assert similarity(long, long).tolist() == [1.0]
    assert similarity(long, -long).tolist() == [-1.0]


def test_no_pairs_have_no_similarities() -> None:
    nothing = np.empty((0, 8), dtype=np.float32)
    found = similarity(nothing, nothing)
    assert found.tolist() == []
    assert found.dtype == np.float32


# Probability


def test_calibration_is_the_logistic_function() -> None:
    found = Calibration([10.0], bias=-8.0).probability(
        np.array([-1, 0, 0.8, 0.9, 1], dtype=np.float32)
    )
    expected = [
        1.5229979512760347e-08,
        0.0003353501304664781,
        0.5,
        0.7310585786300049,
        0.8807970779778823,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float64


@given(st.floats(-1, 1, width=32), st.floats(0.1, 100), st.floats(-100, 100))
def test_the_inverse_of_the_logistic_function_gives_the_logit_back(
    s: float, weight: float, bias: float
) -> None:
    logit = weight * s + bias
    (p,) = Calibration([weight], bias).probability(np.array([s], dtype=np.float32))
    if abs(logit) < 30:
        assert np.log(p / (1 - p)) == pytest.approx(logit, rel=1e-3, abs=1e-6)
    else:
        assert p == pytest.approx(float(logit > 0), abs=1e-12)


def test_probability_rises_with_similarity() -> None:
    probabilities = Calibration([9.95], bias=-8.06).probability(
        np.linspace(-1, 1, 1001, dtype=np.float32)
    )
    assert bool((np.diff(probabilities) > 0).all())


def test_a_steep_calibration_gives_zero_and_one_without_a_warning() -> None:
    probabilities = Calibration([2000.0], bias=-1000.0).probability(
        np.array([-1, 0.5, 1], dtype=np.float32)
    )
    np.testing.assert_allclose(probabilities, [0, 0.5, 1], rtol=0, atol=1e-12)


def test_the_scorer_gives_its_calibrations_probability() -> None:
    calibration = Calibration([3.0], bias=-1.0)
    similarities = np.array([0.1, 0.7], dtype=np.float32)
    found = Scorer(Scale(calibration, Thresholds({}, 0.5)), None, "0.95").probability(similarities)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(0.7)), 1 / (1 + np.exp(-1.1))], rtol=1e-6)


# By pair


def test_probability_of_two_features_is_the_logistic_of_both() -> None:
    calibration = Calibration([2.0, 0.5], bias=-1.0)
    similarities, logits = np.array([0.5, 0.9], np.float32), np.array([-2.0, 4.0], np.float32)
    expected = [1 / (1 + np.exp(1.0)), 1 / (1 + np.exp(-2.8))]
    np.testing.assert_allclose(calibration.probability(similarities, logits), expected, rtol=1e-6)


def test_knots_bend_the_logistic() -> None:
    bent = Calibration([1.0], 0.0, knots=[(0.0, 0.0), (0.5, 0.2), (1.0, 1.0)])
    found = bent.probability(np.array([0.0, -np.log(3.0)], np.float32))
    np.testing.assert_allclose(found, [0.2, 0.1], rtol=1e-6)


def scorer_of_both() -> Scorer:
    scale = Scale(Calibration([1.0, 1.0], 0.0), Thresholds({}, 0.5))
    return Scorer(Scale(Calibration([1.0], 0.0), Thresholds({}, 0.5)), scale, "0.95", -0.5)


def test_probability_of_a_pair_that_was_read_is_that_of_both() -> None:
    found = scorer_of_both().probability(np.array([0.5], np.float32), np.array([1.0], np.float32))
    assert found.tolist() == pytest.approx([1 / (1 + np.exp(-1.5))])


def test_everything_near_is_open_however_near() -> None:
    similarities = np.array([-0.6, -0.5, 0.0, 0.9, 1.0], np.float32)
    assert scorer_of_both().is_open(similarities).tolist() == [False, True, True, True, True]


def test_a_feature_can_not_outweigh_its_limit() -> None:
    bounded = Calibration([2.0, 0.5], bias=-1.0, limits=[None, 3.0])
    similarities, logits = (
        np.array([0.5, 0.5, 0.5], np.float32),
        np.array([-2.0, 50.0, -50.0], np.float32),
    )
    expected = 1 / (
        1 + np.exp(-(2.0 * 0.5 + 0.5 * np.array([3 * np.tanh(-2 / 3), 3.0, -3.0]) - 1.0))
    )
    np.testing.assert_allclose(bounded.probability(similarities, logits), expected, rtol=1e-6)
