"""The fit against scikit-learn's, the balance of the subsets, and what is promised of masks and of the strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fairprune_cli.pruning.options import MethodOptions
from fairprune_cli.training.balanced_regression import LabelledFeatures, balanced, chosen_strength, fitted, retrained

linear_model = pytest.importorskip("sklearn.linear_model")


def examples(single: bool, count: int = 160, classes: int = 2) -> LabelledFeatures:
    """Two informative features of six; group 1 is rare, and only the second feature tells its classes apart."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(classes, size=count), (rng.random(count) < 0.2).astype(int)
    features = rng.normal(size=(count, 6))
    features[np.arange(count), np.where(groups == 0, 0, 1)] += 2.5 * labels
    return LabelledFeatures(features, labels, groups, np.ones((1 if single else classes, 6), dtype=bool))


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_a_single_score_is_the_authors_solver(penalty: str) -> None:
    data = examples(single=True)
    weights, intercepts = fitted(data, penalty, 0.3)
    theirs = linear_model.LogisticRegression(penalty=penalty, C=0.3, solver="liblinear", tol=1e-8, max_iter=10_000)
    theirs.fit(data.features, data.labels)
    assert weights == pytest.approx(theirs.coef_, abs=2e-3)
    assert intercepts == pytest.approx(theirs.intercept_, abs=2e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_row_per_class_is_the_softmax_regression(classes: int) -> None:
    data = replace(examples(single=False, classes=classes), intercept=False)
    weights, intercepts = fitted(data, "l2", 0.5)
    theirs = linear_model.LogisticRegression(C=0.5, fit_intercept=False, tol=1e-8, max_iter=10_000)
    theirs.fit(data.features, data.labels)
    scores = data.features @ weights.T + intercepts
    expected = theirs.predict_proba(data.features)
    if classes == 2:  # theirs has one row of weights, whose penalty is twice as large as of two half as long
        theirs = linear_model.LogisticRegression(C=1.0, fit_intercept=False, tol=1e-8, max_iter=10_000)
        expected = theirs.fit(data.features, data.labels).predict_proba(data.features)
    odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert odds == pytest.approx(expected, abs=2e-3)
    assert not intercepts.any()


def test_what_is_masked_stays_zero_and_l1_leaves_out_what_says_nothing() -> None:
    data = examples(single=True)
    data.allowed[0, 0] = False
    weights, _ = fitted(data, "l1", 0.1)
    assert weights[0, 0] == 0
    assert weights[0, 1] > 0
    assert np.count_nonzero(weights) < 5


def test_subsets_have_as_many_of_each_group_as_the_smallest() -> None:
    groups = np.repeat([0, 1, 2], [50, 7, 20])
    rng = np.random.default_rng(0)
    chosen = balanced(groups, rng)
    assert np.bincount(groups[chosen]).tolist() == [7, 7, 7]
    assert len(np.unique(chosen)) == 21
    assert not np.array_equal(np.sort(balanced(groups, rng)), np.sort(chosen))


def test_the_rare_group_is_raised_and_images_in_no_group_are_left_out() -> None:
    data = examples(single=False, count=800)
    worst = {}
    for name, groups in (("balanced", data.groups), ("as it is", np.zeros_like(data.groups))):
        weights, intercepts, _ = retrained(replace(data, groups=groups), MethodOptions(dfr_c=0.1, dfr_subsets=5))
        right = (data.features @ weights.T + intercepts).argmax(axis=1) == data.labels
        worst[name] = min(right[data.groups == g].mean() for g in (0, 1))
    assert worst["balanced"] > worst["as it is"] + 0.05
    odd = replace(data, groups=np.where(np.arange(800) < 400, -1, data.groups))
    options = MethodOptions(dfr_c=0.1, dfr_subsets=3)
    spoilt = replace(odd, labels=np.where(odd.groups < 0, 1 - odd.labels, odd.labels))
    assert retrained(odd, options)[0] == pytest.approx(retrained(spoilt, options)[0])


def test_features_are_scaled_on_the_way_there_and_back() -> None:
    data = examples(single=True)
    options = MethodOptions(dfr_c=0.3, dfr_subsets=2)
    weights, intercepts, _ = retrained(data, options)
    moved = replace(data, features=data.features * 50.0 - 7.0)
    other, shifted, _ = retrained(moved, options)
    assert moved.features @ other.T + shifted == pytest.approx(data.features @ weights.T + intercepts, abs=1e-3)


def test_the_strength_is_the_one_with_the_best_worst_group() -> None:
    """Where one noisy feature would be learnt by heart, a strong penalty is the better one."""
    rng = np.random.default_rng(1)
    labels = np.tile([0, 1], 30)
    features = rng.normal(size=(60, 80))
    features[:, 0] += 4.0 * labels
    data = LabelledFeatures(features, labels, np.repeat([0, 1], 30), np.ones((1, 80), dtype=bool))
    assert chosen_strength(data, "l1", np.random.default_rng(0)) <= 0.3
    assert retrained(data, MethodOptions())[2] in (0.3, 0.1, 0.07, 0.03, 0.01)
    assert retrained(data, MethodOptions(dfr_c=0.5))[2] == 0.5
