from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fairprune_cli.audit import intervals, simultaneous


@st.composite
def rate_counts(draw: st.DrawFn, groups: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    size = groups or draw(st.integers(2, 8))
    n = draw(st.lists(st.integers(1, 6000), min_size=size, max_size=size))
    k = [draw(st.integers(0, trials)) for trials in n]
    return np.array(k), np.array(n)


@st.composite
def pair_tables(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(2, 6))
    cells = st.integers(0, 800)
    table = st.lists(cells, min_size=4, max_size=4).filter(any)
    return np.array([draw(table) for _ in range(size)]).reshape(size, 2, 2)


def test_equal_groups_have_no_gap_whatever_their_rate() -> None:
    for k in (0, 100, 200):
        gap = simultaneous.pairwise([k] * 4, [200] * 4)
        assert gap is not None
        assert gap.value == 0
        assert gap.low == 0
        assert 0 < gap.high < 0.2


def test_two_large_groups_agree_with_the_textbook_interval() -> None:
    k, n = np.array([4600, 4200]), np.array([5000, 5000])
    p = k / n
    half = 1.96 * np.sqrt((p * (1 - p) / n).sum())
    gap = simultaneous.pairwise(k, n)
    assert gap is not None
    assert gap.pair == (0, 1)
    assert gap.low == pytest.approx(0.08 - half, abs=0.002)
    assert gap.high == pytest.approx(0.08 + half, abs=0.002)


def test_equal_large_groups_agree_with_tukeys_range() -> None:
    # Tukey: all differences of G equal groups lie within q / sqrt(2) standard errors of the difference.
    groups, n, p = 6, 5000, 0.5
    k = np.array([2500 + 150, *[2500] * (groups - 2), 2500 - 150])
    gap = simultaneous.pairwise(k, [n] * groups)
    assert gap is not None
    tukey = stats.studentized_range.ppf(0.95, groups, np.inf) * np.sqrt(p * (1 - p) / n)
    assert tukey < gap.value - gap.low < 1.04 * tukey
    # The pair that truly differs most is one: the other side needs no allowance for the rest.
    assert gap.high - gap.value == pytest.approx(1.96 * np.sqrt(2 * p * (1 - p) / n), rel=0.02)


@pytest.mark.parametrize("groups", [2, 3, 12, 64])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-4])
def test_the_quantile_of_the_range_is_scipys(groups: int, alpha: float) -> None:
    expected = stats.studentized_range.ppf(1 - alpha, groups, np.inf) / np.sqrt(2)
    assert simultaneous.range_quantile(groups, alpha) == pytest.approx(expected, rel=1e-5)


def test_opposite_extremes_stay_within_the_possible() -> None:
    gap = simultaneous.pairwise([30, 0], [30, 30])
    assert gap is not None
    assert gap.value == 1
    assert gap.high == 1
    assert 0.7 < gap.low < 1


def test_too_few_groups_leave_the_gap_undefined() -> None:
    assert simultaneous.pairwise([5], [10]) is None
    assert simultaneous.pairwise([], []) is None
    assert simultaneous.pairwise([5, 0], [10, 0]) is None
    assert simultaneous.pairwise([5, 20], [10, 40], least=30) is None
    assert simultaneous.joint([([5, 6], [10, 10]), ([5, 0], [10, 0])]) is None
    assert simultaneous.paired(np.zeros((2, 2, 2))) is None
    assert intervals.largest_loss(np.zeros((2, 2, 2))) is None
    assert intervals.lowest_rate([0], [0]) is None


def test_small_groups_stay_out_and_indices_stay_those_of_the_caller() -> None:
    gap = simultaneous.pairwise([0, 90, 70], [5, 100, 100], least=30)
    assert gap is not None
    assert gap.pair == (1, 2)
    assert gap.value == pytest.approx(0.2)


@given(rate_counts())
@settings(max_examples=60, deadline=None)
def test_gap_contains_its_value_and_is_maximum_minus_minimum(counts: tuple[np.ndarray, np.ndarray]) -> None:
    k, n = counts
    gap = simultaneous.pairwise(k, n)
    assert gap is not None
    assert gap.value == pytest.approx(np.ptp(k / n))
    assert 0 <= gap.low <= gap.value <= gap.high <= 1
    top, bottom = gap.pair
    assert top != bottom
    assert k[top] / n[top] - k[bottom] / n[bottom] == pytest.approx(gap.value)
    assert gap == simultaneous.pairwise(k, n)


@given(rate_counts(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_renaming_groups_changes_nothing(counts: tuple[np.ndarray, np.ndarray], random: object) -> None:
    k, n = counts
    order = list(range(len(k)))
    random.shuffle(order)  # type: ignore[attr-defined]
    first, second = simultaneous.pairwise(k, n), simultaneous.pairwise(k[order], n[order])
    assert first is not None
    assert second is not None
    assert (first.value, first.low, first.high) == (second.value, second.low, second.high)


@given(pair_tables())
@settings(max_examples=60, deadline=None)
def test_paired_figures_contain_their_values(tables: np.ndarray) -> None:
    n = tables.sum((1, 2))
    degradation = (tables[:, 1, 0] - tables[:, 0, 1]) / n
    change, low, high = intervals.changes(tables)
    assert np.allclose(change, -degradation)
    assert np.all((low >= -1) & (low <= change) & (change <= high) & (high <= 1))
    gap, worst = simultaneous.paired(tables), intervals.largest_loss(tables)
    assert gap is not None
    assert worst is not None
    assert gap.value == pytest.approx(np.ptp(degradation))
    assert 0 <= gap.low <= gap.value <= gap.high <= 2
    assert worst.value == pytest.approx(degradation.max())
    assert worst.low <= worst.value <= worst.high
    assert degradation[worst.group] == pytest.approx(worst.value)


def test_pairing_narrows_the_interval() -> None:
    tables = np.array([[[200, 10], [20, 770]], [[200, 10], [40, 750]]])
    paired = simultaneous.paired(tables)
    pruned = simultaneous.pairwise(tables[:, :, 1].sum(1), tables.sum((1, 2)))
    assert paired is not None
    assert pruned is not None
    assert paired.pair == (1, 0)
    assert paired.value == pytest.approx(pruned.value)
    assert paired.high - paired.value < 0.6 * (pruned.high - pruned.value)
    assert pruned.low == 0 < paired.low


def test_more_rates_and_more_confidence_widen() -> None:
    rate = ([180, 170, 160], [200, 200, 200])
    one, two = simultaneous.joint([rate]), simultaneous.joint([rate, ([20, 20, 20], [200, 200, 200])])
    sure = simultaneous.joint([rate], confidence=0.999)
    assert one is not None
    assert two is not None
    assert sure is not None
    assert one.value == two.value
    assert two.rate == 0
    assert one.high == two.high  # one of the pairs and rates is the largest, however many there are
    assert one.low > two.low
    assert sure.high > one.high
    several = simultaneous.joint([rate], family=3)
    assert several is not None
    assert several.low < one.low
    assert (several.value, several.high) == (one.value, one.high)


def test_64_groups_are_fast() -> None:
    rng = np.random.default_rng(0)
    n = np.full(64, 300)
    k = rng.binomial(n, 0.9)
    simultaneous.pairwise(k, n)
    started = time.process_time()
    gap = simultaneous.pairwise(k, n)
    assert time.process_time() - started < 0.5
    assert gap is not None
    assert gap.low == 0


TRIALS = 400


@pytest.mark.parametrize("sizes", [[200, 200], [40, 5000], [200] * 4, [40, 40, 200, 200, 1000, 1000, 5000, 5000]])
@pytest.mark.parametrize("base", [0.8, 0.95])
def test_equal_models_rarely_raise_an_alarm(sizes: list[int], base: float) -> None:
    rng, n = np.random.default_rng(7), np.array(sizes)
    gaps = [simultaneous.pairwise(rng.binomial(n, base), n) for _ in range(TRIALS)]
    alarms = np.mean([gap is not None and gap.low > 0 for gap in gaps])
    # 5 % and 2.3 standard errors of this simulation; benchmarks/coverage.py measures it closely.
    assert alarms <= 0.075


@pytest.mark.parametrize(("first", "second"), [(30, 30), (30, 61), (60, 60)])
def test_both_errors_of_two_groups_by_enumeration(first: int, second: int) -> None:
    """Every possible outcome, weighted by its probability: no simulation error in this one.

    `low` above the true gap fails a gate that stands there, `high` below it passes one.
    """
    n = np.array([first, second])
    found = [[simultaneous.pairwise([i, j], n) for j in range(second + 1)] for i in range(first + 1)]
    low, high = np.array([[(gap.low, gap.high) for gap in row if gap is not None] for row in found]).transpose(2, 0, 1)
    rates = (0.005, 0.01, 0.05, 0.2, 0.32, 0.5, 0.68, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    chances = {p: [stats.binom.pmf(np.arange(size + 1), size, p) for size in n] for p in rates}
    for p in rates:
        for other in rates:
            chance, gap = np.outer(chances[p][0], chances[other][1]), abs(p - other)
            alarms, passes = chance[low > gap + 1e-12].sum(), chance[high < gap - 1e-12].sum()
            assert alarms + passes <= 0.05
            assert passes <= 0.028


def test_a_bootstrap_of_the_gap_would_always_raise_an_alarm() -> None:
    """What the simultaneous intervals are for: four equal groups, true gap 0."""
    rng, n, alarms = np.random.default_rng(7), np.full(4, 200), 0
    for _ in range(50):
        k = rng.binomial(n, 0.9)
        rates = rng.binomial(n[:, None], (k / n)[:, None], (4, 500)) / 200
        alarms += np.quantile(rates.max(0) - rates.min(0), 0.025) > 0
    assert alarms >= 49


def test_gap_of_five_points_is_covered() -> None:
    rng, n, p = np.random.default_rng(3), np.array([200, 500, 1000, 3000]), np.array([0.85, 0.9, 0.9, 0.9])
    gaps = [simultaneous.pairwise(rng.binomial(n, p), n) for _ in range(TRIALS)]
    held = np.mean([gap is not None and gap.low <= 0.05 <= gap.high for gap in gaps])
    assert held >= 0.935


def test_degradation_gap_and_largest_loss_are_covered() -> None:
    rng, n = np.random.default_rng(5), np.array([60, 300, 1000])
    lost, gained = np.array([0.1, 0.05, 0.05]), np.array([0.04, 0.04, 0.04])
    held_gap = held_worst = 0
    for _ in range(TRIALS):
        tables = np.array(
            [np.array([0, *rng.multinomial(n[g], [gained[g], lost[g], 1 - gained[g] - lost[g]])]) for g in range(3)]
        ).reshape(3, 2, 2)
        gap, worst = simultaneous.paired(tables), intervals.largest_loss(tables)
        assert gap is not None
        assert worst is not None
        held_gap += gap.low <= 0.05 <= gap.high
        held_worst += worst.low <= 0.06 <= worst.high
    assert held_gap / TRIALS >= 0.935
    assert held_worst / TRIALS >= 0.935


def test_an_odds_gap_of_zero_rarely_raises_an_alarm() -> None:
    rng, n = np.random.default_rng(11), np.array([100, 200, 400])
    alarms = 0
    for _ in range(TRIALS):
        gap = simultaneous.joint([(rng.binomial(n, 0.9), n), (rng.binomial(2 * n, 0.08), 2 * n)])
        alarms += gap is not None and gap.low > 0
    assert alarms / TRIALS <= 0.075
