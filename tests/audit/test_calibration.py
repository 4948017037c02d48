"""Calibration sums and figures against plain loops and fairlearn's frame, and how often the interval holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fairprune_cli.audit.calibration import BINS, Sums, calibration_figures, confidence_of, filled_bins

fairlearn = pytest.importorskip("fairlearn.metrics")


def gathered(logits: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, size: int, batch: int = 64) -> Sums:
    sums = Sums(size)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        sums.add(
            confidence_of(logits[part]), (logits[part].argmax(1) == labels[part]).numpy(), groups[part].numpy()[None]
        )
    return sums


def draw(n: int, classes: int, groups: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator)
    chance = (0.7 * logits).softmax(1)  # the model is surer than it should be
    labels = torch.multinomial(chance, 1, generator=generator).squeeze(1)
    return logits, labels, torch.randint(groups, (n,), generator=generator)


@pytest.mark.parametrize("classes", [2, 5])
def test_figures_equal_fairlearns_frame_of_the_textbook_formulas(classes: int) -> None:
    logits, labels, groups = draw(3000, classes, 3)
    sure, predicted = (x.numpy() for x in logits.double().softmax(1).max(1))
    right = (predicted == labels.numpy()).astype(float)

    def error(right: np.ndarray, sure: np.ndarray) -> float:
        at = np.clip(np.ceil(sure * BINS), 1, BINS)
        return sum(abs((right - sure)[at == b].sum()) for b in np.unique(at)) / len(sure)

    frame = fairlearn.MetricFrame(
        metrics={
            "confidence": lambda _, s: s.mean(), "overconfidence": lambda r, s: (s - r).mean(), "ece": error,
            "n": lambda r, _: len(r),
        },
        y_true=right, y_pred=sure, sensitive_features=groups.numpy(),
    )  # fmt: skip
    found = calibration_figures(gathered(logits, labels, groups, 3).result())
    for name in ("n", "confidence", "overconfidence", "ece"):
        mine = [getattr(record, name) for record in found]
        mine = [of.value for of in mine] if name == "overconfidence" else mine
        assert mine == pytest.approx(frame.by_group[name].tolist(), abs=1e-6)
    for record in found:
        assert record.overconfidence.low < record.overconfidence.value < record.overconfidence.high
        assert record.ece > record.ece_chance_high > record.ece_chance > 0


def test_batches_and_their_order_change_nothing() -> None:
    logits, labels, groups = draw(500, 3, 2)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    whole = gathered(logits, labels, groups, 2, 500).result()
    other = gathered(logits[order], labels[order], groups[order], 2, 7).result()
    assert np.array_equal(whole.confidence, other.confidence)
    assert np.array_equal(whole.squares, other.squares)
    assert calibration_figures(whole) == calibration_figures(other)


def test_bins_hold_every_image_once() -> None:
    sums = gathered(*draw(800, 2, 2), 2).result()
    found = filled_bins(sums)
    assert sum(b.n for b in found) == 800
    for b in found:
        assert b.low < b.confidence <= b.high
        assert 0 <= b.accuracy <= 1


def test_few_images_leave_the_error_undefined_and_none_leave_everything_so() -> None:
    logits, labels, _ = draw(20, 2, 1)
    few, none = calibration_figures(gathered(logits, labels, torch.zeros(20, dtype=torch.long), 2).result())
    assert few.ece is None
    assert "20 images, fewer than the 30" in few.ece_why
    assert few.overconfidence.value is not None
    assert (none.n, none.confidence, none.overconfidence.value, none.ece) == (0, None, None, None)
    assert none.ece_why == "no images"


def test_a_group_that_is_all_right_still_has_an_interval() -> None:
    logits = torch.tensor([[4.0, 0.0]]).repeat(40, 1)
    record = calibration_figures(
        gathered(logits, torch.zeros(40, dtype=torch.long), torch.zeros(40, dtype=torch.long), 1).result()
    )[0]
    assert record.overconfidence.low <= record.overconfidence.value < 0 < record.overconfidence.high


@pytest.mark.parametrize("n", [40, 400])
def test_a_calibrated_model_is_rarely_called_miscalibrated(n: int) -> None:
    rng = np.random.default_rng(n)
    outside = beyond = 0
    trials = 150
    for seed in range(trials):
        sure = rng.uniform(0.55, 0.999, n)
        right = rng.random(n) < sure
        logits = torch.tensor(np.stack([np.log(sure), np.log1p(-sure)], 1)).float()
        sums = Sums(1)
        sums.add(confidence_of(logits), right, np.zeros((1, n), np.int64))
        record = calibration_figures(sums.result(), seed=seed)[0]
        outside += not record.overconfidence.low <= 0 <= record.overconfidence.high
        beyond += record.ece > record.ece_chance_high
    # 5 % and 2.2 standard errors of this simulation.
    assert outside / trials <= 0.09
    assert beyond / trials <= 0.09
