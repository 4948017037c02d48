"""A checked manifest as the rest of the program sees it: the images with their labels, groups and splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.core.errors import FairpruneError, Problems, nearest
from fairprune_cli.data.manifest.attribute_names import refuse_unknown_attribute
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.data.tables.shards import ShardPlaces
from fairprune_cli.data.tables.table import SPLITS

DROP_COPIES, ALLOW_COPIES = "drop", "allow"  # what to do with equal bytes in two splits


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to divide the images.

    Attributes:
        index: int64 [N], a position in `groups`, -1 for in no group.
        absent: combinations of an intersection that no image has.
        dropped: whether the manifest itself says that images without a value are in no group (`missing: drop`).
    """

    name: str
    groups: tuple[str, ...]
    index: np.ndarray
    absent: tuple[str, ...] = ()
    dropped: bool = False


@dataclass(frozen=True, eq=False)
class Manifest:
    """A checked manifest with its N images; arrays run in the order of the table or folder listing.

    `classes` and `labels` are those of the first of its `tasks`, and mostly there is only one.
    """

    path: Path
    name: str
    images: Path  # root of the image paths, or of the shards that hold the images
    classes: tuple[str, ...]
    transform: Transform
    sha256: str  # of the manifest's bytes and the table's (or the folder's list of files)
    files: Sequence[str]  # relative to `images`, [N]
    labels: np.ndarray  # int64 [N], 0..K-1
    splits: np.ndarray  # int8 [N], index into SPLITS
    rows: np.ndarray  # int64 [N], line in the table, 0 where there is none
    attributes: Mapping[str, Grouping]
    persons: np.ndarray | None  # int64 [N], a number per person
    table: str  # file name of the table, for messages
    warnings: tuple[str, ...]
    tasks: tuple[Task, ...] = ()  # at least one
    tables: tuple[str, ...] = ()  # file name of each row's table, [N], where there are several
    shards: ShardPlaces | None = None  # where the images lie in tar shards; None of images that are files
    duplicates: str = ""  # DROP_COPIES or ALLOW_COPIES; "" where the manifest does not say
    image_column: str = "file"  # of the table, with the images' paths; `file` where there is none
    shared: int = 0  # images whose bytes stand in a later split, once that was looked at

    def __post_init__(self) -> None:
        if not self.tasks:
            object.__setattr__(self, "tasks", (Task("", self.classes, self.labels),))

    def __len__(self) -> int:
        return len(self.files)

    def where(self, i: int) -> str:
        """Where image i is named: `table.csv row 7`, or the folder's name; and the shard that it lies in, if any."""
        table = self.tables[i] if self.tables else self.table
        named = f"{table} row {self.rows[i]}" if self.rows[i] else self.images.absolute().name
        shard = self.shard_of(i)
        return f"{named}, in {shard}" if shard else named

    def shard_of(self, i: int) -> str:
        """The shard that image i lies in; "" of a file, and of an image that is nowhere."""
        if self.shards is None or self.shards.shard[i] < 0:
            return ""
        return self.shards.names[self.shards.shard[i]]

    def rows_of(self, split: str) -> np.ndarray:
        """Positions of the images in a split ("train", "val" or "test"), int64, ascending."""
        if split not in SPLITS:
            raise FairpruneError(f"unknown split {split!r}", hint=nearest(split, SPLITS))
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def grouping(self, name: str) -> Grouping:
        """The groups of an attribute, or of an intersection such as `gender*age`.

        An intersection has the combinations that occur, named as "male*old"; an image that one of the
        attributes leaves out is in no group.

        Raises:
            FairpruneError: unknown attribute, or a combination that occurs but has no test image.
        """
        parts = [part.strip() for part in name.split("*")]
        refuse_unknown_attribute(name, self.attributes, self.path)
        if len(parts) == 1:
            return self.attributes[parts[0]]
        if len(set(parts)) < len(parts):
            raise FairpruneError(f"{name!r} names an attribute twice", where=str(self.path))
        names, index = list(self.attributes[parts[0]].groups), self.attributes[parts[0]].index
        for part in parts[1:]:
            other = self.attributes[part]
            names = [f"{a}*{b}" for a in names for b in other.groups]
            index = np.where((index < 0) | (other.index < 0), -1, index * len(other.groups) + other.index)
        held = np.bincount(index[index >= 0], minlength=len(names)) > 0
        position = np.append(np.cumsum(held) - 1, -1)
        joined = "*".join(parts)
        groups = tuple(name for name, there in zip(names, held, strict=True) if there)
        absent = tuple(name for name, there in zip(names, held, strict=True) if not there)
        # Only attributes that leave images out have to say so.
        dropped = all(one.dropped or not (one.index < 0).any() for one in map(self.attributes.__getitem__, parts))
        grouping = Grouping(joined, groups, position[index].astype(np.int64), absent, dropped)
        problems = Problems(str(self.path))
        problems.extend(untested(grouping, self.splits))
        problems.raise_if_any("leave the intersection out, or merge its small groups")
        return grouping

    def at(self, positions: np.ndarray) -> Manifest:
        """Some of the images, by their positions (int64 [n])."""
        persons = None if self.persons is None else self.persons[positions]
        return replace(
            self, files=tuple(self.files[i] for i in positions.tolist()), labels=self.labels[positions],
            splits=self.splits[positions], rows=self.rows[positions], persons=persons,
            attributes={k: replace(one, index=one.index[positions]) for k, one in self.attributes.items()},
            tasks=tuple(replace(task, labels=task.labels[positions]) for task in self.tasks),
            tables=tuple(self.tables[i] for i in positions.tolist()) if self.tables else (),
            shards=None if self.shards is None else self.shards.at(positions),
        )  # fmt: skip

    def of_task(self, name: str) -> Manifest:
        """The same images with one task alone."""
        (task,) = (task for task in self.tasks if task.name == name)
        return replace(self, classes=task.classes, labels=task.labels, tasks=(task,))

    def counts(self, attributes: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """{split: {"n", "labels": {class: n}, "attributes": {attribute: {group: {"n", "labels"}}}}}.

        Args:
            attributes: names for `grouping`, intersections included; all attributes when None.
        """
        names = self.attributes if attributes is None else attributes
        groupings = [self.grouping(name) for name in names]
        return {split: self._count(self.splits == code, groupings) for code, split in enumerate(SPLITS)}

    def _count(self, chosen: np.ndarray, groupings: Sequence[Grouping]) -> dict[str, Any]:
        size = len(self.classes)
        labels = self.labels[chosen]
        attributes: dict[str, dict[str, object]] = {}
        for grouping in groupings:
            index = grouping.index[chosen]
            held = index >= 0
            cells = np.bincount(index[held] * size + labels[held], minlength=len(grouping.groups) * size)
            attributes[grouping.name] = {
                group: {"n": int(row.sum()), "labels": self._by_class(row)}
                for group, row in zip(grouping.groups, cells.reshape(-1, size), strict=True)
            }
        by_class = self._by_class(np.bincount(labels, minlength=size))
        return {"n": len(labels), "labels": by_class, "attributes": attributes}

    def _by_class(self, counts: np.ndarray) -> dict[str, int]:
        return dict(zip(self.classes, counts.tolist(), strict=True))

    @cached_property
    def root(self) -> str:
        """The image root as text, for joining many paths quickly."""
        return os.path.abspath(self.images)


def untested(grouping: Grouping, splits: np.ndarray) -> list[str]:
    """A sentence for each group without a test image; splits: int8 or int64 [N], positions in SPLITS."""
    tested = grouping.index[(splits == SPLITS.index("test")) & (grouping.index >= 0)]
    counts = np.bincount(tested, minlength=len(grouping.groups))
    return [
        f"{grouping.name}: group {group!r} has no test image, so nothing can be said of it"
        for group, n in zip(grouping.groups, counts.tolist(), strict=True)
        if n == 0
    ]
