"""Notions against loops over images, and their surrogates against the exact rates at hard decisions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion, best_of_others
from fairprune_cli.fairness.tally import GroupTally, add_batch


def counts_of(labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, g: int, k: int) -> np.ndarray:
    counts = np.zeros((g, k, k))
    np.add.at(counts, (groups, labels, predicted), 1)
    return counts


def gap_by_hand(name: str, labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, g: int, k: int) -> float:
    """Largest difference between two groups, from the images themselves."""

    def rate(hit: np.ndarray, among: np.ndarray) -> list[float]:
        return [float(hit[among & (groups == i)].mean()) for i in range(g) if (among & (groups == i)).any()]

    everyone = np.ones(len(labels), dtype=bool)
    if name in ("accuracy", "worst-group"):
        rates = [rate(labels == predicted, everyone)]
    elif name == "parity":
        rates = [rate(predicted == c, everyone) for c in range(k)]
    elif name == "opportunity":
        rates = [rate(predicted == c, labels == c) for c in ([1] if k == 2 else range(k))]
    else:
        rates = [rate(predicted == p, labels == y) for y in range(k) for p in range(k)]
    return max(max(r) - min(r) for r in rates if len(r) >= 2)


@pytest.mark.parametrize("name", ["accuracy", "worst-group", "parity", "opportunity", "odds"])
@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 10_000))
def test_exact_gap_equals_the_images_own(name: str, g: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted, groups = rng.integers(k, size=80), rng.integers(k, size=80), rng.integers(g, size=80)
    counts = counts_of(labels, predicted, groups, g, k)
    expected = gap_by_hand(name, labels, predicted, groups, g, k)
    assert fairness.get(name, k).exact(counts) == pytest.approx(expected)


def test_degradation_is_relative_to_the_dense_model() -> None:
    notion = fairness.get("degradation", 2)
    counts = np.array([[[9.0, 1], [1, 9]], [[8, 2], [2, 8]]])  # accuracies .9 and .8
    assert notion.exact(counts, dense=np.array([[0.95, 0.85]])) == pytest.approx(0.0)
    assert notion.exact(counts, dense=np.array([[0.95, 0.95]])) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="needs the dense model"):
        notion.exact(counts)


def test_undefined_is_not_zero() -> None:
    notion = fairness.get("accuracy", 2)
    counts = np.zeros((2, 2, 2))
    counts[0, 0, 0] = 5
    assert np.isnan(notion.exact(counts))
    assert np.isnan(fairness.get("opportunity", 2).exact(np.ones((2, 2, 2)) * [[[1.0, 0], [0, 0]]]))


def test_violation_names_the_group_behind_and_leaves_small_groups_alone() -> None:
    notion = fairness.get("accuracy", 2)
    counts = np.array([[[90.0, 10], [0, 0]], [[70, 30], [0, 0]], [[1, 3], [0, 0]]])
    low, high = notion.violation(notion.usable_rates(counts, least=30), None, 0.02)
    assert low[0] == pytest.approx([-0.22, 0.18, np.nan], nan_ok=True)
    assert np.isnan(high).all()


@pytest.mark.parametrize("name", [n for n in fairness.names() if n != "degradation"])
def test_the_least_tolerance_is_the_gap_between_groups_or_the_worst_ones_distance_from_the_whole(name: str) -> None:
    notion, chance = fairness.get(name, 3), np.random.default_rng(3)
    for _ in range(20):
        counts = chance.integers(0, 9, (4, 3, 3)).astype(float)
        rate, whole = notion.usable_rates(counts), notion.whole_rates(counts)
        least = notion.least_tolerance(rate, whole)
        expected = notion.exact(counts) if whole is None else np.nanmax(whole[:, None] - rate)
        assert least == pytest.approx(expected, nan_ok=True)
        assert not (notion.violation(rate, whole, least) > 1e-12).any()
        assert (notion.violation(rate, whole, least - 1e-9) > 0).any()
    nobody = np.zeros((2, 3, 3))
    assert np.isnan(notion.least_tolerance(notion.usable_rates(nobody), notion.whole_rates(nobody)))


def test_false_alarms_are_too_high_and_recall_too_low() -> None:
    notion = fairness.get("odds", 3)
    rng = np.random.default_rng(1)
    low, high = notion.violation(notion.usable_rates(rng.integers(1, 9, (2, 3, 3)).astype(float)), None, 0.0)
    diagonal = np.array([y == p for y in range(3) for p in range(3)])
    assert np.isnan(low[~diagonal]).all()
    assert np.isnan(high[diagonal]).all()
    assert not np.isnan(low[diagonal]).any()
    assert not np.isnan(high[~diagonal]).any()


@pytest.mark.parametrize("name", [n for n in fairness.names() if n != "degradation"])
@pytest.mark.parametrize("k", [2, 4])
def test_surrogate_with_the_true_indicator_is_the_exact_rate(name: str, k: int) -> None:
    """With u = 1[a > 0] the relaxed rates must be the exact ones: same events, same populations, same groups."""
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(60, k)).astype(np.float32)
    labels, groups = rng.integers(k, size=60), rng.integers(3, size=60)
    notion = fairness.get(name, k)
    tally = GroupTally(3, notion, 1e9)
    add_batch([tally], GroupRows([3], k), notion, [lambda a: (a > 0).float()], logits, labels, groups[:, None], None)
    exact, size = notion.rates(counts_of(labels, logits.argmax(1), groups, 3, k))
    assert np.array_equal(tally.soft[1], size)
    assert np.allclose(tally.soft[0][size > 0] / size[size > 0], exact[size > 0])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.integers(0, 10_000))
def test_hits_and_their_way_back_by_sums_over_the_definition(m: int, k: int, g: int, seed: int) -> None:
    """Also where rates share a cell, and where one watches none."""
    rng = np.random.default_rng(seed)
    event, population = rng.random((m, k, k)) < 0.4, rng.random((m, k)) < 0.6
    population[~population.any(axis=1), 0] = True
    notion = Notion("mine", event, population, np.ones(m, int))
    table, values = rng.random((g, k, k)), rng.random((2, m, g))
    watched = event & population[:, :, None]
    assert np.allclose(notion.hits(table), np.einsum("myp,gyp->mg", watched, table))
    assert np.allclose(notion.sizes(table[:, :, 0]), np.einsum("my,gy->mg", population, table[:, :, 0]))
    assert np.allclose(notion.spread(values), np.einsum("myp,smg->sgyp", watched, values))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, -0.4, np.nan]), min_size=1, max_size=6), st.integers(1, 2))
def test_the_best_of_the_others_by_a_loop(row: list[float], rates: int) -> None:
    expected = []
    for g, own in enumerate(row):
        others = [x for h, x in enumerate(row) if h != g and not np.isnan(x)]
        expected.append(np.nan if np.isnan(own) or not others else max(others))
    found = best_of_others(np.array([row, row[::-1]][:rates]))
    assert np.array_equal(found, [expected, expected[::-1]][:rates], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "k", "compares"),
    [
        ("accuracy", 2, "accuracies"), ("worst-group", 3, "accuracies"), ("degradation", 4, "losses"),
        ("parity", 2, "rates"), ("opportunity", 2, "rates"), ("odds", 2, "rates"), ("odds", 3, "rates"),
    ],
)  # fmt: skip
def test_what_a_gap_is_a_difference_of(name: str, k: int, compares: str) -> None:
    assert fairness.get(name, k).compares == compares


@pytest.mark.parametrize(
    ("event", "population", "direction", "order", "fault"),
    [
        ((1, 2, 2), (1, 3), 1, (), "shapes"), ((1, 2, 3), (1, 2), 1, (), "shapes"),
        ((2, 2, 2), (1, 2), 2, (), "shapes"),
        ((1, 2, 2), (1, 2), 2, (), "shapes"), ((0, 2, 2), (0, 2), 0, (), "shapes"),
        ((2, 2, 2), (2, 2), 2, (0, 0), "orders its 2 rates"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_refused(
    event: tuple[int, ...], population: tuple[int, ...], direction: int, order: tuple[int, ...], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Notion("mine", np.ones(event, bool), np.ones(population, bool), np.ones(direction, int), rate_order=order)
    with pytest.raises(ValueError, match="no label belongs to"):
        Notion("mine", np.ones((1, 2, 2), bool), np.zeros((1, 2), bool), np.ones(1, int))


def test_a_report_heading_is_read_without_importing_the_notion() -> None:
    assert fairness.heading("odds") == ("True and false positives (odds)", 30)
    assert fairness.heading("mine.notions:Alarms")[1] == 100
    assert fairness.heading("false_alarms") == ("False alarms", 100)
    orders = [fairness.heading(name)[1] for name in fairness.names()]
    assert len(set(orders)) == len(orders)


def test_the_definition_needs_no_torch_and_the_listing_no_numpy() -> None:
    code = (
        "import sys; from fairprune_cli.fairness import notions; [notions.heading(n) for n in notions.names()];"
        "assert 'numpy' not in sys.modules; [notions.get(n, 3) for n in notions.names()];"
        "import fairprune_cli.audit.policy, fairprune_cli.audit.result, fairprune_cli.audit.to_json;"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
