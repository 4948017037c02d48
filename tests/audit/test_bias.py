"""Bias amplification and threshold calibration bias against loops over images and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fairprune_cli.audit.bias import bias_figures
from fairprune_cli.audit.faithfulness_figures import BiasFigures
from fairprune_cli.audit.figures import Judgement

LOOSE = Judgement(min_group=1)


def sample(seed: int, g: int, k: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, labels and predictions, [n] each; labels depend on the group, predictions on both."""
    rng = np.random.default_rng(seed)
    group = rng.integers(g, size=n)
    label = np.where(rng.random(n) < 0.4, group % k, rng.integers(k, size=n))
    wrong = rng.random(n)
    predicted = np.where(wrong < 0.2, group % k, np.where(wrong < 0.3, rng.integers(k, size=n), label))
    return group, label, predicted


def made(images: tuple[np.ndarray, ...], g: int, k: int, judgement: Judgement = LOOSE) -> BiasFigures:
    counts = np.zeros((g, k, k), np.int64)
    np.add.at(counts, images, 1)
    return bias_figures(counts, "abcd"[:g], "wxyz"[:k], judgement)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_amplification_is_that_of_a_loop_over_the_images(seed: int) -> None:
    images = sample(seed, 2, 2)
    found = made(images, 2, 2)
    times = {"label": [0, 0], "predicted": [0, 0], "n": [0, 0]}
    for group, label, predicted in zip(*images, strict=True):
        times["n"][group] += 1
        times["label"][group] += int(label)
        times["predicted"][group] += int(predicted)
    larger = int(times["label"][1] / times["n"][1] > times["label"][0] / times["n"][0])
    before, now = (times[x][larger] / sum(times[x]) for x in ("label", "predicted"))
    assert found.towards == "ab"[larger]
    assert found.amplification.value == pytest.approx(now - before)
    for group, figure in found.thresholds.items():
        i = "ab".index(group)
        rare = found.rare == "x"
        labelled, predicted = (times[x][i] if rare else times["n"][i] - times[x][i] for x in ("label", "predicted"))
        assert (figure.labelled, figure.predicted, figure.n) == (labelled, predicted, times["n"][i])
        assert figure.value == pytest.approx((predicted - labelled) / times["n"][i])
        assert figure.ratio == pytest.approx(predicted / labelled)


@pytest.mark.parametrize(("seed", "g", "k"), [(0, 2, 2), (1, 3, 2), (2, 2, 4), (3, 4, 3)])
def test_directional_amplification_is_that_of_its_definition(seed: int, g: int, k: int) -> None:
    group, label, predicted = images = sample(seed, g, k)
    total = 0.0
    for a in range(g):
        for t in range(k):
            together = np.mean((group == a) & (label == t))
            sign = 1 if together > np.mean(group == a) * np.mean(label == t) else -1
            total += sign * (np.mean(predicted[group == a] == t) - np.mean(label[group == a] == t))
    found = made(images, g, k).directional
    assert found.value == pytest.approx(total / g / k)
    assert found.low < found.value < found.high  # type: ignore[operator]


def test_by_hand() -> None:
    # 100 images of either group; y = 1 for 60 of a and 20 of b; predicted 1 for 70 of a and 10 of b.
    counts = np.array([[[30, 10], [0, 60]], [[80, 0], [10, 10]]])
    found = bias_figures(counts, ("a", "b"), ("no", "yes"), Judgement())
    assert (found.towards, found.rare) == ("a", "yes")
    assert found.amplification.value == pytest.approx(70 / 80 - 60 / 80)
    assert found.directional.value == pytest.approx((0.1 + 0.1) / 2)
    assert [found.thresholds[g].value for g in "ab"] == pytest.approx([0.1, -0.1])
    assert [found.thresholds[g].ratio for g in "ab"] == pytest.approx([70 / 60, 10 / 20])


def test_what_is_not_defined_is_null_with_a_reason() -> None:
    three = made(sample(0, 3, 2), 3, 2)
    assert "two groups" in three.amplification.why
    assert three.directional.value is not None
    four = made(sample(0, 2, 4), 2, 4)
    assert (four.amplification.value, four.rare, four.thresholds) == (None, "", {})
    same = bias_figures(np.array([[[50, 0], [0, 50]], [[50, 0], [0, 51]]]), ("a", "b"), ("no", "yes"), Judgement())
    assert "less than a tenth" in same.amplification.why
    few = bias_figures(np.array([[[50, 0], [0, 9]], [[50, 0], [0, 2]]]), ("a", "b"), ("no", "yes"), Judgement())
    assert few.amplification.why == "fewer than 30 images are labelled yes"
    empty = bias_figures(np.array([[[50, 0], [0, 39]], [[0, 0], [0, 0]]]), ("a", "b"), ("no", "yes"), LOOSE)
    assert empty.amplification.why == "b has no images"
    assert empty.thresholds["b"].why == "no images"
    assert empty.thresholds["b"].ratio_why == "no image has that label"


@pytest.mark.parametrize("shares", [(0.02, 0.02, 0.6, 0.3), (0.15, 0.1, 0.3, 0.1)])
def test_intervals_hold(shares: tuple[float, ...]) -> None:
    alarms, misses, *positive = shares
    rng, sizes = np.random.default_rng(1), np.array([150, 90])
    truth = np.array([[(1 - p) * (1 - alarms), (1 - p) * alarms, p * misses, p * (1 - misses)] for p in positive])
    exact = bias_figures(
        np.round(truth * sizes[:, None] * 10**6).astype(np.int64).reshape(2, 2, 2), ("a", "b"), ("n", "y"), LOOSE
    )
    missed = np.zeros(3)
    for _ in range(1000):
        counts = np.stack([rng.multinomial(n, p) for n, p in zip(sizes, truth, strict=True)]).reshape(2, 2, 2)
        found = bias_figures(counts, ("a", "b"), ("n", "y"), LOOSE)
        for i, (mine, true) in enumerate(
            [(found.amplification, exact.amplification), (found.directional, exact.directional)]
        ):
            if mine.value is not None:
                missed[i] += not mine.low <= true.value <= mine.high  # type: ignore[operator]
        pairs = zip(found.thresholds.values(), exact.thresholds.values(), strict=True)
        missed[2] += any(not f.low <= t.value <= f.high for f, t in pairs)  # type: ignore[operator]
    assert (missed / 1000 <= 0.065).all(), missed
