"""Churn and its parts against a slow loop over the images, cases worked by hand, and what always holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairprune_cli.audit.churn import faithfulness_figures
from fairprune_cli.audit.faithfulness_figures import FaithfulnessFigures
from fairprune_cli.audit.figures import Judgement

LOOSE = Judgement(min_group=1)


def images(seed: int, n: int = 400, g: int = 3, k: int = 4) -> dict[str, np.ndarray]:
    """Labels, groups and the predictions of two models, [n] each; the groups differ in how much changes."""
    rng = np.random.default_rng(seed)
    group = rng.choice(g, n, p=np.arange(1, g + 1) / np.arange(1, g + 1).sum())
    label = rng.integers(k, size=n)
    dense = np.where(rng.random(n) < 0.3, rng.integers(k, size=n), label)
    pruned = np.where(rng.random(n) < 0.1 * (1 + group), rng.integers(k, size=n), dense)
    return {"group": group, "label": label, "dense": dense, "pruned": pruned}


def counted(seen: dict[str, np.ndarray], g: int = 3, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    moves, pairs = np.zeros((g, k, k), np.int64), np.zeros((g, 2, 2), np.int64)
    np.add.at(moves, (seen["group"], seen["dense"], seen["pruned"]), 1)
    right = ((seen[m] == seen["label"]).astype(int) for m in ("dense", "pruned"))
    np.add.at(pairs, (seen["group"], *right), 1)
    return moves, pairs


def made(seen: dict[str, np.ndarray], judgement: Judgement = LOOSE) -> FaithfulnessFigures:
    return faithfulness_figures(*counted(seen), ("a", "b", "c"), judgement)


@pytest.mark.parametrize("seed", range(5))
def test_every_count_is_that_of_a_loop_over_the_images(seed: int) -> None:
    seen = images(seed)
    found = made(seen).groups
    times = {group: dict.fromkeys(("n", "churn", "lost", "gained", "otherwise"), 0) for group in "abc"}
    for group, label, dense, pruned in zip(*(seen[x] for x in ("group", "label", "dense", "pruned")), strict=True):
        entry = times["abc"[group]]
        entry["n"] += 1
        if dense != pruned:
            entry["churn"] += 1
            entry["lost" if dense == label else "gained" if pruned == label else "otherwise"] += 1
    changed = sum(entry["churn"] for entry in times.values())
    for group, entry in times.items():
        for part in ("churn", "lost", "gained", "otherwise"):
            figure = getattr(found[group], part)
            assert (figure.images, figure.n) == (entry[part], entry["n"])
            assert figure.value == entry[part] / entry["n"]
        assert found[group].among_changed.images == entry["churn"]
        assert found[group].representation.value == pytest.approx(
            (entry["churn"] / changed) / (entry["n"] / len(seen["group"]))
        )


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_and_gained_minus_lost_is_the_change_of_accuracy(seed: int) -> None:
    seen = images(seed, k=4)
    for g, figures in enumerate(made(seen).groups.values()):
        parts = [figures.lost, figures.gained, figures.otherwise]
        assert figures.churn.images == sum(part.images for part in parts)
        of = seen["group"] == g
        before, now = ((seen[m] == seen["label"])[of].mean() for m in ("dense", "pruned"))
        assert figures.gained.value - figures.lost.value == pytest.approx(now - before)  # type: ignore[operator]


def test_intervals_and_p_by_hand() -> None:
    moves = np.array([[[40, 6], [0, 54]], [[10, 1], [2, 27]]])
    pairs = np.array([[[10, 0], [6, 84]], [[5, 2], [1, 32]]])
    found = faithfulness_figures(moves, pairs, ("m", "f"), Judgement(min_group=50))
    level = 1 - 0.95 ** (1 / 2)
    for group, k, n in (("m", 6, 100), ("f", 3, 40)):
        expected = stats.binomtest(k, n).proportion_ci(1 - level, "exact")
        churn = found.groups[group].churn
        assert (churn.low, churn.high) == pytest.approx((expected.low, expected.high))
    assert found.groups["m"].mcnemar.p == pytest.approx(2 / 64)
    assert found.groups["m"].mcnemar.adjusted == pytest.approx(4 / 64)
    assert found.groups["f"].mcnemar.p == found.groups["f"].mcnemar.adjusted == 1
    assert found.groups["m"].shift.p == pytest.approx(2 / 64)
    among = stats.binomtest(3, 9).proportion_ci(0.975, "exact")
    assert found.groups["f"].among_changed.high == pytest.approx(among.high)
    assert found.groups["f"].representation.high == pytest.approx(among.high * 140 / 40)
    largest, alone = found.largest, stats.binomtest(6, 100).proportion_ci(0.95, "exact")
    assert (largest.value, largest.group, largest.small) == (0.06, "m", ("f",))
    assert (largest.low, largest.high) == pytest.approx((alone.low, alone.high))


def test_intervals_hold_for_all_groups_at_once() -> None:
    rng = np.random.default_rng(0)
    n, truth, missed = np.array([40, 90, 300, 35]), np.array([0.03, 0.1, 0.02, 0.4]), 0
    for _ in range(400):
        k = rng.binomial(n, truth)
        moves = np.stack([n - k, k, 0 * n, 0 * n], 1).reshape(4, 2, 2)
        groups = faithfulness_figures(moves, moves, ("a", "b", "c", "d"), LOOSE).groups.values()
        missed += any(not g.churn.low <= p <= g.churn.high for g, p in zip(groups, truth, strict=True))  # type: ignore[operator]
    assert missed / 400 <= 0.05


def test_without_images_or_changes_nothing_is_invented() -> None:
    moves = np.array([[[3, 0], [0, 4]], [[0, 0], [0, 0]]])
    found = faithfulness_figures(moves, np.array([[[0, 0], [0, 7]], [[0, 0], [0, 0]]]), ("m", "f"), LOOSE)
    assert (found.groups["f"].churn.value, found.groups["f"].churn.why) == (None, "no images")
    assert found.groups["f"].mcnemar.p is found.groups["f"].shift.p is None
    assert found.groups["m"].representation.why == "no prediction changed"
    assert (found.groups["m"].churn.value, found.groups["m"].churn.low) == (0, 0)
    assert found.groups["m"].mcnemar.adjusted == found.groups["m"].shift.adjusted == 1
    assert found.largest.small == ("f",)
    assert faithfulness_figures(moves, moves, ("m", "f"), Judgement()).largest.why == "no group has 30 images"
