"""Counts per group x label x prediction, whoever made the predictions: a model here, or one elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fairprune_cli.audit import calibration
from fairprune_cli.audit.calibration import Calibration
from fairprune_cli.audit.rates import Counts
from fairprune_cli.audit.result import AuditResult

DENSE = "dense"


class GroupCounts:
    """Running counts for all attributes at once, whole numbers.

    The rows of a table are groups: first one that holds all images, then those of each attribute and one more, which
    takes the images that are in none.
    """

    def __init__(self, models: Sequence[str], sizes: Sequence[int], classes: int) -> None:
        """Nothing counted yet.

        Args:
            models: their names; one called "dense" is what the others are paired with.
            sizes: how many groups each attribute has.
        """
        self.classes, self.models = classes, list(models)
        self.paired = [name for name in models if name != DENSE] if DENSE in models else []
        self.sizes = np.array(sizes, dtype=np.int64)
        # Where the rows of all images begin, of each attribute, and where the last ones end.
        self.starts = np.cumsum([0, 1, *(size + 1 for size in sizes)])
        height = int(self.starts[-1])
        self.counts = {m: np.zeros((height, classes, classes), np.int64) for m in models}
        self.pairs = {m: np.zeros((height, 2, 2), np.int64) for m in self.paired}
        # Of a thousand classes most cells are never touched, and take no memory.
        self.moves = {m: np.zeros((height, classes, classes), np.int64) for m in self.paired}
        self.sureness = {m: calibration.Sums(height) for m in models}

    def tables(self) -> list[np.ndarray]:
        """All that is counted, int64."""
        sums = [sums.table for sums in self.sureness.values()]
        return [*self.counts.values(), *self.pairs.values(), *self.moves.values(), *sums]

    def add(
        self, labels: np.ndarray, groups: np.ndarray, predicted: Mapping[str, np.ndarray],
        confidence: Mapping[str, np.ndarray],
    ) -> None:  # fmt: skip
        """Count images.

        Args:
            labels: int64 [B]; groups: int64 [B, A], -1 where in none.
            predicted: of each model, int64 [B].
            confidence: of the models that tell it, the probability of what they predict, float32 [B].
        """
        if groups.shape[1] != len(self.sizes):
            raise ValueError(f"{groups.shape[1]} columns of groups for {len(self.sizes)} attributes")
        rows = np.zeros((1 + len(self.sizes), len(labels)), np.int64)
        rows[1:] = (np.where(groups < 0, self.sizes, groups) + self.starts[1:-1]).T
        right = {}
        for name, predictions in predicted.items():
            count_cells(self.counts[name], rows, labels * self.classes + predictions)
            right[name] = predictions == labels
            if name in confidence:
                self.sureness[name].add(confidence[name], right[name], rows)
        for name in self.paired:
            count_cells(self.pairs[name], rows, right[DENSE] * 2 + right[name])
            count_cells(self.moves[name], rows, predicted[DENSE] * self.classes + predicted[name])

    def result(self, classes: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> AuditResult:
        """What was counted; models whose confidence nobody told have no figures of calibration."""
        spans = {name: slice(*self.starts[a + 1 : a + 3]) for a, name in enumerate(groups)}

        def by_group(table: Counts) -> dict[str, Counts]:
            return {name: table[span][:-1] for name, span in spans.items()}

        first = self.counts[self.models[0]]
        return AuditResult(
            classes,
            groups,
            overall={m: table[0] for m, table in self.counts.items()},
            by_group={m: by_group(table) for m, table in self.counts.items()},
            overall_pairs={m: table[0] for m, table in self.pairs.items()},
            pairs={m: by_group(table) for m, table in self.pairs.items()},
            ungrouped={name: int(first[span][-1].sum()) for name, span in spans.items()},
            sureness={m: self._sureness(m, spans) for m in self.models if self.sureness[m].table.any()},
            moves={m: by_group(table) | {"": table[:1]} for m, table in self.moves.items()},
        )

    def _sureness(self, model: str, spans: Mapping[str, slice]) -> dict[str, Calibration]:
        """Sums by attribute without the images that are in no group; under "" those of all images."""
        sums = self.sureness[model]
        of_groups = {name: slice(span.start, span.stop - 1) for name, span in spans.items()}
        return {name: sums.result(span) for name, span in {"": slice(1), **of_groups}.items()}


def count_cells(table: Counts, rows: np.ndarray, cells: np.ndarray) -> None:
    """Add one to a cell [B] of a row for each image, in every line of `rows` [T, B]; `table` [R, ...]."""
    width = table[0].size
    np.add.at(table.reshape(-1), (rows * width + cells).reshape(-1), 1)
