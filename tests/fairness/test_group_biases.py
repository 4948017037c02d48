"""Biases per group against exhaustive search, and what must not move them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from fairprune_cli.fairness import notions
from fairprune_cli.fairness.bias_descent import BiasDescent, counts_along
from fairprune_cli.fairness.group_biases import FittingImages, fitted_group_biases
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.window_search import Candidates, cheapest_within, least_bound, range_of

TWO_CLASSES = ("accuracy", "parity", "opportunity", "odds", "worst-group")


def images(seed: int, sizes: tuple[int, ...], classes: int = 2, spread: float = 1.0) -> FittingImages:
    """Groups whose scores lean to one class, each in its own way; in eighths, so that there are ties."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, sum(sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    scores = draw.normal(size=(len(labels), classes)) + 1.2 * np.eye(classes)[labels]
    scores += spread * draw.normal(size=(len(sizes), classes))[groups]
    return FittingImages(np.round(scores * 8) / 8, labels, groups, tuple(f"g{g}" for g in range(len(sizes))))


def counts_at(given: FittingImages, biases: np.ndarray) -> np.ndarray:
    """Group x label x prediction, by a loop over images."""
    classes = given.scores.shape[1]
    counts = np.zeros((len(given.names), classes, classes), dtype=np.int64)
    for z, y, g in zip(given.scores, given.labels, given.groups, strict=True):
        if g >= 0:
            counts[g, y, int(np.argmax(z + biases[g]))] += 1
    return counts


def errors_of(counts: np.ndarray) -> np.ndarray:
    return counts.sum((1, 2)) - np.trace(counts, axis1=1, axis2=2)


def beyond_chance(given: FittingImages, notion: Notion, counts: np.ndarray) -> float:
    """The gap, less what several groups may differ by through chance."""
    rate, n = notion.rates(counts_at(given, np.zeros((len(given.names), counts.shape[1]))))
    moderate = (rate * n + 1) / (n + 2)
    z = NormalDist().inv_cdf(1 - 1 / (2 * (len(given.names) - 1)))
    chance = z * np.sqrt(moderate * (1 - moderate) / n / 2)
    now = notion.rates(counts)[0]
    pairs = itertools.permutations(range(len(given.names)), 2)
    return max(float((now[:, a] - now[:, b] - chance[:, a] - chance[:, b]).max()) for a, b in pairs)


def exhaustive(given: FittingImages, notion: Notion, tolerance: float) -> tuple[float, int]:
    """The smallest gap beyond the tolerance, and the fewest errors with it, over all thresholds of all groups."""
    tables = []
    zero = errors_of(counts_at(given, np.zeros((len(given.names), 2))))
    for g in range(len(given.names)):
        margins = np.unique(np.append(np.diff(given.scores[given.groups == g], axis=1), [-9.0, 9.0, 0.0]))
        own = []
        for t in np.concatenate([margins - 1e-4, [margins[-1] + 1.0]]):
            biases = np.zeros((len(given.names), 2))
            biases[g, 1] = -t
            counts = counts_at(given, biases)[g]
            if notion.compares == "rates" or counts[0, 1] + counts[1, 0] <= zero[g]:
                own.append(counts)
        tables.append(np.unique(own, axis=0))
    best = (np.inf, 0)
    for choice in itertools.product(*tables):
        counts = np.stack(choice)
        beyond = max(beyond_chance(given, notion, counts) - tolerance, 0.0)
        best = min(best, (beyond if beyond > 1e-9 else 0.0, int(errors_of(counts).sum())))
    return best


@pytest.mark.parametrize("name", TWO_CLASSES)
@pytest.mark.parametrize(("sizes", "seeds"), [((25, 18), 8), ((12, 9, 10), 4)])
def test_two_classes_are_searched_exactly(name: str, sizes: tuple[int, ...], seeds: int) -> None:
    notion, acted = notions.get(name, 2), 0
    for seed in range(seeds):
        given = images(seed, sizes, spread=1.5)
        for tolerance in (0.0, 0.15):
            found = fitted_group_biases(given, notion, tolerance, 1)
            if not found.moved:
                continue
            acted += 1
            beyond, errors = exhaustive(given, notion, tolerance)
            counts = counts_at(given, found.biases)
            assert (found.gap, found.errors) == (pytest.approx(notion.exact(counts)), errors_of(counts).sum())
            assert max(beyond_chance(given, notion, counts) - tolerance, 0.0) == pytest.approx(beyond, abs=1e-8)
            assert found.errors == errors
    assert acted >= 2


def test_losses_are_held_against_the_dense_models() -> None:
    notion, given = notions.get("degradation", 2), images(3, (40, 40), spread=0.0)
    given.scores[given.groups == 1, 1] += 1.5  # the second group is taken for the second class too often
    as_it_is = notion.rates(counts_at(given, np.zeros((2, 2))))[0]
    same = FittingImages(given.scores, given.labels, given.groups, given.names, as_it_is)
    assert not fitted_group_biases(same, notion, 0.02, 1).moved
    lost = FittingImages(given.scores, given.labels, given.groups, given.names, as_it_is + np.array([[0.0, 0.2]]))
    found = fitted_group_biases(lost, notion, 0.02, 1)
    assert found.gap < found.gap_before == pytest.approx(0.2)
    assert found.biases[0, 1] == 0.0 > found.biases[1, 1]


def test_a_group_does_not_get_worse_for_equal_accuracies() -> None:
    given = images(5, (60, 60), spread=2.0)
    before = errors_of(counts_at(given, np.zeros((2, 2))))
    found = fitted_group_biases(given, notions.get("accuracy", 2), 0.0, 1)
    assert found.moved
    assert (errors_of(counts_at(given, found.biases)) <= before).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_within_the_tolerance_moves_nothing(classes: int) -> None:
    given, odds = images(1, (300, 300), classes, spread=0.0), notions.get("odds", classes)
    gap = odds.exact(counts_at(given, np.zeros((2, classes))))
    found = fitted_group_biases(given, odds, gap, 1)
    assert found.gap_before == found.gap == pytest.approx(gap)
    assert not found.moved
    assert fitted_group_biases(given, odds, gap - 0.01, 1).moved


def test_what_several_groups_differ_by_through_chance_costs_little() -> None:
    odds, spent = notions.get("odds", 2), []
    for seed in range(6):
        given = images(seed, (80,) * 6, spread=0.0)
        found = fitted_group_biases(given, odds, 0.05, 30)
        assert found.gap_before > 0.05
        spent.append(found.errors - found.errors_before)
    assert max(spent) <= 12  # and 33 to 68 where chance is not allowed for


def test_a_group_with_too_few_images_of_a_label_keeps_the_common_point() -> None:
    given = images(2, (60, 60, 40), spread=2.0)
    given.labels[given.groups == 2] = 1
    found = fitted_group_biases(given, notions.get("odds", 2), 0.02, 20)
    assert found.too_small == (2,)
    assert found.moved
    assert not found.biases[2].any()
    assert fitted_group_biases(given, notions.get("parity", 2), 0.02, 20).too_small == ()


@pytest.mark.parametrize("sizes", [(80,), (80, 0), (0, 0)])
def test_one_group_has_no_gap(sizes: tuple[int, ...]) -> None:
    found = fitted_group_biases(images(0, sizes), notions.get("odds", 2), 0.0, 1)
    assert not found.moved
    assert np.isnan(found.gap)
    assert list(found.images) == list(sizes)


def test_equal_scores_stay_together_and_belong_to_the_first_class() -> None:
    scores = np.zeros((80, 2))
    scores[40:, 1] = -1.0
    labels = np.tile([0, 1, 1, 1], 20)
    given = FittingImages(scores, labels, np.repeat([0, 1], 40), ("a", "b"))
    assert not fitted_group_biases(given, notions.get("odds", 2), 0.0, 1).moved  # all are taken for the first class
    scores[:40, 1] = 1.0
    found = fitted_group_biases(given, notions.get("odds", 2), 0.0, 1)
    assert found.gap == 0.0
    assert found.errors == 20  # the second class for all
    assert found.biases[0, 1] == 0.0 < 1.0 < found.biases[1, 1]


def test_images_of_no_group_say_nothing() -> None:
    given = images(4, (50, 50), spread=2.0)
    more = FittingImages(
        np.concatenate([given.scores, np.full((30, 2), 3.0)]), np.append(given.labels, np.zeros(30, int)),
        np.append(given.groups, np.full(30, -1)), given.names,
    )  # fmt: skip
    odds = notions.get("odds", 2)
    one, other = (fitted_group_biases(some, odds, 0.02, 1) for some in (given, more))
    np.testing.assert_array_equal(one.biases, other.biases)


def test_of_many_thresholds_some_at_even_ranks_come_near(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    labels, groups = draw.integers(0, 2, 1200), np.repeat([0, 1], 600)
    scores = np.stack([np.zeros(1200), draw.normal(size=1200) + 1.5 * labels - 0.75 + groups], axis=1)
    given, odds = FittingImages(scores, labels, groups, ("a", "b")), notions.get("odds", 2)
    whole = fitted_group_biases(given, odds, 0.05, 30)
    monkeypatch.setattr("fairprune_cli.fairness.group_biases.MOST_CUTS", 200)
    some = fitted_group_biases(given, odds, 0.05, 30)
    assert whole.errors <= some.errors <= whole.errors + 12
    assert max(some.gap, whole.gap) <= 0.05 + 1e-9


def grid_search(given: FittingImages, notion: Notion, tolerance: float) -> tuple[float, int]:
    """The least gap beyond the tolerance and the fewest errors with it, over biases of a small grid."""
    grid = [np.array([0.0, a, b]) for a, b in itertools.product((-1.55, -0.75, 0.0, 0.75, 1.55), repeat=2)]
    tables = []
    for g in range(len(given.names)):
        everywhere = [counts_at(given, np.tile(biases, (len(given.names), 1)))[g] for biases in grid]
        tables.append(everywhere)
    found = []
    for choice in itertools.product(*tables):
        counts = np.stack(choice)
        found.append((max(round(notion.exact(counts) - tolerance, 9), 0.0), int(errors_of(counts).sum())))
    return min(found)


@pytest.mark.parametrize("name", ["parity", "opportunity", "odds"])
def test_three_classes_come_to_what_a_grid_has(name: str) -> None:
    notion, reached, acted = notions.get(name, 3), 0, 0
    for seed in range(5):
        given = images(seed, (45, 36), 3, spread=1.5)
        found = fitted_group_biases(given, notion, 0.15, 1)
        if not found.moved:
            continue
        best = grid_search(given, notion, 0.15)
        acted += 1
        counts = counts_at(given, found.biases)
        assert (found.gap, found.errors) == (pytest.approx(notion.exact(counts)), errors_of(counts).sum())
        assert (np.median(found.biases, axis=1) == 0.0).all()
        now = (max(round(found.gap - 0.15, 9), 0.0), found.errors)
        assert now[0] <= best[0]
        assert found.errors <= best[1] + 3 or now[0] < best[0]
        reached += now <= best
    assert reached >= acted - 1 >= 2


def test_the_coordinate_search_comes_to_what_the_exact_one_has_for_two_classes() -> None:
    odds, equal = notions.get("odds", 2), 0
    for seed in range(8):
        given = images(seed, (60, 50), spread=1.5)
        exact = fitted_group_biases(given, odds, 0.1, 1)
        if not exact.moved:
            continue
        groups = [replace(given.of_group(g, odds), slack=np.zeros(2)) for g in range(2)]
        other = counts_at(given, BiasDescent(groups, odds, 0.1, True).search())
        assert odds.exact(other) <= 0.1 + 1e-9
        assert exact.errors <= errors_of(other).sum() <= exact.errors + 4
        equal += errors_of(other).sum() == exact.errors
    assert equal >= 3


def test_counts_along_a_bias_are_those_of_the_rule() -> None:
    group, biases = images(7, (60, 40), 3).of_group(0, notions.get("odds", 3)), np.array([0.25, 0.0, -0.125])
    for k in range(3):
        values, counts = counts_along(group, biases, k, 12)
        assert len(values) <= 14
        for value, table in zip(values, counts, strict=True):
            np.testing.assert_array_equal(table, group.counts(np.where(np.arange(3) == k, value, biases)))


def test_windows_against_all_choices() -> None:
    draw = np.random.default_rng(0)
    for number in (1, 2):
        for round_ in range(20):
            slack = draw.integers(0, 2, (3, number)) / 10 * (round_ % 2)
            groups = [
                Candidates(draw.integers(0, 6, (number, n)) / 5, draw.random(n), own)
                for n, own in zip((5, 1, 4), slack, strict=True)
            ]
            every = list(itertools.product(*(range(len(one.costs)) for one in groups)))
            for bound in (0.0, 0.2, 0.7):
                kept = [c for c in every if range_of(groups, c) <= bound + 1e-9]
                found = cheapest_within(groups, bound)
                assert (found is None) == (not kept)
                if found is not None:
                    assert range_of(groups, found) <= bound + 1e-8
                    assert cost_of(groups, found) == pytest.approx(min(cost_of(groups, one) for one in kept))
            assert least_bound(groups, 1.0) == pytest.approx(min(range_of(groups, c) for c in every), abs=1e-8)


def cost_of(groups: list[Candidates], choice: Sequence[int]) -> float:
    return float(sum(one.costs[c] for one, c in zip(groups, choice, strict=True)))
