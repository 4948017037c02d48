"""What a manifest says of its tasks: the keys `outputs`, `output` and `threshold`, and the section `tasks`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fairprune_cli.core.errors import cut_text
from fairprune_cli.core.printable import is_printable
from fairprune_cli.data.manifest.columns import AttributeSpec, read_label
from fairprune_cli.data.manifest.task import Head
from fairprune_cli.data.manifest.yaml_section import YamlSection

HEAD_KEYS = ("outputs", "output", "threshold")
MOST_OUTPUTS = 1_000_000


@dataclass(frozen=True)
class TaskSpec:
    """A task as the document has it; `label` is None where a column or the folders name the labels otherwise."""

    name: str
    label: AttributeSpec | None
    classes: tuple[str, ...]
    head: Head


def named_tasks(section: YamlSection, needs_classes: bool) -> tuple[TaskSpec, ...]:
    """The tasks of `tasks: {NAME: {label, classes, outputs, output, threshold}}`, in their order."""
    found = []
    for name in section.nodes if section.within("tasks") else ():
        if not name.strip() or not is_printable(name) or ":" in name:
            section.fault(name, "a task's name is printable and without `:`")
            continue
        one = section.section(name)
        one.only("label", "classes", *HEAD_KEYS)
        if not one.has("label"):
            one.fault("label", "is missing: the column that is to be predicted, as in label: Blond_Hair")
        label = read_label(one) if one.has("label") else None
        found.append(read_task(one, name, label, needs_classes))
    if not found and not section.problems:
        section.problems.add("tasks: name at least one, as in tasks: {smile: {label: Smiling, outputs: [31]}}")
    _refuse_shared(section, found)
    return tuple(found) or (TaskSpec("", None, (), Head()),)


def _refuse_shared(section: YamlSection, tasks: Sequence[TaskSpec]) -> None:
    of: dict[tuple[str | int | None, int], str] = {}
    for task in tasks:
        for position in task.head.outputs or ():
            other = of.setdefault((task.head.output, position), task.name)
            if other != task.name:
                section.fault(task.name, f"output {position} is that of the task {other} already")


def _classes(holder: YamlSection, label: AttributeSpec | None, needed: bool) -> tuple[str, ...]:
    """The names under `classes`; () where there are none."""
    if not holder.has("classes"):
        if needed and not (label and (label.names or label.bins)):
            holder.fault("classes", "is missing: the names of the labels, in the order of the model's outputs")
        return ()
    classes = holder.texts("classes")
    if len(classes) == 1:
        holder.fault("classes", "a classifier needs at least two")
    return classes


def _head(holder: YamlSection) -> Head:
    """What `outputs`, `output` and `threshold` say; faults are noted, and a faulty key counts as absent."""
    outputs = _outputs(holder) if holder.has("outputs") else None
    output: str | int | None = holder.text("output") or None if holder.has("output") else None
    if isinstance(output, str) and output.isdecimal():
        output = int(output)
    threshold = None
    if holder.has("threshold"):
        threshold = holder.number("threshold")
        if not 0.0 < threshold < 1.0:
            if not math.isnan(threshold):
                holder.fault("threshold", f"expected a number above 0 and below 1, found {threshold:g}")
            threshold = None
    return Head(outputs, output, threshold)


def _outputs(holder: YamlSection) -> tuple[int, ...] | None:
    numbers = holder.numbers("outputs")
    whole = tuple(int(n) for n in numbers if n.is_integer() and 0 <= n < MOST_OUTPUTS)
    if not numbers or len(whole) < len(numbers):
        if numbers:
            holder.fault("outputs", "expected positions of outputs, whole numbers from 0")
        return None
    if len(set(whole)) < len(whole):
        twice = sorted(n for n, times in Counter(whole).items() if times > 1)
        holder.fault("outputs", f"named twice: {cut_text(', '.join(map(str, twice)))}")
        return None
    return whole


def head_faults(head: Head, classes: int) -> dict[str, str]:
    """What in a head does not go with so many classes, by key."""
    faults = {}
    given = 0 if head.outputs is None else len(head.outputs)
    single = given == 1 and classes == 2
    if given and not single and given != classes:
        alone = ", or one alone, the score of the second" if classes == 2 else ""
        faults["outputs"] = f"{given} for {classes} classes: give the position of each one's score{alone}"
    if head.threshold is not None and (classes > 2 or (given and not single)):
        faults["threshold"] = "belongs to one score for two classes, through a sigmoid"
    return faults


def read_task(holder: YamlSection, name: str, label: AttributeSpec | None, needs_classes: bool) -> TaskSpec:
    """The task whose `classes` and head stand in a section.

    Args:
        label: the column that it predicts; needs_classes: whether the classes must be named unless the label does.
    """
    classes, head = _classes(holder, label, needs_classes), _head(holder)
    if len(classes) > 1:
        for key, text in head_faults(head, len(classes)).items():
            holder.fault(key, text)
    return TaskSpec(name, label, classes, head)
