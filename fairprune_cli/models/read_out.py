"""From what a network gives to the scores of its tasks, as a table [B, W] that everything else works with.

Networks give a tensor, or several in a tuple or a dict; [B, K], [B, K, 1, 1] or, through a careless squeeze, [K]; one
score per class, one for two classes, or those of many tasks side by side. A `ReadOut` is hung on a network as a hook,
so that names, tensors and files stay the network's own; whoever traces or exports it meets it without (`as_given`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError

Key = str | int | None
LEAST_PROBABILITY = 1e-7  # what a probability of 0 counts as where its logarithm is taken


@dataclass(frozen=True)
class OutputTable:
    """One of the tensors that a network gives: its key or position (None where it is the only one), and its width."""

    key: Key
    width: int


@dataclass(frozen=True)
class Scores:
    """Where a task's scores stand.

    Attributes:
        entry: position among the entries.
        columns: of the entry, one per class; or one alone, the score of the second of two classes.
        threshold: of that one's sigmoid, from which the second class is predicted.
        undo: "" where the network gives scores; "log" or "logit" where it gives probabilities, for their softmax or
            sigmoid to be undone.
    """

    entry: int
    columns: tuple[int, ...]
    threshold: float = 0.5
    undo: str = ""

    @property
    def width(self) -> int:
        """Columns of the table that the task takes: one per class."""
        return max(len(self.columns), 2)

    @property
    def shift(self) -> float:
        """What is taken off the second class's score, for the larger of both to be what is predicted."""
        return math.log(self.threshold / (1.0 - self.threshold))


@dataclass(frozen=True)
class ReadOut:
    """The scores of tasks in what a network gives; as a forward hook it puts the table [B, W] in its place.

    The table has the columns of each task, one per class, in the order of the tasks, and then the other numbers, which
    no task uses. A single score s becomes (0, s - shift): its softmax without the shift is the sigmoid of s, and with
    it the larger one says what is predicted.

    Attributes:
        entries: what the network gives in eval mode, in its order.
        tasks: where the scores of each task stand.
        others: the columns of each entry that no task uses, by position among the entries.
    """

    entries: tuple[OutputTable, ...]
    tasks: tuple[Scores, ...]
    others: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @property
    def columns(self) -> tuple[slice, ...]:
        """Where each task's scores are in the table."""
        edges = [0]
        for task in self.tasks:
            edges.append(edges[-1] + task.width)
        return tuple(slice(a, b) for a, b in itertools.pairwise(edges))

    @property
    def rest(self) -> slice:
        """Where the other numbers are in the table; none where it is empty."""
        start = self.columns[-1].stop
        return slice(start, start + sum(len(columns) for _, columns in self.others))

    @property
    def width(self) -> int:
        """Columns of the table, W."""
        return self.rest.stop

    @property
    def shifts(self) -> tuple[float, ...]:
        """What each task's second score lacks in the table; 0 but for a single score with a threshold."""
        return tuple(task.shift if len(task.columns) == 1 else 0.0 for task in self.tasks)

    @property
    def plain(self) -> bool:
        """Whether the table holds the scores of one task, one per class, and nothing else."""
        return len(self.tasks) == 1 and not self.others and not any(self.shifts)

    def names(self) -> list[str]:
        """What the other numbers are called, in the order of the table."""
        found = []
        for entry, columns in self.others:
            key = self.entries[entry].key
            found += [str(column) if key is None else f"{key}[{column}]" for column in columns]
        return found

    def __call__(self, module: nn.Module, inputs: Any, given: Any) -> Tensor | None:
        """The hook; None leaves what the network gave as it is."""
        first = self.tasks[0]
        whole = first.columns == tuple(range(max(self.entries[0].width, 2)))
        if isinstance(given, Tensor) and given.ndim == 2 and self.plain and whole and not first.undo:
            return None
        return self.read(given)

    def read(self, given: Any) -> Tensor:
        """The table [B, W] of what the network gave.

        Raises:
            FairpruneError: it gives something else than in eval mode.
        """
        tables = _tables(given, self.entries)
        parts = [_scores(tables[task.entry], task) for task in self.tasks]
        parts += [_picked(tables[entry], columns) for entry, columns in self.others]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _tables(given: Any, entries: Sequence[OutputTable]) -> list[Tensor]:
    """The entries as tables [B, width]."""
    found = tensors_of(given)
    only = len(entries) == 1 and entries[0].key is None
    if only and None not in found:  # in training some give auxiliary scores as well, after their own
        alike = [tensor for tensor in found.values() if squeezed(tensor).shape[-1:] == (entries[0].width,)]
        found |= {None: alike[0]} if alike else {}
    tables = []
    for entry in entries:
        tensor = found.get(entry.key)
        if tensor is None:
            name = "one tensor" if entry.key is None else f"{entry.key!r}"
            raise FairpruneError(
                f"the network gives {name} in eval mode, and in training {', '.join(map(repr, found)) or 'none'}",
                hint="give a version of it that gives the same in both as --arch package.module:factory",
            )
        table = squeezed(tensor)
        if table.ndim > 2 or (table.ndim == 2 and table.shape[1] != entry.width):
            raise FairpruneError(
                f"the network gives {list(tensor.shape)}{'' if entry.key is None else f' as {entry.key!r}'} for "
                f"{len(tensor)} images, not a table of {entry.width} numbers for each",
                hint="give images of the size whose scores it pools, or a version of it that pools over any size",
            )
        tables.append(table.reshape(-1, entry.width))
    return tables


def _scores(table: Tensor, task: Scores) -> Tensor:
    scores = _picked(table, task.columns)
    if task.undo == "log":
        scores = scores.float().clamp_min(LEAST_PROBABILITY).log()
    elif task.undo == "logit":
        scores = scores.float().logit(LEAST_PROBABILITY)
    if len(task.columns) > 1:
        return scores
    scores = scores - task.shift if task.shift == 0.0 else scores.float() - task.shift
    return torch.cat([torch.zeros_like(scores), scores], 1)


def _picked(table: Tensor, columns: tuple[int, ...]) -> Tensor:
    """Some columns, by slices alone: an index would have to be copied to the device for each pass."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and column == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([column, column + 1])
    parts = [table[:, a:b] for a, b in runs]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def tensors_of(given: Any) -> dict[Key, Tensor]:
    """The tensors of floating-point numbers that a network gave, by key or position; None is that of one alone."""
    if isinstance(given, Tensor):
        return {None: given}
    listed: dict[Key, Any] = {}
    if isinstance(given, Mapping):
        listed = {key if isinstance(key, int) else str(key): value for key, value in given.items()}
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        listed = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    elif hasattr(given, "_fields"):
        listed = dict(zip(given._fields, given, strict=True))
    elif isinstance(given, tuple | list):
        listed = dict(enumerate(given))
    return {key: value for key, value in listed.items() if isinstance(value, Tensor) and value.is_floating_point()}


def squeezed(tensor: Tensor) -> Tensor:
    """What is [B, K, 1, 1] as [B, K]."""
    while tensor.ndim > 2 and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    return tensor


def attach(model: nn.Module, read_out: ReadOut) -> None:
    """Hang the read-out on the network, in place of one that it has."""
    detach(model)
    model.register_forward_hook(read_out)


def detach(model: nn.Module) -> ReadOut | None:
    """Take the read-out off the network; the one it had."""
    found = None
    for key, hook in list(model._forward_hooks.items()):
        if isinstance(hook, ReadOut):
            found = hook
            del model._forward_hooks[key]
    return found


def read_out_of(model: nn.Module) -> ReadOut | None:
    """The read-out that hangs on the network."""
    return next((hook for hook in model._forward_hooks.values() if isinstance(hook, ReadOut)), None)


def scores_of(model: nn.Module, table: Tensor, task: int = 0) -> Tensor:
    """The scores [B, K] of a task in what the network, with its read-out, gave; the larger one is what is predicted."""
    read_out = read_out_of(model)
    return table if read_out is None or read_out.plain else table[:, read_out.columns[task]]


def scores_of_first(model: nn.Module, table: Tensor, tasks: int) -> Tensor:
    """The scores of so many tasks, the first ones, side by side: [B, K + K' + ...]."""
    read_out = read_out_of(model)
    return table if read_out is None or read_out.plain else table[:, : read_out.columns[tasks - 1].stop]


def by_task(read_out: ReadOut | None, table: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores [B, K] and labels [B] of each task: scores whose softmax is a probability, whatever the threshold.

    Args:
        table: [B, W] by the read-out; without one it has the scores of one task.
        labels: [B], or [B, T] of several tasks.
    """
    if read_out is None or read_out.plain:
        yield table, labels
        return
    for t, (columns, shift) in enumerate(zip(read_out.columns, read_out.shifts, strict=True)):
        yield without_shift(table[:, columns], shift), labels if labels.ndim == 1 else labels[:, t]


def shift_of(model: nn.Module, task: int = 0) -> float:
    """What the second score of a task lacks in the network's table, for its threshold."""
    read_out = read_out_of(model)
    return 0.0 if read_out is None else read_out.shifts[task]


def without_shift(scores: Tensor, shift: float) -> Tensor:
    """Scores [B, 2] whose softmax is the probability, whatever the threshold; [B, K] as they are without a shift."""
    return torch.cat([scores[:, :1], scores[:, 1:] + shift], 1) if shift else scores


@contextlib.contextmanager
def as_given(*models: nn.Module) -> Iterator[None]:
    """A block in which networks give what they give by themselves."""
    had = [(model, detach(model)) for model in models]
    try:
        yield
    finally:
        for model, read_out in had:
            if read_out is not None:
                attach(model, read_out)
