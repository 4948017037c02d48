"""Predictions made elsewhere: a table with a row per image, read a part at a time into a few numbers for each image.

The images are known by keys of their paths; no image and no model is opened, and torch is not needed. Nothing is left
out in silence: a row that cannot be used is an error, and so is an image without a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.data.tables.columnar import Coded, LongTable, Rows, open_long_table
from fairprune_cli.data.tables.path_keys import KeyTable, path_keys

PREDICTED = "predicted"
_SHOWN = 6
_SUM = 0.02  # how far the probabilities of an image, written with few digits, may be from 1


@dataclass(frozen=True)
class TaskColumns:
    """Where a table has the predictions of a task: `predicted` is "" and `scores` () where there is no such column."""

    predicted: str
    scores: tuple[str, ...]


class Predicted:
    """What a table says of the images of a split, in their order.

    Attributes:
        path: of the table.
        classes: of each task, int32 [n], the class that is predicted; -1 where no row says it.
        confidence: of each task, float32 [n], the probability of that class; None where the table has no scores.
        others: rows of images that are in another split.
    """

    def __init__(self, path: Path, tasks: int, images: int) -> None:
        self.path = path
        self.classes = [np.full(images, -1, np.int32) for _ in range(tasks)]
        self.confidence: list[np.ndarray | None] = [None] * tasks
        self.others = 0

    @property
    def missing(self) -> np.ndarray:
        """Images without a row, int64, ascending."""
        return np.flatnonzero(self.classes[0] < 0)


def columns_of(table: LongTable, tasks: Sequence[Task]) -> list[TaskColumns]:
    """The columns of each task: `predicted`, or a column of scores named as each class.

    Of several tasks they are named `predicted:TASK` and `TASK:CLASS`; one that has a name may have its columns so.

    Raises:
        FairpruneError: neither is there, or a part of the classes has no column.
    """
    found = []
    for task in tasks:
        prefixes = ([f"{task.name}:"] if task.name else []) + ([""] if len(tasks) == 1 else [])
        options = [_columns(table, task, prefix) for prefix in prefixes]
        best = max(options, key=lambda one: (bool(one.predicted), len(one.scores)))
        _refuse_parts(table, task, prefixes[options.index(best)], best)
        found.append(best)
    return found


def _columns(table: LongTable, task: Task, prefix: str) -> TaskColumns:
    """The columns that are there, named with the task's name or without."""
    predicted = _predicted(task, prefix)
    scores = tuple(prefix + name for name in task.classes if prefix + name in table.header)
    return TaskColumns(predicted if predicted in table.header else "", scores)


def _predicted(task: Task, prefix: str) -> str:
    return f"{PREDICTED}:{task.name}" if prefix else PREDICTED


def _refuse_parts(table: LongTable, task: Task, prefix: str, found: TaskColumns) -> None:
    predicted = _predicted(task, prefix)
    if PREDICTED in task.classes and not prefix:
        raise FairpruneError(
            f"a class is called {PREDICTED!r}, and so is the column of what is predicted", where=str(table.path),
            hint="give the class another name in the manifest",
        )  # fmt: skip
    if found.scores and len(found.scores) < len(task.classes):
        lacking = [prefix + name for name in task.classes if prefix + name not in found.scores]
        raise FairpruneError(
            f"has columns of scores for some classes and none for {', '.join(map(repr, lacking[:_SHOWN]))}",
            where=str(table.path), hint="give one for every class, as the largest score is what is predicted",
        )  # fmt: skip
    if not found.predicted and not found.scores:
        raise FairpruneError(
            f"has no column {predicted!r} with the names of classes, nor one of scores for each class "
            f"({_some([prefix + name for name in task.classes])}); its columns are {_some(table.header)}",
            where=str(table.path), hint=f"name what is predicted of each image in a column {predicted!r}",
        )  # fmt: skip


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")


def read_predictions(
    path: Path, image: str, keys: KeyTable, place: np.ndarray, count: int, tasks: Sequence[Task]
) -> Predicted:
    """Read a table of predictions.

    Args:
        image: name of its column of image paths, the manifest's.
        keys: of all images of the manifest, [N].
        place: int32 [N], the position of each image in the split that is audited, -1 of those of other splits.
        count: images of that split.
        tasks: with their classes; a threshold is that of the second class's probability.

    Raises:
        FairpruneError: rows that cannot be used; the message says which, and how many.
    """
    table = open_long_table(path)
    if image not in table.header:
        raise FairpruneError(
            f"no column {image!r}, which names the images in the manifest; {nearest(image, table.header)}",
            where=str(path), hint="name the image of each row as the manifest does",
        )  # fmt: skip
    columns = columns_of(table, tasks)
    named = [one.predicted for one in columns if one.predicted]
    reader = _Reader(table, columns, tasks, Predicted(path, len(tasks), count), keys, place, image)
    for rows in table.rows([image], named, [name for one in columns for name in one.scores]):
        reader.add(rows)
    return reader.found


class _Reader:
    """Takes in the rows, some at a time."""

    def __init__(
        self, table: LongTable, columns: Sequence[TaskColumns], tasks: Sequence[Task], found: Predicted, keys: KeyTable,
        place: np.ndarray, image: str,
    ) -> None:  # fmt: skip
        self.table, self.columns, self.tasks, self.found = table, columns, tasks, found
        self.keys, self.place, self.image = keys, place, image
        self.first = np.full(len(place), -1, np.int32)  # row of each image of the manifest
        self.count = 0
        self.probabilities: list[bool | None] = [None] * len(tasks)

    def add(self, rows: Rows) -> None:
        """Take in some rows."""
        paths = rows.texts[self.image]
        at = self.keys.find(path_keys(paths))
        if len(unknown := np.flatnonzero(at < 0)):
            name = paths.text(int(unknown[0]))
            raise self._fault(rows, unknown, f"no such image in the manifest, as {name[:200]!r}",
                              "leave them out, or audit with the manifest that they were made for")  # fmt: skip
        self._refuse_twice(rows, at)
        place = self.place[at]
        mine = np.flatnonzero(place >= 0)
        self.found.others += len(at) - len(mine)
        for number, (columns, task) in enumerate(zip(self.columns, self.tasks, strict=True)):
            named = None if not columns.predicted else self._named(rows, rows.coded[columns.predicted], task, mine)
            if columns.scores:
                scores = np.stack([rows.numbers[name][mine] for name in columns.scores], 1)
                named = self._scored(rows, scores, number, mine, place[mine], named)
            assert named is not None
            self.found.classes[number][place[mine]] = named

    def _refuse_twice(self, rows: Rows, at: np.ndarray) -> None:
        numbers = np.arange(self.count, self.count + len(at), dtype=np.int32)
        again = self.first[at] >= 0
        self.first[at[::-1]] = numbers[::-1]  # of two rows here, the first is what stays
        again |= self.first[at] != numbers
        self.count += len(at)
        if again.any():
            some = np.flatnonzero(again)
            name = rows.texts[self.image].text(int(some[0]))
            raise self._fault(rows, some, f"the image stands in an earlier row already, as {name[:200]!r}",
                              "give every image one row")  # fmt: skip

    def _named(self, rows: Rows, column: Coded, task: Task, mine: np.ndarray) -> np.ndarray:
        """The classes whose names stand in the cells, int32 [n]."""
        place = {name: i for i, name in enumerate(task.classes)}
        known = np.array([place.get(value, -1) for value in column.values], np.int32)
        found: np.ndarray = known[column.codes[mine]]
        if len(wrong := np.flatnonzero(found < 0)):
            value = column.values[int(column.codes[mine[wrong[0]]])]
            text = f"no class {value[:60]!r}; {nearest(value, task.classes)}" if value else "no class is predicted"
            raise self._fault(rows, mine[wrong], text, f"the classes are {', '.join(task.classes[:_SHOWN])}")
        return found

    def _scored(
        self, rows: Rows, scores: np.ndarray, number: int, mine: np.ndarray, place: np.ndarray, named: np.ndarray | None
    ) -> np.ndarray:
        """The classes with the largest scores, int32 [n]; their probabilities are noted. Scores: float64 [n, K]."""
        task = self.tasks[number]
        if len(broken := np.flatnonzero(~np.isfinite(scores).all(1))):
            raise self._fault(rows, mine[broken], "a score is missing or not finite", "give a number for every class")
        chances = self._probabilities(rows, scores, number, mine)
        found = scores.argmax(1).astype(np.int32)
        if task.head.threshold is not None and len(task.classes) == 2:
            found = (chances[:, 1] > task.head.threshold).astype(np.int32)
        if named is not None:
            if len(other := np.flatnonzero(named != found)):
                first = int(other[0])
                text = f"{task.classes[named[first]]!r} is predicted, and the scores say {task.classes[found[first]]!r}"
                raise self._fault(rows, mine[other], text, "keep one of the two, or mend the scores")
            found = named
        confidence = self.found.confidence[number]
        if confidence is None:
            confidence = self.found.confidence[number] = np.zeros(len(self.found.classes[number]), np.float32)
        confidence[place] = chances[np.arange(len(found)), found]
        return found

    def _probabilities(self, rows: Rows, scores: np.ndarray, number: int, mine: np.ndarray) -> np.ndarray:
        """Scores as probabilities: as they are where those of an image sum to 1, else their softmax; all rows alike."""
        proper = (scores >= 0).all(1) & (np.abs(scores.sum(1) - 1) <= _SUM)
        if self.probabilities[number] is None and len(scores):
            self.probabilities[number] = bool(proper.mean() > 0.5)
        if self.probabilities[number]:
            if not proper.all():
                raise self._fault(rows, mine[~proper], "the scores are no probabilities, while those of most rows are",
                                  "give probabilities in all rows, or logits")  # fmt: skip
            return scores
        powers = np.exp(scores - scores.max(1, keepdims=True)) if len(scores) else scores
        softmax: np.ndarray = powers / powers.sum(1, keepdims=True)
        return softmax

    def _fault(self, rows: Rows, at: np.ndarray, text: str, hint: str) -> FairpruneError:
        lines = [str(rows.first + int(i)) for i in np.sort(at)[:_SHOWN]]
        more = f" and {len(at) - _SHOWN:,} more" if len(at) > _SHOWN else ""
        return FairpruneError(
            f"row{'s' if len(at) > 1 else ''} {', '.join(lines)}{more}: {text}", where=str(self.table.path), hint=hint
        )
