"""A task: what is to be predicted of an image, and which of a network's numbers predict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Head:
    """Which of a network's numbers are the scores of a task.

    Attributes:
        outputs: their positions, one per class, or one alone for two classes (the score of the second, through a
            sigmoid); None for all that there are.
        output: key or position of the tensor that holds them, where a network gives several; None for the one that
            fits.
        threshold: of the sigmoid, above 0 and below 1, from which the second class is predicted; None for 0.5.
    """

    outputs: tuple[int, ...] | None = None
    output: str | int | None = None
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """What is said, for JSON."""
        listed = None if self.outputs is None else list(self.outputs)
        values = {"outputs": listed, "output": self.output, "threshold": self.threshold}
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Head:
        """The head that `to_dict` described."""
        outputs = values.get("outputs")
        return cls(None if outputs is None else tuple(outputs), values.get("output"), values.get("threshold"))


@dataclass(frozen=True, eq=False)
class Task:
    """Something that is predicted of each of N images.

    Attributes:
        name: of the task; "" where a manifest has one that it does not name.
        classes: in the order of the scores.
        labels: int64 [N], 0..K-1.
        head: which of a network's numbers are the scores.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    head: Head = Head()


def outputs_for(tasks: Sequence[Task]) -> int:
    """How many outputs a new network needs for the tasks: one per class, or as many as they ask for."""
    asked = [position for task in tasks for position in task.head.outputs or ()]
    if asked:
        return max(asked) + 1
    return 1 if tasks[0].head.threshold is not None else len(tasks[0].classes)


def described(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The tasks as a model's file names them; [] for one that has a score per class and no name."""
    if len(tasks) == 1 and not tasks[0].name and tasks[0].head == Head():
        return []
    return [{"name": task.name, "classes": list(task.classes), **task.head.to_dict()} for task in tasks]


def with_heads(tasks: Sequence[Task], told: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """The tasks with the heads that a model's file tells of, where they say nothing themselves.

    A task takes that of its name, else the only one with its classes.

    Args:
        told: as `described` gave them.
    """

    def completed(task: Task) -> Task:
        if task.head != Head():
            return task
        alike = [one for one in told if tuple(one["classes"]) == task.classes]
        named = [one for one in alike if one["name"] == task.name] or alike
        return replace(task, head=Head.from_dict(named[0])) if len(named) == 1 else task

    return tuple(completed(task) for task in tasks)
