"""Other ways to read images and outputs, tried on some of the images: why a model is no better than one answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fairprune_cli.audit.class_order import likely
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.rates import Counts
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.load import Manifest
from fairprune_cli.run.causes import Tried, by_counts_alone, tried_of, with_causes
from fairprune_cli.run.image_readings import Sample, readings

COUNT = 200  # images


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
            return by_counts_alone(found, counts, classes, self.confidence)
        rows = rows_of_each_class(self.pool, task, self.seed)
        return with_causes(found, self._tried(model, rows, task), len(rows), classes, self.confidence)

    def _tried(self, model: nn.Module, rows: np.ndarray, task: int) -> list[Tried]:
        """All that is tried; images are decoded again only where nothing else is likely."""
        tasks = self.manifest.tasks
        sample = Sample(self.manifest, self.pool, rows, [len(one.classes) for one in tasks], task, self.device)
        labels, now = tasks[task].labels[rows], sample.predictions(model, None)
        ways = readings(self.pool.images.transform, self.manifest.transform)
        found: list[Tried] = [] if now is None else tried_of(None, now, now, labels, tasks[task].classes)
        with self.terminal.progress("looking for the cause", len(ways)) as display:
            for done, reading in enumerate(sorted(ways, key=lambda way: way.decodes), 1):
                if not (reading.decodes and likely(found, self.confidence)):
                    predicted = sample.predictions(model, reading)
                    if now is not None and predicted is not None:
                        found += tried_of(reading, predicted, now, labels, tasks[task].classes)
                display.update(done)
        return found


def rows_of_each_class(pool: Pool, task: int, seed: int, count: int = COUNT) -> np.ndarray:
    """Up to so many images of the pool, int64 [n], ascending: as many of each class as there are, chosen at random."""
    order = np.random.default_rng(seed).permutation(pool.rows)
    labels = pool.images.manifest.tasks[task].labels[order]
    turn = np.zeros(len(order), np.int64)  # how many images of its class come before
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.sort(order[np.argsort(turn, kind="stable")][:count])
