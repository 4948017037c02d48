"""Which of the numbers that a network gives are a task's scores: found by running it on two images, never by names."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.models.inference import blank_images, evaluating, taking_images
from fairprune_cli.models.read_out import Key, OutputTable, ReadOut, Scores, as_given, squeezed, tensors_of

COUNT = 2  # images: a squeeze that takes the batch's axis away shows with one
USUAL = "logits"  # what dicts call the scores
_SHOWN = 8
# Operations that move numbers and leave them what they are, by the name of their gradient.
_MOVES = {
    f"{name}Backward{n}"
    for name in (
        "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "AsStrided", "Clone",
        "Transpose", "Permute", "ToCopy", "T",
    )
    for n in (0, 1, 2)
}  # fmt: skip
_UNDONE = {"SoftmaxBackward0": "log", "SigmoidBackward0": "logit"}


@dataclass(frozen=True)
class FoundScores:
    """The read-out of a network, and what the user should know of how it was found."""

    read_out: ReadOut
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def outputs_of(model: nn.Module, shape: Shape) -> list[OutputTable]:
    """What a network gives for an image, in eval mode: tables of numbers [B, width], by key; [] where there is none.

    Args:
        shape: of the images.

    Raises:
        FairpruneError: the network does not take such images.
    """
    return [entry for entry, _ in _tables(model, shape)]


def find_scores(model: nn.Module, tasks: Sequence[Task], shape: Shape) -> FoundScores:
    """Where the scores of the tasks stand in what the network gives.

    Args:
        tasks: their heads say which outputs they want; one that says nothing takes the only ones that fit.
        shape: of the images.

    Raises:
        FairpruneError: nothing fits a task, or several things do, or one thing fits two tasks; the network does not
            take such images.
    """
    tables = _tables(model, shape)
    if not tables:
        raise FairpruneError(
            "the network gives no table of scores, images x outputs, in floating-point numbers",
            hint="give a version of it that does as --arch package.module:factory",
        )
    entries = [entry for entry, _ in tables]
    notes: list[str] = []
    warnings: list[str] = []
    found = []
    for task in tasks:
        at = _entry_of(task, entries, notes)
        columns = task.head.outputs or tuple(range(entries[at].width))
        if len(columns) == 1 and task.head.outputs is None:
            notes.append(
                f"the network has one output for {task.classes[0]} and {task.classes[1]}: "
                f"it is taken as the score of {task.classes[1]}, through a sigmoid"
            )
        undo = _undone(model, entries[at].key, tables[at][1], columns)
        if undo:
            kind = "softmax" if undo == "log" else "sigmoid"
            warnings.append(
                f"{_of(task)}the network gives probabilities: its last operation is a {kind}, which is undone, as "
                "training needs the scores before it"
            )
        threshold = 0.5 if task.head.threshold is None else task.head.threshold
        found.append(Scores(at, columns, threshold, undo))
    _refuse_shared(tasks, found, entries)
    others = []
    for at, entry in enumerate(entries):
        used = {column for scores in found if scores.entry == at for column in scores.columns}
        if rest := tuple(column for column in range(entry.width) if column not in used):
            others.append((at, rest))
    return FoundScores(ReadOut(tuple(entries), tuple(found), tuple(others)), tuple(notes), tuple(warnings))


def _refuse_shared(tasks: Sequence[Task], found: Sequence[Scores], entries: Sequence[OutputTable]) -> None:
    """Raise where two tasks would read, and train, the same numbers by different labels."""
    of: dict[tuple[int, int], str] = {}
    for task, scores in zip(tasks, found, strict=True):
        for column in scores.columns:
            other = of.setdefault((scores.entry, column), task.name)
            if other != task.name:
                key = entries[scores.entry].key
                raise FairpruneError(
                    f"the tasks {other} and {task.name} would both have output {column}"
                    f"{'' if key is None else f' of {key!r}'}",
                    hint="say in the manifest with `outputs` which of them are whose, as in outputs: [0, 1]",
                )


def refuse_other_outputs_in_training(model: nn.Module, read_out: ReadOut, shape: Shape) -> None:
    """Raise FairpruneError where the network in training gives something that the read-out cannot take."""
    trial = copy.deepcopy(model, {id(p): p for p in model.parameters()})  # running statistics of its own
    images = _images(model, shape)
    with as_given(trial), torch.no_grad(), torch.random.fork_rng(_devices(images)):
        try:
            given = trial.train()(images)
        except (RuntimeError, ValueError, AssertionError):
            return  # what it does not take is found elsewhere, with the layer
        read_out.read(given)


def _tables(model: nn.Module, shape: Shape) -> list[tuple[OutputTable, Tensor]]:
    """The tables that the network gives for some images, with what leads to them."""
    images = _images(model, shape).requires_grad_()
    with evaluating(model), as_given(model), taking_images(model, COUNT, shape), torch.enable_grad():
        given = model(images)
    found: list[tuple[OutputTable, Tensor]] = []
    for key, tensor in tensors_of(given).items():
        if not tensor.is_floating_point():
            continue  # indices of classes, which nothing can be trained by
        table = squeezed(tensor)
        if table.shape == (COUNT,) and _per_image(model, shape, key):
            table = table[:, None]
        if table.ndim == 2 and len(table) == COUNT and table.shape[1]:
            found.append((OutputTable(key, table.shape[1]), table))
    return found


@torch.no_grad()
def _per_image(model: nn.Module, shape: Shape, key: Key) -> bool:
    """Whether a row of numbers has one for each image, and not as many as there happened to be images."""
    with evaluating(model), as_given(model), taking_images(model, COUNT + 1, shape):
        tensor = tensors_of(model(_images(model, shape, COUNT + 1))).get(key)
    return tensor is not None and squeezed(tensor).shape == (COUNT + 1,)


def _images(model: nn.Module, shape: Shape, count: int = COUNT) -> Tensor:
    """Noise, the same every time."""
    images = blank_images(model, count, shape)
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images.copy_(drawn)


def _devices(images: Tensor) -> list[torch.device]:
    return [images.device] if images.device.type == "cuda" else []


def _entry_of(task: Task, entries: Sequence[OutputTable], notes: list[str]) -> int:
    """Position of the entry that holds the task's scores."""
    head = task.head
    if head.output is not None:
        at = _named(head.output, entries)
        if at is None:
            raise FairpruneError(f"{_of(task)}the network gives no {head.output!r}", hint=_names_to_use(entries))
        if not _fits(task, entries[at]):
            raise _misfit(task, entries[at])
        return at
    fitting = [at for at, entry in enumerate(entries) if _fits(task, entry)]
    if len(entries) > 1:
        usual = [at for at in fitting if entries[at].key == USUAL]
        fitting = usual or fitting
        if len(fitting) == 1:
            notes.append(f"{_of(task)}of what the network gives, {entries[fitting[0]].key!r} is taken as the scores")
        elif fitting:
            raise FairpruneError(
                f"{_of(task)}several of the network's outputs could be the scores: {_listed(entries)}",
                hint="say which one in the manifest with `output: NAME_OR_POSITION`",
            )
        else:
            raise FairpruneError(
                f"{_of(task)}the network gives {_listed(entries)}, and none of them fits the {len(task.classes)} "
                f"classes {_classes(task)}",
                hint="say in the manifest with `output: NAME_OR_POSITION` and `outputs: [..]` where the scores stand",
            )
    if not fitting:
        raise _misfit(task, entries[0])
    return fitting[0]


def _named(name: str | int, entries: Sequence[OutputTable]) -> int | None:
    """Position of the entry of that key; of that position where keys are words or there is but one table."""
    for at, entry in enumerate(entries):
        if entry.key == name or str(entry.key) == str(name):
            return at
    words = all(isinstance(entry.key, str | None) for entry in entries)
    return name if words and isinstance(name, int) and name < len(entries) else None


def _fits(task: Task, entry: OutputTable) -> bool:
    head, classes = task.head, len(task.classes)
    if head.outputs is not None:
        return max(head.outputs) < entry.width
    return (entry.width == classes and head.threshold is None) or (entry.width == 1 and classes == 2)


def _misfit(task: Task, entry: OutputTable) -> FairpruneError:
    """What is wrong with an entry that is to hold the task's scores, and what to write."""
    head, classes = task.head, len(task.classes)
    said = "the network has" if entry.key is None else f"{entry.key!r} of the network has"
    said = f"{_of(task)}{said} {entry.width} output{'s' if entry.width > 1 else ''}"
    if head.outputs is not None:
        last = max(head.outputs)
        return FairpruneError(
            f"{said}, the manifest asks for output {last}",
            hint=f"`outputs` are counted from 0 and go to {entry.width - 1}",
        )
    if entry.width == classes:
        return FairpruneError(
            f"{said}, one per class, and a threshold belongs to one score through a sigmoid",
            hint="leave `threshold` out, or name the one score with `outputs: [1]`",
        )
    text = f"{said}, the manifest has {classes} classes ({_classes(task)})"
    if entry.width < classes:
        return FairpruneError(text, hint="use the manifest the network was trained for, or correct its `classes`")
    example = ", ".join(map(str, range(classes)))
    alone = ", or the one score of two classes as in outputs: [0]" if classes == 2 else ""
    return FairpruneError(
        text, hint=f"say in the manifest which of them are the classes' scores, as in outputs: [{example}]{alone}"
    )


def _of(task: Task) -> str:
    return f"task {task.name}: " if task.name else ""


def _classes(task: Task) -> str:
    return ", ".join(task.classes[:_SHOWN]) + (" …" if len(task.classes) > _SHOWN else "")


def _listed(entries: Sequence[OutputTable]) -> str:
    return ", ".join(f"{_key(entry.key)} ({entry.width} wide)" for entry in entries)


def _names_to_use(entries: Sequence[OutputTable]) -> str:
    if entries[0].key is None:
        return f"leave `output` out: it gives one table alone, {entries[0].width} wide"
    return f"`output` may be {_listed(entries)}"


def _key(key: Key) -> str:
    return "the one table" if key is None else repr(key)


def _undone(model: nn.Module, key: Key, table: Tensor, columns: Sequence[int]) -> str:
    """What undoes the network's last operation, where that certainly makes probabilities: "log", "logit" or "".

    A graph says itself how it ends; one that makes a softmax of smaller operations shows it by its numbers.
    """
    ends: Mapping[Key, str] | None = getattr(model, "undoes", None)
    undo = _UNDONE.get(_last_operation(table.grad_fn), "") if ends is None else ends.get(key, "")
    found = table.detach()[:, list(columns)]
    if undo == "log" or (ends is not None and not undo and len(columns) > 1 and bool((found >= 0).all())):
        sums = found.sum(1)
        return "log" if torch.allclose(sums, torch.ones_like(sums), atol=1e-3) else ""
    return undo


def _last_operation(node: torch.autograd.graph.Node | None) -> str:
    """Name of the gradient of the last operation that made the numbers; of all parts of a whole, where they agree."""
    while node is not None and node.name() in _MOVES:
        node = node.next_functions[0][0]
    if node is None:
        return ""
    if node.name() == "CatBackward0":
        kinds = {_last_operation(part) for part, _ in node.next_functions}
        return kinds.pop() if len(kinds) == 1 else ""
    return node.name()
