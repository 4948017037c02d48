"""Figures of runs from their predicted classes, intervals that hold beyond these runs, and many comparisons at once.

The variance of a mean over draws, seeds and test images comes from a hierarchical bootstrap. Within each draw of the
data, seeds and images are resampled, the same images for every method and seed: S - 1 of S seeds, which makes the
variance that of a sample without bias (Rao and Wu 1988). Where the draws' own means vary more, that is the variance.
Intervals and p-values take the mean of Student's quantiles, weighted by the parts of the variance (Cochran 1964,
Biometrics 20, 191): D - 1 degrees of freedom for what the means of D draws vary; for what they vary less than that
bootstrap, S - 1 of each draw for its S seeds and any number for images. So they hold for a handful of seeds and draws,
where Satterthwaite's degrees of freedom and quantiles of resamples make them too narrow.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, stats

from fairprune_cli.compare.statistics import seed_spread
from fairprune_cli.fairness import notions

FIGURES = ("accuracy", "gap", "odds", "psi", "worst")
LOWER_IS_BETTER = ("gap", "odds", "psi")
CONFIDENCE = 0.95
_LEAST = {"psi": -1.0}  # of the others it is 0
Variances = Sequence[tuple[float, float]]  # parts of a variance, each with its degrees of freedom
_LEAST_P = 1e-200  # less is 0
_PART = 250  # resamples at once, for memory's sake


@dataclass(frozen=True)
class DrawRuns:
    """The runs on one draw of the data: its audited images, and what every method and seed made of them.

    Attributes:
        labels, groups: int [n]; a group of -1 is none.
        predicted: by method, int [S, n], the same seeds in the same order; `dense` is among them.
    """

    labels: np.ndarray
    groups: np.ndarray
    predicted: Mapping[str, np.ndarray]

    @property
    def seeds(self) -> int:
        return len(next(iter(self.predicted.values())))

    def cells(self, method: str, seed: int, groups: int, classes: int) -> np.ndarray:
        """Of each image its group x label x prediction as one number, int64 [n]; the last group is none."""
        group = np.where(self.groups < 0, groups, self.groups).astype(np.int64)
        return (group * classes + self.labels) * classes + self.predicted[method][seed]


def figures(counts: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """Accuracy, accuracy gap, odds, largest excess degradation and least accuracy of a group.

    Args:
        counts, dense: [B, G + 1, K, K] group x label x prediction of a model and of the dense one on the same images;
            the last group holds images of no group, which count in the accuracy alone.

    Returns:
        [B, 5] in 0..1, in the order of FIGURES; NaN where a group or a rate is empty in all of its groups but one.
    """
    whole, group = _accuracies(counts)
    dense_whole, dense_group = _accuracies(dense)
    excess = (dense_group - group) - (dense_whole - whole)[:, None]  # Hashemizadeh et al., arXiv 2310.20673
    notion = notions.get("odds", counts.shape[-1])
    known = counts[:, :-1]
    event, member = (notion.event & notion.population[:, :, None]).astype(float), notion.members
    odds = _spread(_ratio(np.einsum("myp,bgyp->bmg", event, known), np.einsum("my,bgyp->bmg", member, known)))
    with np.errstate(invalid="ignore"):
        result = [whole, _spread(group[:, None])[:, 0], np.nanmax(odds, 1), np.nanmax(excess, 1), np.nanmin(group, 1)]
    return np.stack(result, axis=1)


def _accuracies(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of all images [B], and of each group [B, G]."""
    right = np.einsum("bgyy->bg", counts)
    size = counts.sum(axis=(2, 3))
    return right.sum(1) / size.sum(1), _ratio(right, size)[:, :-1]


def _ratio(part: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.divide(part, size, out=np.full(part.shape, np.nan), where=size > 0)


def _spread(rates: np.ndarray) -> np.ndarray:
    """Largest difference along the last axis of those that are there; NaN where fewer than two are."""
    there = ~np.isnan(rates)
    high = np.where(there, rates, -np.inf).max(-1)
    low = np.where(there, rates, np.inf).min(-1)
    return np.where(there.sum(-1) >= 2, high - low, np.nan)


class Measured(ABC):
    """Figures of methods, run by run, with their intervals.

    Args:
        runs: by method, [R, 5], the figures of each run, draw by draw.
        draw_of_run: int [R].
    """

    def __init__(self, runs: dict[str, np.ndarray], draw_of_run: np.ndarray) -> None:
        self.runs, self.draw_of_run = runs, draw_of_run

    @property
    def methods(self) -> list[str]:
        return list(self.runs)

    @property
    @abstractmethod
    def resampled(self) -> dict[str, np.ndarray]:
        """By method, means over resampled seeds on resampled images of each draw, [D, resamples, 5]."""

    def spread(self, method: str, figure: str) -> dict[str, Any]:
        """A figure of a method in 0..1, its interval too: {n, mean, low, high, se, over_runs}."""
        at = FIGURES.index(figure)
        record = self._record(self.runs[method][:, at], self.resampled[method][:, :, at])
        return {**record, "low": max(record["low"], _LEAST.get(figure, 0.0)), "high": min(record["high"], 1.0)}

    def difference(self, method: str, other: str, figure: str) -> dict[str, Any]:
        """A method's figure minus another's, paired: {n, mean, low, high, se, p, over_runs}."""
        at = FIGURES.index(figure)
        return self._record(
            self.runs[method][:, at] - self.runs[other][:, at],
            self.resampled[method][:, :, at] - self.resampled[other][:, :, at],
        )

    def _record(self, runs: np.ndarray, resampled: np.ndarray) -> dict[str, Any]:
        """runs: [R]; resampled: [D, resamples]."""
        of_draws = [runs[self.draw_of_run == draw] for draw in range(len(resampled))]
        mean = float(np.mean([of.mean() for of in of_draws]))
        parts = self._variances(of_draws, resampled)
        error = sum(variance for variance, _ in parts) ** 0.5
        half = quantile(parts, (1 - CONFIDENCE) / 2) * error if error != 0 else 0.0
        p = two_sided(parts, abs(mean) / error) if error > 0 else float(mean == 0)
        over_runs = seed_spread([float(run) for run in runs], CONFIDENCE)
        return {"n": len(runs), "mean": mean, "low": mean - half, "high": mean + half, "se": error, "p": p,
                "over_runs": {key: over_runs[key] for key in ("low", "high")}}  # fmt: skip

    def _variances(self, of_draws: Sequence[np.ndarray], resampled: np.ndarray) -> Variances:
        """Of the mean of runs, by what varies: images, seeds, draws."""
        count, runs = len(of_draws), sum(map(len, of_draws))
        within = float(np.var(resampled, axis=1, ddof=1).sum()) / count**2
        # A single seed tells nothing of seeds: then images alone are resampled, which are many.
        seeds = sum(float(np.var(of, ddof=1)) / len(of) for of in of_draws if len(of) > 1) / count**2
        seen = float(np.var([of.mean() for of in of_draws], ddof=1)) / count if count > 1 else 0.0
        unseen = max(within - seen, 0.0)
        by_seeds = unseen * min(seeds / within, 1.0) if within else 0.0
        return ((unseen - by_seeds, math.inf), (by_seeds, max(runs - count, 1)), (seen, max(count - 1, 1)))


class Cell(Measured):
    """All runs of one cell, and the resamples that are shared by whatever is asked of them.

    Args:
        draws: each with the same methods.
        resamples: of the bootstrap.
        seed: of its random numbers.

    Attributes:
        group_accuracies: by method, [R, G].
    """

    def __init__(self, draws: Sequence[DrawRuns], resamples: int, seed: int = 0) -> None:
        self.draws, self._resamples, self._seed = draws, resamples, seed
        self._groups = 1 + max(int(draw.groups.max()) for draw in draws)
        self._classes = 1 + max(
            int(max(draw.labels.max(), *(seen.max() for seen in draw.predicted.values()))) for draw in draws
        )
        runs, self.group_accuracies = self._as_seen()
        super().__init__(runs, np.repeat(np.arange(len(draws)), [draw.seeds for draw in draws]))

    def _as_seen(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        methods = list(self.draws[0].predicted)
        runs: dict[str, list[np.ndarray]] = {method: [] for method in methods}
        groups: dict[str, list[np.ndarray]] = {method: [] for method in methods}
        for draw in self.draws:
            once = np.ones((1, len(draw.labels)), dtype=np.float32)
            for seed in range(draw.seeds):
                dense = self._counts(draw, "dense", seed, once)
                for method in methods:
                    counts = self._counts(draw, method, seed, once)
                    runs[method].append(figures(counts, dense)[0])
                    groups[method].append(_accuracies(counts)[1][0])
        return ({method: np.array(of) for method, of in runs.items()},
                {method: np.array(of) for method, of in groups.items()})  # fmt: skip

    def _counts(self, draw: DrawRuns, method: str, seed: int, weights: np.ndarray) -> np.ndarray:
        """[B, G + 1, K, K] with each image counted as often as the weights [B, n] say."""
        shape = (self._groups + 1, self._classes, self._classes)
        cells = draw.cells(method, seed, self._groups, self._classes)
        one_hot = np.zeros((len(cells), int(np.prod(shape))), dtype=np.float32)
        one_hot[np.arange(len(cells)), cells] = 1.0
        return (weights @ one_hot).astype(float).reshape(-1, *shape)

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        # Cells with the same draws resample the same seeds and images, which keeps them paired in an Average.
        generator = np.random.default_rng(self._seed)
        result = {method: np.zeros((len(self.draws), self._resamples, len(FIGURES))) for method in self.methods}
        for number, draw in enumerate(self.draws):
            for start in range(0, self._resamples, _PART):
                times = min(_PART, self._resamples - start)
                for method, found in self._resample(draw, times, generator).items():
                    result[method][number, start : start + times] = found
        return result

    def _resample(self, draw: DrawRuns, times: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """By method, [times, 5]."""
        drawn = max(draw.seeds - 1, 1)
        seeds = _times(generator, times, draw.seeds, drawn) / drawn
        images = _times(generator, times, len(draw.labels), len(draw.labels))
        result = {method: np.zeros((times, len(FIGURES))) for method in self.methods}
        for seed in range(draw.seeds):
            dense = self._counts(draw, "dense", seed, images)
            for method in self.methods:
                counts = dense if method == "dense" else self._counts(draw, method, seed, images)
                result[method] += seeds[:, seed, None] * figures(counts, dense)
        return result


class Average(Measured):
    """The mean of a task's cells, run by run and resample by resample, of the methods that all of them have.

    Args:
        cells: with the same draws, seeds and resamples, in the same order.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        common = [method for method in cells[0].methods if all(method in cell.runs for cell in cells)]
        runs = {method: np.mean([cell.runs[method] for cell in cells], axis=0) for method in common}
        super().__init__(runs, cells[0].draw_of_run)

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        return {
            method: np.mean([cell.resampled[method] for cell in self._cells], axis=0) for method in self.methods
        }  # fmt: skip


def quantile(parts: Variances, tail: float) -> float:
    """What a mean over its estimated error exceeds with this probability: Student's, weighted by the variances."""
    whole = sum(variance for variance, _ in parts)
    return sum(variance / whole * float(stats.t.isf(tail, freedom)) for variance, freedom in parts)


def two_sided(parts: Variances, ratio: float) -> float:
    """The p-value of a mean that is so many errors away from zero, 1 - the level at which its interval ends there."""
    if ratio <= 0 or ratio >= quantile(parts, _LEAST_P / 2):
        return float(ratio <= 0)
    log = optimize.brentq(lambda log: quantile(parts, math.exp(log) / 2) - ratio, math.log(_LEAST_P), 0.0, xtol=1e-9)
    return math.exp(log)


def _times(generator: np.random.Generator, resamples: int, count: int, drawn: int) -> np.ndarray:
    """How often each of `count` is among so many drawn with replacement, float32 [resamples, count]."""
    places = generator.integers(0, count, (resamples, drawn)) + count * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float32)


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted so that all comparisons together err with their level (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p, dtype=float)[order]), 1.0)
    return [float(value) for value in adjusted]
