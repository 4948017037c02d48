"""Class biases against a brute search and scipy, and where they are folded in."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from fairprune_cli.fairness.term import prior_shift
from fairprune_cli.training.operating_point import class_biases


def objective(scores: np.ndarray, labels: np.ndarray, biases: np.ndarray) -> float:
    chosen = log_softmax(scores + biases, axis=1)[np.arange(len(labels)), labels]
    return float(-chosen.mean() + biases @ biases / (2 * len(labels)))


@given(classes=st.sampled_from([2, 3, 6]), images=st.integers(1, 60), scale=st.sampled_from([0.1, 1.0, 30.0]),
       seed=st.integers(0, 10_000))  # fmt: skip
def test_the_biases_are_the_minimum(classes: int, images: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = scale * rng.normal(size=(images, classes)), rng.integers(0, classes, images)
    found = class_biases(scores, labels)
    best = scipy.optimize.minimize(lambda b: objective(scores, labels, b), np.zeros(classes), tol=1e-12)
    assert objective(scores, labels, found) <= best.fun + 1e-9
    assert found.sum() == pytest.approx(0.0, abs=1e-6)


def test_of_two_classes_it_is_what_exhaustive_search_finds() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(size=(200, 2)), (rng.random(200) < 0.2).astype(int)
    grid = np.linspace(-2, 2, 4001)
    values = [objective(scores, labels, np.array([-t, t])) for t in grid]
    assert class_biases(scores, labels)[1] == pytest.approx(grid[int(np.argmin(values))], abs=1e-3)


def test_a_class_without_images_gets_a_finite_bias() -> None:
    biases = class_biases(np.zeros((500, 3)), np.array([0, 1] * 250))
    assert biases[2] < -2
    assert np.isfinite(biases).all()
    assert biases[0] == pytest.approx(biases[1])


def test_scores_that_fit_are_left_alone() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    scores = np.tile(np.log(shares), (1000, 1))
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    assert class_biases(scores, labels) == pytest.approx(np.zeros(3), abs=1e-8)


def test_trained_on_scores_with_the_shift_the_scores_have_the_shares_of_the_data() -> None:
    """A table of two features, where the optimum of a weighted loss is known: the weighted shares of each label."""
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 50, size=(2, 3)).astype(float)  # feature x label, one group
    weight = np.array([1.0, 4.0, 2.5])
    mixture = counts * weight
    optimum = np.log(mixture / mixture.sum(axis=1, keepdims=True))  # = scores + shift
    shift = prior_shift(weight, np.arange(3), counts.sum(axis=0), 3)
    natural = counts / counts.sum(axis=1, keepdims=True)
    assert softmax(optimum - shift, axis=1) == pytest.approx(natural, rel=1e-6)


def test_the_shift_is_the_ratio_of_shares_counted_by_hand() -> None:
    labels, sizes = np.array([0, 0, 1]), np.array([30.0, 10.0, 60.0])
    shift = prior_shift(np.array([1.0, 4.0, 1.0]), labels, sizes, 3)
    assert shift == pytest.approx(np.log([(70 / 130) / 0.4, (60 / 130) / 0.6, 1.0]), rel=1e-6)
