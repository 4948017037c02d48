"""Thresholds of groups on the images of an audit: applied, and held against the common threshold.

The groups are those of the points' attribute, which need not be among those that the audit is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairprune_cli.audit import intervals
from fairprune_cli.audit.figures import ChangeFigure, Estimate, GapFigure, Judgement, ShareFigure
from fairprune_cli.audit.group_counts import DENSE, GroupCounts
from fairprune_cli.audit.rates import rates_of
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.fairness import notions
from fairprune_cli.models.file.group_points import GroupPoints, predicted_at

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.audit.logits import Seen

OWN = "pruned"  # what is paired with DENSE, which is the common threshold here


@dataclass(frozen=True)
class PointsInUse:
    """The points of one task, and the group of each image.

    Attributes:
        names: of the groups that the data have; those without points keep the common one.
        index: int [N], the group of each row of the manifest, -1 where in none.
    """

    points: GroupPoints
    names: tuple[str, ...]
    index: np.ndarray

    def predicted(self, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The class of images, int64 [n]; scores [n, K], rows [n] of the manifest."""
        return predicted_at(scores, self.points.table(self.names), self.index[rows])


def predictions(table: Tensor, images: Seen, use: PointsInUse | None) -> np.ndarray:
    """The class of images on the host, int64 [n], from scores [n, K]: by the groups' points, or without."""
    if use is None:
        return np.asarray(table.argmax(1).numpy())
    assert images.rows is not None  # batches of a pool have them
    return use.predicted(table.numpy(), images.rows.numpy())


@dataclass(frozen=True)
class BothPoints:
    """A figure at the common threshold and at the groups' own."""

    common: Estimate
    own: Estimate


@dataclass(frozen=True)
class GroupAtPoints:
    """A group of `n` images: its accuracy, and how much that changed on the same images."""

    n: int
    accuracy: BothPoints
    change: ChangeFigure


@dataclass(frozen=True)
class RateAtPoints:
    """A rate of the notion, in words, by group; `of` says out of what, and the figures are `ShareFigure`s."""

    rate: str
    of: str
    groups: Mapping[str, BothPoints]


@dataclass(frozen=True)
class PointsFigures:
    """What the points of one task do on the audited images.

    Attributes:
        judged: whether the other figures of the model, and its gates, are those with them.
        gaps: by notion, accuracies and rates.
    """

    points: GroupPoints
    judged: bool
    notion: str
    accuracy: BothPoints
    change: ChangeFigure
    groups: Mapping[str, GroupAtPoints]
    gaps: Mapping[str, tuple[GapFigure, GapFigure]]
    rates: tuple[RateAtPoints, ...]


class PointsTally(GroupCounts):
    """Counts at the common threshold and at the groups' own, as of two models."""

    def __init__(self, use: PointsInUse) -> None:
        super().__init__([DENSE, OWN], [len(use.names)], len(use.points.classes))
        self.use = use

    def look(self, images: Seen, table: Tensor) -> None:
        """Count images on the host, with the scores [n, K] of the network."""
        assert images.rows is not None
        predicted = {DENSE: predictions(table, images, None), OWN: predictions(table, images, self.use)}
        self.add(images.labels.numpy(), self.use.index[images.rows.numpy()][:, None], predicted, {})

    def figures(self, judgement: Judgement, judged: bool) -> PointsFigures:
        """What was counted. The rates are those of the notion that was fitted, where that is one of the listed ones."""
        points, attribute = self.use.points, self.use.points.attribute
        result = self.result(points.classes, {attribute: self.use.names})
        models = result.figures(judgement).models
        common, own = models[DENSE], models[OWN]
        assert own.against_dense is not None
        listed = points.notion in notions.names()  # what a file names is not imported
        notion = points.notion if listed else judgement.notions[0]
        groups = {
            name: GroupAtPoints(
                one.n, BothPoints(one.accuracy, own.attributes[attribute].groups[name].accuracy),
                own.degradation[attribute].groups[name],
            )
            for name, one in common.attributes[attribute].groups.items()
        }  # fmt: skip
        gaps = {
            name: (gap, own.attributes[attribute].gaps[name])
            for name, gap in common.attributes[attribute].gaps.items()
            if name == "accuracy" or gap.compares == "rates"
        }
        return PointsFigures(
            points, judged, notion, BothPoints(common.accuracy, own.accuracy), own.against_dense, groups, gaps,
            _rates(result, notion, attribute, judgement),
        )  # fmt: skip


def _rates(result: AuditResult, notion: str, attribute: str, judgement: Judgement) -> tuple[RateAtPoints, ...]:
    found = notions.get(notion, len(result.classes))
    both = [rates_of(found, result.counts(model, attribute), result.classes) for model in (DENSE, OWN)]
    rates = []
    for common, own in zip(*both, strict=True):
        shares = [_shares(one.k, one.n, f"no {one.of}", judgement.confidence) for one in (common, own)]
        named = zip(result.groups[attribute], *shares, strict=True)
        rates.append(RateAtPoints(common.name, common.of, {name: BothPoints(a, b) for name, a, b in named}))
    return tuple(rates)


def _shares(k: np.ndarray, n: np.ndarray, why: str, confidence: float) -> Sequence[ShareFigure]:
    low, high = intervals.share_interval(k, n, confidence)
    return [
        ShareFigure(int(hits) / int(size), float(a), float(b), n=int(size)) if size else ShareFigure(why=why)
        for hits, size, a, b in zip(k, n, low, high, strict=True)
    ]
