"""What the data say of a run's gates before anything is computed: those that cannot be judged, or cannot pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairprune_cli.audit.figures import SmallGroup
from fairprune_cli.audit.policy import Policy, Rule
from fairprune_cli.audit.unseen import in_words
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.manifest import Grouping
from fairprune_cli.fairness.bias_descent import MOST_CLASSES
from fairprune_cli.run.early import refuse_several_thresholds
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Settings


def refuse_gates_without_groups(policy: Policy, data: Data) -> None:
    """Refuse gates on groups where there are none, or on a gap where there are no two.

    Args:
        data: with the attributes of the policy.

    Raises:
        FairpruneError: every such gate at once.
    """
    problems = Problems(str(data.manifest.path))
    for rule in policy.rules:
        if _on_groups(rule) and not _judged(rule, data):
            raise FairpruneError(
                "a gate on groups was asked for, and the manifest has no attributes", where=str(data.manifest.path),
                hint="name them under `attributes`",
            )  # fmt: skip
        for grouping in _judged(rule, data):
            if rule.gates.max_gap is not None and len(grouping.groups) < 2:
                have = f"only {grouping.groups[0]!r}" if grouping.groups else "none"
                text = f"{grouping.name}: a gap needs two groups, and the data have {have}"
                if text not in problems.texts:
                    problems.add(text)
    problems.raise_if_any("ask for no gap of it, or give the data its other groups")


def refuse_thresholds(settings: Settings, data: Data) -> None:
    """Refuse to fit thresholds of groups where it is not said of which, or for more classes than are searched.

    Args:
        data: with the attributes of the constraint.
    """
    if not settings.group_thresholds:
        return
    refuse_several_thresholds(settings)
    most = max(len(task.classes) for task in data.manifest.tasks)
    if most > MOST_CLASSES:
        raise FairpruneError(
            f"biases are fitted for up to {MOST_CLASSES} classes, and the data have {most}", where="--group-thresholds",
            hint="leave it out",
        )  # fmt: skip


def warn_of_undecidable_gates(policy: Policy, data: Data, split: str, terminal: Terminal) -> None:
    """Say before any training which gates can at best be inconclusive, as groups have too few images in the split.

    Args:
        data: with the attributes of the policy.
    """
    rows = data.rows(split)
    for text in dict.fromkeys(_undecidable(policy, data, rows)):
        terminal.warn(f"{text} in the {split} split: the verdict cannot be pass", code="gates")


def _undecidable(policy: Policy, data: Data, rows: np.ndarray) -> Iterator[str]:
    for rule in policy.rules:
        least = rule.gates.min_group
        if rule.gates.allow_small_groups or not (rule.attributes or _on_groups(rule)):
            continue
        for grouping in _judged(rule, data):
            index = grouping.index[rows]
            counts = np.bincount(index[index >= 0], minlength=len(grouping.groups)).tolist()
            sizes = [*zip(grouping.groups, counts, strict=True), *((name, 0) for name in grouping.absent)]
            if small := [SmallGroup(name, n) for name, n in sizes if n < least]:
                yield f"a gate on {grouping.name} asks for {least} images of each group, there are {in_words(small)}"
            if not grouping.dropped and (lost := int((index < 0).sum())):
                yield f"a gate is on {grouping.name}, and {lost:,} images are in none of its groups"


def _on_groups(rule: Rule) -> bool:
    """Whether it has a gate that is judged on groups alone."""
    return any(bound is not None for bound in rule.gates.on_groups.values())


def _judged(rule: Rule, data: Data) -> list[Grouping]:
    """The groupings that a rule judges."""
    return [one for one in data.groupings if not rule.attributes or one.name in rule.attributes]
