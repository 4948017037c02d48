"""The class names that a model's file holds, and whether they are the manifest's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.task import Task

LISTS = ("classes", "class_names")  # names in the order of the outputs
POSITIONS = ("class_to_idx",)  # torchvision's ImageFolder: the output of each name
NAMES = ("idx_to_class", "id2label")  # the name of each output
_SHOWN = 12


def names_in(root: Any, width: int) -> tuple[str, ...] | None:
    """The class names that a checkpoint holds beside its weights, in the order of the outputs.

    Args:
        root: the saved object, read as data.
        width: how many outputs the network has; 0 where that is not known. Lists of another length are passed over.
    """
    if not isinstance(root, Mapping):
        return None
    for key in (*LISTS, *POSITIONS, *NAMES):
        found = _ordered(root.get(key), key)
        if found and width in (0, len(found)):
            return found
    return None


def _ordered(value: Any, key: str) -> tuple[str, ...] | None:
    if key in LISTS:
        listed = list(value) if isinstance(value, list | tuple) else []
    else:
        pairs = list(value.items()) if isinstance(value, Mapping) else []
        try:
            found = {int(p[1]): p[0] for p in pairs} if key in POSITIONS else {int(p[0]): p[1] for p in pairs}
        except (TypeError, ValueError):
            return None
        listed = [found[k] for k in sorted(found)] if sorted(found) == list(range(len(pairs))) else []
    return tuple(listed) if len(listed) > 1 and all(isinstance(name, str) for name in listed) else None


def check_class_names(
    names: Sequence[str] | None, told: Sequence[Mapping[str, Any]], tasks: Sequence[Task], where: str,
    from_manifest: bool = False,
) -> list[str]:  # fmt: skip
    """Hold the class names of a model's file against the manifest's; what is not named there is not looked at.

    Args:
        names: in the order of the outputs, where the file has one list of them.
        told: the tasks that the file tells of, as `data.manifest.task.described` gives them.
        tasks: the manifest's; where: the file.
        from_manifest: let the manifest's names stand all the same.

    Returns:
        Sentences on names that were passed over for the manifest's.

    Raises:
        FairpruneError: other names, or the same in another order.
    """
    passed_over = []
    for task in tasks:
        found = _named(names, told, task, len(tasks))
        if found is None or tuple(found) == task.classes or _numbers_alone(found, task.classes):
            continue
        said = f"the network's outputs are {_listed(found)}, the manifest says {_listed(task.classes)}"
        if task.name:
            said = f"{task.name}: {said}"
        if not from_manifest:
            same = sorted(found) == sorted(task.classes)
            mend = (
                "write the manifest's `classes` in the order of the network's outputs"
                if same
                else ("give the manifest that the network was trained with, or its names under `classes`")
            )
            raise FairpruneError(
                said, where=where, hint=f"{mend}; where the manifest is right, say --classes-from manifest"
            )
        passed_over.append(f"{said}; the manifest's are taken, as --classes-from says")
    return passed_over


def _named(
    names: Sequence[str] | None, told: Sequence[Mapping[str, Any]], task: Task, tasks: int
) -> Sequence[str] | None:
    """What the file calls the classes of a task; None where it does not say, () of a task that it does not have."""
    if told:
        alike = [one for one in told if one["name"] == task.name and task.name]
        alike = alike or [one for one in told if sorted(one["classes"]) == sorted(task.classes)]
        alike = alike or (list(told) if len(told) == tasks == 1 else [])
        if alike:
            return next((one["classes"] for one in alike if tuple(one["classes"]) == task.classes), alike[0]["classes"])
        return None if task.head.outputs else [name for one in told for name in one["classes"]]
    outputs = task.head.outputs
    if names is None or tasks > 1:
        return None
    if outputs is not None and len(outputs) > 1:
        return [names[k] for k in outputs] if max(outputs) < len(names) else None
    return names


def _numbers_alone(found: Sequence[str], classes: Sequence[str]) -> bool:
    """Whether outputs are merely numbered, which is how files are written whose classes nobody named."""
    return list(found) == [str(k) for k in range(len(found))] and sorted(found) != sorted(classes)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
