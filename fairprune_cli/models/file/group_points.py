"""Operating points of groups as a model's file holds them, as a table for other tools, and applied to scores.

The network knows no group: whoever uses a point needs the group of each image beside its scores, and may be forbidden
to use it (docs/evidence.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprune_cli.core.csv_text import written_csv
from fairprune_cli.core.errors import FairpruneError

COLUMNS = ("task", "attribute", "group", "images", "class", "bias", "threshold")
LARGEST = 1e6  # a bias
_KEYS = {"task", "classes", "attribute", "notion", "tolerance", "threshold", "groups"}


@dataclass(frozen=True)
class GroupPoints:
    """One bias per class and group of an attribute, for the scores of one task.

    An image with scores z and group g is taken for the class with the largest z_k + bias[g, k], the first of equal
    ones; at the common point, without a bias, where g is not known. Of a network with one score s for two classes z is
    (0, s - log(t / (1 - t))), with t its own threshold.

    Attributes:
        task: its name, "" where it has none; classes: in the order of the scores, K.
        attribute: what the groups are of, such as gender or gender*age.
        notion, tolerance: what was held equal on the images they were fitted on, and how closely.
        biases: K of each group; images: on which they were fitted, by group.
        threshold: t; 0.5 for networks with a score per class.
    """

    task: str
    classes: tuple[str, ...]
    attribute: str
    notion: str
    tolerance: float
    biases: Mapping[str, tuple[float, ...]]
    images: Mapping[str, int]
    threshold: float = 0.5

    @property
    def groups(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.biases)

    def predicted(self, scores: ArrayLike, groups: Sequence[str | None]) -> np.ndarray:
        """The class of each image, int64 [n], positions in `classes`.

        Args:
            scores: what the network gives for n images before any softmax or sigmoid: [n, K]; or of one score for two
                classes [n] or [n, 1].
            groups: the name of each image's group, n; None, or a name that is none of `groups`, is the common point.

        Raises:
            ValueError: shapes that do not fit, or scores that are not finite real numbers.
        """
        if np.iscomplexobj(scores):
            raise ValueError("scores are real numbers")
        table = np.asarray(scores, dtype=float)
        if not np.isfinite(table).all():
            raise ValueError("scores are not finite")
        if len(self.classes) == 2 and (table.ndim == 1 or table.shape[1:] == (1,)):
            own = table.reshape(-1) - _logit(self.threshold)
            table = np.stack([np.zeros_like(own), own], axis=1)
        if table.ndim != 2 or table.shape[1] != len(self.classes) or len(groups) != len(table):
            raise ValueError(
                f"scores of shape {list(np.shape(scores))} and {len(groups)} groups, not a row of "
                f"{len(self.classes)} scores and one group for each image"
            )
        place: Mapping[str | None, int] = {name: g for g, name in enumerate(self.groups)}
        return predicted_at(table, self.table(self.groups), np.array([place.get(g, -1) for g in groups], int))

    def table(self, groups: Sequence[str]) -> np.ndarray:
        """Biases float64 [G + 1, K] of these groups, in this order; the last row is the common point."""
        none = (0.0,) * len(self.classes)
        return np.array([*(self.biases.get(name, none) for name in groups), none])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        groups = [
            {"group": name, "images": self.images[name], "biases": list(biases)} for name, biases in self.biases.items()
        ]
        return {
            "task": self.task, "classes": list(self.classes), "attribute": self.attribute, "notion": self.notion,
            "tolerance": self.tolerance, "groups": groups,
            **({} if self.threshold == 0.5 else {"threshold": self.threshold}),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> GroupPoints:
        """The points that `to_dict` described; `why_unsound` has been asked before."""
        groups = told["groups"]
        return cls(
            told["task"], tuple(told["classes"]), told["attribute"], told["notion"], float(told["tolerance"]),
            {one["group"]: tuple(map(float, one["biases"])) for one in groups},
            {one["group"]: one["images"] for one in groups}, float(told.get("threshold", 0.5)),
        )  # fmt: skip


def predicted_at(scores: np.ndarray, biases: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The class of each image, int64 [n]; scores [n, K], biases [G + 1, K], groups int [n], -1 where in none."""
    return (scores.astype(float) + biases[groups]).argmax(axis=1)


def why_unsound(told: Any) -> str:
    """What is wrong with an entry that a file holds; "" where it is as docs/format.md says."""
    if not isinstance(told, dict) or not told.keys() >= _KEYS - {"threshold"} or not told.keys() <= _KEYS:
        return "it is no entry of a task"
    if not all(_is_text(told[key]) for key in ("task", "attribute", "notion")):
        return "its task, attribute or notion is no name"
    classes, groups = told["classes"], told["groups"]
    if not isinstance(classes, list) or len(classes) < 2 or not all(map(_is_text, classes)):
        return "its classes are not a list of names"
    if not _is_between(told["tolerance"], 0.0, 1.0) or not 0.0 < _share(told.get("threshold", 0.5)) < 1.0:
        return "its tolerance or threshold is no share"
    if not isinstance(groups, list) or not all(isinstance(one, dict) for one in groups):
        return "its groups are not a list"
    names = [one.get("group") for one in groups]
    if not all(map(_is_text, names)) or len(set(names)) < len(names):
        return "the name of a group is missing or there twice"
    for one in groups:
        biases = one.get("biases")
        if not isinstance(biases, list) or len(biases) != len(classes):
            return f"the group {one['group']!r} has not one bias for each of {len(classes)} classes"
        if not all(_is_between(value, -LARGEST, LARGEST) for value in biases):
            return f"a bias of the group {one['group']!r} is no number from {-LARGEST:g} to {LARGEST:g}"
        if type(one.get("images")) is not int or not 0 <= one["images"] < 1 << 62:
            return f"the images of the group {one['group']!r} are no count"
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _is_between(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # NaN is not


def _share(value: Any) -> float:
    return float(value) if _is_between(value, 0.0, 1.0) else math.nan


def points_csv(points: Iterable[GroupPoints]) -> str:
    """The table for other tools: a row per task, group and class, and for each task the common point, without a group.

    `bias` is added to the class's score. For two classes `threshold`, beside the second, says the same of its
    probability: from where on it is predicted.
    """
    rows = []
    for one in points:
        for name, biases in [*one.biases.items(), ("", (0.0,) * len(one.classes))]:
            shift = biases[1] - biases[0] - _logit(one.threshold)
            at = round(1.0 / (1.0 + math.exp(min(shift, 700.0))), 12)  # the rest is the arithmetic's
            for k, (label, bias) in enumerate(zip(one.classes, biases, strict=True)):
                threshold = at if len(one.classes) == 2 and k == 1 else ""
                rows.append((one.task, one.attribute, name, one.images.get(name, ""), label, bias, threshold))
    return written_csv(COLUMNS, rows)


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def points_of_task(points: Sequence[GroupPoints], task: str | None, where: str) -> GroupPoints:
    """The points of the named task, or of the first one.

    Raises:
        FairpruneError: there are none.
    """
    found = [one for one in points if task is None or one.task == task]
    if not found:
        named = "" if task is None or not points else f" for a task {task!r}"
        raise FairpruneError(
            f"the model has no thresholds of groups{named}", where=where,
            hint="they are fitted by `fairprune prune --group-thresholds`" if not named
            else f"name one of {', '.join(repr(one.task) for one in points)}",
        )  # fmt: skip
    return found[0]
