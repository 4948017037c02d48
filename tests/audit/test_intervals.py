from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairprune_cli.audit import intervals


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (30, 30), (7, 20), (4999, 5000), (1, 2)])
def test_share_interval_equals_scipy(k: int, n: int, confidence: float) -> None:
    low, high = intervals.share_interval(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert float(low) == pytest.approx(expected.low, abs=1e-12)
    assert float(high) == pytest.approx(expected.high, abs=1e-12)


def test_share_interval_is_vectorised_and_leaves_unseen_groups_undefined() -> None:
    low, high = intervals.share_interval([0, 5, 10, 0], [10, 10, 10, 0])
    assert low[0] == 0.0
    assert high[2] == 1.0
    assert np.isnan(low[3])
    assert np.isnan(high[3])
    assert np.all(np.diff(low[:3]) > 0)


def test_change_by_hand() -> None:
    # 200 images, 20 lost and 5 gained: the exact limits of either rate, put together by Zou and Donner's rule.
    tables = np.array([[[10, 5], [20, 165]]])
    gained, lost = (stats.binomtest(k, 200).proportion_ci(0.95) for k in (5, 20))
    opposed = np.sqrt(5.5 / 196 * 20.5 / 181)  # an image gained is one not lost
    change, low, high = intervals.changes(tables)
    for bound, one, other in (
        (change[0] - low[0], 0.025 - gained.low, lost.high - 0.1),
        (high[0] - change[0], gained.high - 0.025, 0.1 - lost.low),
    ):
        assert bound == pytest.approx(np.sqrt(one**2 + other**2 + 2 * opposed * one * other))
    assert change[0] == pytest.approx(-0.075)


def test_a_change_of_many_images_agrees_with_the_textbook_interval() -> None:
    lost, gained, n = 400, 300, 20000
    change, low, high = intervals.changes(np.array([[[1000, gained], [lost, n - 1000 - gained - lost]]]))
    half = 1.96 * np.sqrt((lost + gained - (lost - gained) ** 2 / n) / n**2)
    assert low[0] == pytest.approx(change[0] - half, rel=0.02)
    assert high[0] == pytest.approx(change[0] + half, rel=0.02)


@pytest.mark.parametrize("n", [10, 30])
def test_a_change_errs_as_seldom_as_it_says_by_enumeration(n: int) -> None:
    """Every possible outcome of one group, weighted by its probability."""
    cells = [(g, lost) for g in range(n + 1) for lost in range(n + 1 - g)]
    tables = np.array([[[0, g], [lost, n - g - lost]] for g, lost in cells])
    _, low, high = intervals.changes(tables)
    rates = (0.005, 0.02, 0.1, 0.3, 0.6, 0.9)
    for gained, lost in ((a, b) for a in rates for b in rates if a + b < 1):
        chance = stats.multinomial.pmf(np.delete(tables.reshape(-1, 4), 0, 1), n, [gained, lost, 1 - gained - lost])
        truth = gained - lost
        below, above = chance[high < truth - 1e-12].sum(), chance[low > truth + 1e-12].sum()
        assert below + above <= 0.05
        assert max(below, above) <= 0.032


def test_largest_loss_is_negative_when_every_group_gained() -> None:
    worst = intervals.largest_loss(np.array([[[10, 30], [5, 155]], [[10, 60], [5, 125]]]))
    assert worst is not None
    assert worst.group == 0
    assert worst.value == pytest.approx(-0.125)
    assert worst.high < 0


def test_lowest_rate() -> None:
    worst = intervals.lowest_rate([90, 150, 3], [100, 200, 10], least=30)
    assert worst is not None
    assert worst.group == 1
    assert worst.value == 0.75
    alone = intervals.share_interval(150, 200)
    # It is at least as bad as its group looks, and could look bad by chance: only the upper end allows for the other.
    assert worst.low == pytest.approx(alone[0])
    assert worst.value < alone[1] < worst.high
    wide = intervals.lowest_rate([90, 150, 3], [100, 200, 10], least=30, family=3)
    assert wide is not None
    assert (wide.low, wide.value) == (worst.low, worst.value)
    assert wide.high > worst.high


@pytest.mark.parametrize(("groups", "n", "p"), [(2, 40, 0.9), (12, 30, 0.97), (12, 30, 0.8), (6, 200, 0.995)])
def test_the_lowest_of_equal_rates_is_rarely_called_lower(groups: int, n: int, p: float) -> None:
    """A gate at the true rate: `high` below it is a false alarm, `low` above it a false pass.

    Exact: groups are independent, and each end is the least of the groups' own.
    """
    found = [intervals.lowest_rate([k] * groups, [n] * groups) for k in range(n + 1)]
    low, high = np.array([(one.low, one.high) for one in found if one is not None]).T
    chance = stats.binom.pmf(np.arange(n + 1), n, p)
    assert 1 - chance[high >= p].sum() ** groups <= 0.025
    assert chance[low >= p].sum() ** groups <= 0.025


@pytest.mark.parametrize("n", [30, 60])
def test_no_rate_of_one_group_is_missed_more_often_than_it_says(n: int) -> None:
    low, high = intervals.share_interval(np.arange(n + 1), np.full(n + 1, n))
    for p in np.linspace(0.005, 0.995, 199):
        chance = stats.binom.pmf(np.arange(n + 1), n, p)
        assert chance[high < p].sum() <= 0.025
        assert chance[low >= p].sum() <= 0.025
