"""Why a model is not better than one answer to all images: other ways to read images and outputs, tried on some.

Nothing is tried of a model that is better. A change is named where it makes the model better than one answer and better
than it is, both beyond chance, however many changes were tried (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fairprune_cli.audit.class_order import ClassOrder, class_orders, log_chance
from fairprune_cli.audit.constant_answer import exact_bounds
from fairprune_cli.audit.doubt import Cause, ConstantAnswer
from fairprune_cli.audit.rates import Counts
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.load import Manifest
from fairprune_cli.run.image_readings import Reading, Sample, readings

COUNT = 200  # images
SHOWN = 3  # changes that are named
AS_GOOD = 0.02  # by how much less a change that is simpler may reach and yet be preferred
MUCH_WORSE = 0.1  # than the best one: not worth a word


@dataclass(frozen=True)
class _Tried:
    """A change, how often it is right, and a bound of the logarithm of the chance that it is so without a reason."""

    reading: Reading | None
    order: ClassOrder | None
    correct: int
    log_p: float

    @property
    def changes(self) -> int:
        return (self.reading is not None) + (self.order is not None)


@dataclass(frozen=True)
class Search:
    """Where causes are looked for: the audited images, and what the networks are made for.

    Attributes:
        pool: the images; data are those of `manifest`.
        confidence: with which no change is named without a reason; seed: of the choice of images.
    """

    manifest: Manifest
    pool: Pool
    device: torch.device
    confidence: float
    seed: int
    terminal: Terminal

    def explained(self, found: ConstantAnswer, counts: Counts, task: int, model: nn.Module | None) -> ConstantAnswer:
        """The same with what would make the model better.

        Args:
            counts: int64 [K, K], label x prediction; without a model they alone are looked at.
            task: by its number; model: with its read-out.
        """
        classes = self.manifest.tasks[task].classes
        if model is None:
            n, tried = int(counts.sum()), [_of_order(None, order) for order in class_orders(counts, classes)]
            likely = self._likely(tried)
            if not likely:
                return found
        else:
            rows = balanced_rows(self.pool, task, self.seed)
            n, (tried, likely) = len(rows), self._tried(model, rows, task)
        causes = tuple(_cause(one, n, classes, self.confidence) for one in _worth_naming(likely, n))
        return replace(found, causes=causes, tried=len(tried), tried_on=n)

    def _likely(self, tried: Sequence[_Tried]) -> list[_Tried]:
        level = math.log((1 - self.confidence) / 2 / max(len(tried), 1))
        return [one for one in tried if one.log_p <= level]

    def _tried(self, model: nn.Module, rows: np.ndarray, task: int) -> tuple[list[_Tried], list[_Tried]]:
        """All that is tried, and what of it is likely; images are decoded again only where nothing else is."""
        tasks = self.manifest.tasks
        sample = Sample(self.manifest, self.pool, rows, [len(one.classes) for one in tasks], task, self.device)
        labels, now = tasks[task].labels[rows], sample.predictions(model, None)
        ways = readings(self.pool.images.transform, self.manifest.transform)
        found: list[_Tried] = [] if now is None else _tried_of(None, now, now, labels, tasks[task].classes)
        with self.terminal.progress("looking for the cause", len(ways)) as display:
            for done, reading in enumerate(sorted(ways, key=lambda way: way.decodes), 1):
                if not (reading.decodes and self._likely(found)):
                    predicted = sample.predictions(model, reading)
                    if now is not None and predicted is not None:
                        found += _tried_of(reading, predicted, now, labels, tasks[task].classes)
                display.update(done)
        return found, self._likely(found)


def _tried_of(
    reading: Reading | None, predicted: np.ndarray, now: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[_Tried]:
    """A reading alone, and with the classes in other orders.

    Args:
        predicted, now: int64 [n], what the model predicts with it and without; labels: int64 [n].
    """
    found = []
    if reading is not None:
        correct, share = int((predicted == labels).sum()), float(np.bincount(labels).max() / len(labels))
        log_p = max(log_chance(correct, len(labels), share), _gained(predicted, now, labels))
        found.append(_Tried(reading, None, correct, log_p))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    for order in class_orders(counts, classes):
        one = _of_order(reading, order)
        found.append(replace(one, log_p=max(one.log_p, _gained(order.read(predicted), now, labels))))
    return found


def balanced_rows(pool: Pool, task: int, seed: int, count: int = COUNT) -> np.ndarray:
    """Up to so many images of the pool, int64 [n], ascending: as many of each class as there are, chosen at random."""
    order = np.random.default_rng(seed).permutation(pool.rows)
    labels = pool.images.manifest.tasks[task].labels[order]
    turn = np.zeros(len(order), np.int64)  # how many images of its class come before
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.sort(order[np.argsort(turn, kind="stable")][:count])


def _of_order(reading: Reading | None, order: ClassOrder) -> _Tried:
    return _Tried(reading, order, order.correct, order.log_p)


def _gained(predicted: np.ndarray, before: np.ndarray, labels: np.ndarray) -> float:
    """Logarithm of the chance that predictions are so much oftener right than others, McNemar's one-sided test."""
    right, was = predicted == labels, before == labels
    gained, lost = int((right & ~was).sum()), int((was & ~right).sum())
    return log_chance(gained, gained + lost, 0.5)


def _worth_naming(likely: Sequence[_Tried], n: int) -> list[_Tried]:
    """The best ones; two changes at once only where one alone is not as good."""
    if not likely:
        return []
    single = max((one.correct for one in likely if one.changes == 1), default=0)
    left = [one for one in likely if one.changes == 1 or one.correct > single + AS_GOOD * n]
    best = max(one.correct for one in left)
    left = [one for one in left if one.correct >= best - MUCH_WORSE * n]
    return sorted(left, key=lambda one: -one.correct)[:SHOWN]


def _cause(one: _Tried, n: int, classes: Sequence[str], confidence: float) -> Cause:
    changes, mends = [], []
    mean, std, size, named = None, None, None, None
    if one.reading is not None:
        changes.append(one.reading.change)
        mends.append(one.reading.mend)
        transform, own = one.reading.transform, one.reading.own
        mean, std = (transform.mean, transform.std) if "mean" in own else (None, None)
        size = (transform.shape.height, transform.shape.width) if "size" in own else None
    if one.order is not None:
        named = tuple(classes[k] for k in one.order.order)
        changes.append(f"with the classes {one.order.how}")
        mends.append(f"write `classes: [{', '.join(named)}]`, the order of its outputs, or mend the labels")
    low, high = exact_bounds(one.correct, n, confidence)
    return Cause(" and ".join(changes), "; and ".join(mends), one.correct / n, low, high, n, mean, std, size, named)


def explain(
    search: Search, found: Mapping[str, ConstantAnswer | None], counts: Mapping[str, Counts], task: int,
    models: Mapping[str, nn.Module],
) -> dict[str, ConstantAnswer]:  # fmt: skip
    """Of each model that is not better than one answer, by name: what would make it so."""
    return {
        name: search.explained(one, counts[name], task, models.get(name))
        for name, one in found.items()
        if one is not None and not one.better
    }
