from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fairprune_cli.audit import gap_changes, intervals


def table(n: int, dense: int, lost: int, gained: int) -> list[list[int]]:
    """A group of n images of which the dense model had `dense` right."""
    return [[n - dense - gained, gained], [lost, dense - lost]]


@st.composite
def pair_tables(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(2, 5))
    cells = st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(any)
    return np.array([draw(cells) for _ in range(size)]).reshape(size, 2, 2)


def test_it_has_the_sign_of_the_move_and_not_its_size_only() -> None:
    shrank = np.array([table(750, 671, 20, 51), table(4250, 4083, 60, 77)])
    change = gap_changes.gap_change(shrank)
    assert change is not None
    assert change.value == pytest.approx((4083 + 17) / 4250 - (671 + 31) / 750 - (4083 / 4250 - 671 / 750))
    assert -0.07 < change.low < change.value < change.high < 0
    grew = gap_changes.gap_change(shrank.transpose(0, 2, 1))  # dense and pruned exchanged
    assert grew is not None
    assert (grew.value, grew.low, grew.high) == pytest.approx((-change.value, -change.high, -change.low))


def test_groups_that_change_places_leave_a_gap_where_it_was() -> None:
    # The groups' losses differ by 20 points, and the gap is 10 points before and after.
    swapped = np.array([table(1000, 900, 100, 0), table(1000, 800, 0, 100)])
    change = gap_changes.gap_change(swapped)
    assert change is not None
    assert change.value == pytest.approx(0)
    assert change.low < 0 < change.high
    assert change.high - change.low < 0.2


def test_two_large_groups_agree_with_the_paired_interval_of_one_difference() -> None:
    lost, gained, n = (300, 100), (100, 100), 20000
    tables = np.array([table(n, 16000, lost[0], gained[0]), table(n, 19000, lost[1], gained[1])])
    change = gap_changes.gap_change(tables)
    assert change is not None
    rate = (gained[0] - lost[0]) / n
    variance = sum((a + b - (a - b) ** 2 / n) / n**2 for a, b in zip(lost, gained, strict=True))
    half = stats.norm.ppf(1 - 0.025 / 2) * np.sqrt(variance)  # either side for two pairs: each has two directions
    assert change.value == pytest.approx(-rate)
    assert change.low == pytest.approx(-rate - half, rel=0.02)
    assert change.high == pytest.approx(-rate + half, rel=0.02)


@given(pair_tables())
@settings(max_examples=60, deadline=None)
def test_changes_contain_their_values(tables: np.ndarray) -> None:
    n = tables.sum((1, 2))
    dense, pruned = tables[:, 1].sum(1) / n, tables[:, :, 1].sum(1) / n
    gap, worst = gap_changes.gap_change(tables), gap_changes.worst_change(tables)
    assert gap is not None
    assert worst is not None
    assert gap.value == pytest.approx(np.ptp(pruned) - np.ptp(dense))
    assert worst.value == pytest.approx(pruned.min() - dense.min())
    for change in (gap, worst):
        assert -1 <= change.low <= change.value <= change.high <= 1


@given(pair_tables(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_renaming_groups_changes_nothing(tables: np.ndarray, random: object) -> None:
    order = list(range(len(tables)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert gap_changes.gap_change(tables) == gap_changes.gap_change(tables[order])
    assert gap_changes.worst_change(tables) == gap_changes.worst_change(tables[order])


def test_one_group_has_a_worst_change_and_no_gap() -> None:
    one = np.array([table(200, 180, 20, 5), table(10, 9, 1, 1)])
    assert gap_changes.gap_change(one, least=30) is None
    worst = gap_changes.worst_change(one, least=30)
    change, low, high = intervals.changes(one)
    assert worst is not None
    assert (worst.value, worst.low, worst.high) == pytest.approx((change[0], low[0], high[0]))
    assert gap_changes.worst_change(one, least=300) is None


def test_it_is_the_extreme_of_all_contrasts_in_a_slow_loop() -> None:
    """Every pair of the pruned model against every pair of the dense one, group by group, limits by scipy."""
    tables = np.random.default_rng(1).integers(1, 200, (3, 2, 2))
    n, dense, pruned = tables.sum((1, 2)), tables[:, 1].sum(1), tables[:, :, 1].sum(1)
    pairs = list(itertools.permutations(range(3), 2))
    tail = 0.025 / len(pairs)
    change, below, above = intervals.changes(tables, 1 - 2 * tail)

    def reach(group: int, of_pruned: int, of_dense: int) -> tuple[float, float]:
        """Below and above, of of_pruned * pruned + of_dense * dense; the factors are -1, 0 or 1."""
        ends = []
        for factor, k in ((of_pruned, pruned[group]), (of_dense, dense[group])):
            limits = stats.binomtest(int(k), int(n[group])).proportion_ci(1 - 2 * tail)
            two = (k / n[group] - limits.low, limits.high - k / n[group])
            ends.append((0.0, 0.0) if factor == 0 else two if factor > 0 else two[::-1])
        if of_pruned * of_dense == -1:
            two = (change[group] - below[group], above[group] - change[group])
            return two if of_pruned > 0 else two[::-1]
        return ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]

    lows, highs = np.empty((6, 6)), np.empty((6, 6))
    for (a, (i, j)), (b, (k, m)) in itertools.product(enumerate(pairs), repeat=2):
        factors = [((g == i) - (g == j), (g == m) - (g == k)) for g in range(3)]
        contrast = sum(p * pruned[g] / n[g] + d * dense[g] / n[g] for g, (p, d) in enumerate(factors))
        reaches = np.array([reach(g, *of) for g, of in enumerate(factors)])
        lows[a, b], highs[a, b] = contrast + np.sqrt((reaches**2).sum(0)) * (-1, 1)
    found = gap_changes.gap_change(tables)
    assert found is not None
    assert found.low == pytest.approx(lows.max(0).min())
    assert found.high == pytest.approx(highs.min(1).max())


@pytest.mark.parametrize(
    ("n", "dense", "lost", "gained"),
    [
        ([40, 300], [0.85, 0.95], [0.05, 0.03], [0.05, 0.03]),
        ([200] * 4, [0.9] * 4, [0.04] * 4, [0.04] * 4),
        ([60, 60, 500], [0.7, 0.9, 0.9], [0.02, 0.10, 0.02], [0.12, 0.02, 0.02]),
    ],
)
def test_changes_are_covered(n: list[int], dense: list[float], lost: list[float], gained: list[float]) -> None:
    rng, trials = np.random.default_rng(3), 2000
    cells = [
        rng.multinomial(size, [1 - d - up, up, down, d - down], trials)
        for size, d, down, up in zip(n, dense, lost, gained, strict=True)
    ]
    tables = np.stack(cells, 1).reshape(trials, len(n), 2, 2)
    before = np.array(dense)
    now = before - np.array(lost) + np.array(gained)
    for truth, found in (
        (np.ptp(now) - np.ptp(before), gap_changes.gap_changes(tables)),
        (now.min() - before.min(), gap_changes.worst_changes(tables)),
    ):
        _, low, high = found
        assert np.mean(low > truth + 1e-12) <= 0.032
        assert np.mean(high < truth - 1e-12) <= 0.032


def test_both_errors_of_two_small_groups_by_enumeration() -> None:
    """Every outcome of two groups of six images, 84 each."""
    outcomes = np.array([c for c in itertools.product(range(7), repeat=4) if sum(c) == 6])
    many = len(outcomes)
    tables = np.stack([np.repeat(outcomes, many, 0), np.tile(outcomes, (many, 1))], 1).reshape(-1, 2, 2, 2)
    found = {"gap": gap_changes.gap_changes(tables), "worst": gap_changes.worst_changes(tables)}
    chances = [[0.05, 0.45, 0.05, 0.45], [0.45, 0.05, 0.45, 0.05], [0.01, 0.01, 0.01, 0.97], [0.1, 0.1, 0.2, 0.6]]
    each = [stats.multinomial.pmf(outcomes, 6, p) for p in chances]
    for (p, first), (q, second) in itertools.product(zip(chances, each, strict=True), repeat=2):
        weight = np.outer(first, second).reshape(-1)
        dense, pruned = [p[2] + p[3], q[2] + q[3]], [p[1] + p[3], q[1] + q[3]]
        truths = {"gap": np.ptp(pruned) - np.ptp(dense), "worst": min(pruned) - min(dense)}
        for name, (_, low, high) in found.items():
            wrong = (low > truths[name] + 1e-12) | (high < truths[name] - 1e-12)
            assert weight[wrong].sum() <= 0.05
