"""How far a model's confidence can be trusted, per group: sums gathered batch by batch, and the figures made of them.

Confidence is the softmax probability of the predicted class. Over-confidence is mean confidence minus accuracy: a
mean over images, so that it has an honest interval for few of them. The expected calibration error (Guo et al. 2017,
arXiv 1706.04599; 15 bins of equal width) adds up distances and is therefore never zero: a perfectly calibrated model
with few images shows one too. What it would show by chance stands beside it (consistency resampling, Broecker and
Smith 2007), and below `min_group` images it is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit.figures import BinFigures, CalibrationFigures, Estimate
from fairprune_cli.audit.options import CONFIDENCE, MIN_GROUP, SEED

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15
# Sums are whole numbers of this unit, so that neither their order nor the device changes them.
UNIT = 2.0**-24
_DRAWS = 1000


@dataclass(frozen=True)
class Calibration:
    """Sums by group and bin of confidence, [G, BINS]; bin b holds b / BINS < confidence <= (b + 1) / BINS.

    Attributes:
        n: images, int64.
        right: images classified right, int64.
        confidence: sum of the confidence, float64.
        squares: sum of (confidence - right?)^2, float64.
    """

    n: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]
    squares: NDArray[np.float64]


class Sums:
    """Running sums for one model, by row, a group of images each.

    Attributes:
        table: int64 [R, BINS, 4]: images, right ones, and confidence and its squared error in units of `UNIT`.
    """

    def __init__(self, rows: int) -> None:
        self.table = np.zeros((rows, BINS, 4), np.int64)

    def add(self, confidence: NDArray[np.float32], right: NDArray[np.bool_], rows: NDArray[np.int64]) -> None:
        """Take in images.

        Args:
            confidence: of what is predicted, float32 [B]; right: [B].
            rows: [T, B], T rows that each image belongs to.
        """
        bins = np.clip(np.ceil(confidence * np.float32(BINS)).astype(np.int64), 1, BINS) - 1
        unit = np.float32(UNIT)
        columns = np.ones_like(confidence), right, confidence / unit, (confidence - right) ** 2 / unit
        values = np.rint(np.stack(columns, 1)).astype(np.int64)
        cells = ((rows * BINS + bins) * 4)[..., None] + np.arange(4)
        np.add.at(self.table.reshape(-1), cells.reshape(-1), np.broadcast_to(values, cells.shape).reshape(-1))

    def result(self, rows: slice = slice(None)) -> Calibration:
        """What the rows hold."""
        n, right, confidence, squares = np.moveaxis(self.table[rows], 2, 0)
        return Calibration(n, right, confidence * UNIT, squares * UNIT)


def confidence_of(logits: Tensor, predicted: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Softmax probability of what is predicted, float32 [B]; 0 where logits are not finite, which ends the audit.

    Args:
        logits: [B, K] on the host; predicted: [B], where that is not the class of the largest logit.
    """
    if predicted is not None:
        every: NDArray[np.float32] = logits.softmax(1).nan_to_num(0.0).float().numpy()
        return every[np.arange(len(predicted)), predicted]
    sure = 1 / (logits - logits.amax(1, keepdim=True)).exp().sum(1)
    largest: NDArray[np.float32] = sure.nan_to_num(0.0).float().numpy()
    return largest


def calibration_figures(
    sums: Calibration,
    confidence: float = CONFIDENCE,
    min_group: int = MIN_GROUP,
    seed: int = SEED,
) -> list[CalibrationFigures]:
    """One record per group; over-confidence is positive where the model is surer than it is right."""
    rng = np.random.default_rng([seed, 15])
    return [_figures(sums, g, confidence, min_group, rng) for g in range(len(sums.n))]


def _figures(sums: Calibration, g: int, level: float, least: int, rng: np.random.Generator) -> CalibrationFigures:
    n = int(sums.n[g].sum())
    if n == 0:
        return CalibrationFigures(0, None, Estimate(why="no images"), None, "no images")
    mean, accuracy = float(sums.confidence[g].sum()) / n, int(sums.right[g].sum()) / n
    over = Estimate(mean - accuracy, *_interval(mean, accuracy, float(sums.squares[g].sum()), n, level))
    if n < max(least, 1):
        return CalibrationFigures(n, mean, over, None, f"{n} images, fewer than the {least} asked for")
    chance = _by_chance(sums.n[g], sums.confidence[g], rng)
    error = float(np.abs(sums.confidence[g] - sums.right[g]).sum() / n)
    return CalibrationFigures(n, mean, over, error, "", float(chance.mean()), float(np.quantile(chance, level)))


def _interval(mean: float, accuracy: float, squares: float, n: int, level: float) -> tuple[float, float]:
    """Normal interval of mean confidence minus accuracy, with z^2/4 right and wrong images of that confidence added.

    With the same confidence everywhere it is that of Agresti and Coull (1998) for the accuracy; without the added
    images a group that is all right would have no spread.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    added = z * z / 4
    total = n + 2 * added
    centre = (n * (mean - accuracy) + added * (2 * mean - 1)) / total
    variance = (squares + added * (mean**2 + (1 - mean) ** 2)) / total - centre**2
    half = z * float(np.sqrt(max(variance, 0.0) / total))
    return max(min(centre - half, mean - accuracy), -1.0), min(max(centre + half, mean - accuracy), 1.0)


def _by_chance(n: NDArray[np.int64], confidence: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Calibration errors that a model as right as it is sure would show on as many images."""
    held = n > 0
    count, sure = n[held], confidence[held]
    right = rng.binomial(count, np.clip(sure / count, 0, 1), size=(_DRAWS, len(count)))
    distances: NDArray[np.float64] = np.abs(right - sure).sum(1) / count.sum()
    return distances


def filled_bins(sums: Calibration) -> list[BinFigures]:
    """The bins that hold images, over all groups."""
    n, right, sure = sums.n.sum(0), sums.right.sum(0), sums.confidence.sum(0)
    return [
        BinFigures(b / BINS, (b + 1) / BINS, int(n[b]), float(sure[b] / n[b]), float(right[b] / n[b]))
        for b in range(BINS)
        if n[b]
    ]
