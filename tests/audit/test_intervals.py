from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairprune_cli.audit import intervals


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (30, 30), (7, 20), (4999, 5000), (1, 2)])
def test_wilson_equals_scipy(k: int, n: int, confidence: float) -> None:
    low, high = intervals.wilson(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert float(low) == pytest.approx(expected.low, abs=1e-12)
    assert float(high) == pytest.approx(expected.high, abs=1e-12)


def test_wilson_is_vectorised_and_leaves_unseen_groups_undefined() -> None:
    low, high = intervals.wilson([0, 5, 10, 0], [10, 10, 10, 0])
    assert low[0] == 0.0
    assert high[2] == 1.0
    assert np.isnan(low[3])
    assert np.isnan(high[3])
    assert np.all(np.diff(low[:3]) > 0)


def test_change_by_hand() -> None:
    # 200 images: 20 lost, 5 gained. One added to either side (z^2/4 = .96 at 95 %), after Bonett and Price.
    tables = np.array([[[10, 5], [20, 165]]])
    added = stats.norm.ppf(0.975) ** 2 / 4
    gained, lost, total = 5 + added, 20 + added, 200 + 2 * added
    centre = (gained - lost) / total
    variance = ((gained + lost) / total - centre**2) / total
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    change, low, high = intervals.changes(tables)
    assert change[0] == pytest.approx(-0.075)
    assert low[0] == pytest.approx(centre - half)
    assert high[0] == pytest.approx(centre + half)


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
    alone = intervals.wilson(150, 200)
    assert worst.low < alone[0] < worst.value < alone[1] <= worst.high
