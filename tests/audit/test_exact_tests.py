"""Exact intervals and paired tests, against enumeration, scipy and cases worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fairprune_cli.audit.exact_tests import ENUMERATED, holm, marginal_homogeneity, mcnemar
from fairprune_cli.audit.outcomes import clopper_pearson


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 11), (40, 900)])
def test_the_interval_is_scipys_exact_one(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.97, "exact")
    low, high = clopper_pearson([k], [n], 0.015)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_images_nothing_is_said() -> None:
    assert np.isnan(np.array(clopper_pearson([0], [0], 0.05))).all()


def test_mcnemar_by_hand_and_by_enumeration() -> None:
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(0, 0) == 1
    for lost, gained in itertools.product(range(8), repeat=2):
        n = lost + gained
        as_far = [k for k in range(n + 1) if abs(k - n / 2) >= abs(lost - n / 2)]
        assert mcnemar(lost, gained) == pytest.approx(sum(math.comb(n, k) for k in as_far) / 2**n)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(6))
def test_for_two_classes_the_shift_is_mcnemars_test(seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 40, (2, 2))
    b, c = table[0, 1], table[1, 0]
    shift = marginal_homogeneity(table)
    assert (shift.df, shift.exact) == (1, True)
    assert shift.statistic == pytest.approx((b - c) ** 2 / (b + c))
    assert shift.p == pytest.approx(mcnemar(b, c))


def by_the_definition(table: np.ndarray) -> float:
    """d' V^+ d with the pseudo-inverse."""
    d = table.sum(1) - table.sum(0)
    v = np.diag(table.sum(1) + table.sum(0)) - table - table.T
    return float(d @ np.linalg.pinv(v.astype(float)) @ d)


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_p_is_that_of_flipping_every_changed_image(seed: int) -> None:
    generator = np.random.default_rng(seed)
    moves = [tuple(generator.choice(4, 2, replace=False)) for _ in range(9)]
    table = np.diag([5, 0, 3, 8])
    for i, j in moves:
        table[i, j] += 1
    seen, as_large = by_the_definition(table), 0
    for flips in itertools.product((False, True), repeat=len(moves)):
        other = np.diag([5, 0, 3, 8])
        for (i, j), flip in zip(moves, flips, strict=True):
            other[(j, i) if flip else (i, j)] += 1
        as_large += by_the_definition(other) >= seen - 1e-9
    shift = marginal_homogeneity(table)
    assert shift.exact
    assert shift.statistic == pytest.approx(seen)
    assert shift.p == pytest.approx(as_large / 2 ** len(moves))


def test_classes_that_exchanged_nothing_do_not_count() -> None:
    table = np.diag([9, 9, 9, 9, 9, 9])
    table[0, 1], table[1, 0], table[3, 4] = 60, 20, 500  # two parts of two classes each; 2 and 5 stay
    shift = marginal_homogeneity(table)
    assert (shift.df, shift.exact) == (2, math.prod([81, 501]) <= ENUMERATED)
    assert shift.statistic == pytest.approx(40**2 / 80 + 500)
    assert shift.p == pytest.approx(stats.chi2.sf(520, 2))


def test_many_changes_are_judged_by_chi_square_and_rarely_by_chance() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        half = np.triu(generator.poisson(12, (5, 5)), 1)
        there = generator.binomial(half, 0.5)
        shift = marginal_homogeneity(there + (half - there).T)
        assert not shift.exact
        assert shift.df == 4
        found.append(shift.p)
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.085


def test_nothing_changed_is_no_shift() -> None:
    shift = marginal_homogeneity(np.diag([3, 4, 5]))
    assert (shift.statistic, shift.df, shift.p) == (0.0, 0, 1.0)
