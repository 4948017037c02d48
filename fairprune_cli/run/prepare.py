"""What a pruning run starts from: its model, its data, its masks, checked before anything is computed or written."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli.audit.policy import Policy, policy_of
from fairprune_cli.core.device import choose_device, repeatable, set_threads
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.models import measure
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.models.read_out import read_out_of
from fairprune_cli.models.score_search import refuse_other_outputs_in_training
from fairprune_cli.models.soundness import refuse_unsound
from fairprune_cli.pruning import methods, target
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.run.assembly import constrained_notion
from fairprune_cli.run.foreseen import (
    refuse_gates_without_groups,
    refuse_thresholds,
    warn_of_undecidable_gates,
)
from fairprune_cli.run.inputs import PruningRows, open_model, pruning_rows, transform_of
from fairprune_cli.run.opened_data import Data, open_data, parted_data
from fairprune_cli.run.options import Settings
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins
from fairprune_cli.training.last_layer import last_layers

NO_BUDGET = 1.0  # as `max_accuracy_loss`: all of the accuracy may go
NOTED_START = 0.001  # below it zeros are an accident


@dataclass(frozen=True)
class Prepared:
    """A run before its first step.

    Attributes:
        settings: of the run; method: what it names; notions: that are constrained, one per task; policy: what the audit
            is judged by.
        terminal: where the run talks; group: the processes that share it; device, threads: what it computes on.
        started: seconds since the epoch.
        data: with the attributes of the constraint; audited: with those of the policy, too; rows: who reads which.
        loaded: the model's file; transform: of its images; before: what an earlier pruning removed from it.
        dense: the model as it came; student: its copy, which is pruned, with `masks` over it.
        channels_last: whether the student and its images lie so in memory.
    """

    settings: Settings
    terminal: Terminal
    group: Ranks
    started: float
    threads: int
    device: torch.device
    method: type[methods.Method]
    notions: tuple[fairness.Notion, ...]
    policy: Policy
    data: Data
    audited: Data
    rows: PruningRows
    loaded: LoadedModel
    transform: Transform
    before: target.Earlier
    dense: nn.Module
    student: nn.Module
    masks: Masks
    channels_last: bool

    @property
    def has_accuracy_budget(self) -> bool:
        """Whether accuracy has a budget, and there is a constraint that it could hold back."""
        settings = self.settings
        acts = self.method.constrains(settings.fairness_on) and settings.sparsity > 0
        return acts and settings.max_accuracy_loss < NO_BUDGET

    def plan(self, folder: Path) -> dict[str, Any]:
        """What would be done; nothing is trained or written."""
        first = {}
        if self.has_accuracy_budget:
            first["trained_first"] = "the same run without the constraint"
        return {
            "dry_run": True, "folder": str(folder), "architecture": self.loaded.architecture, **first,
            "method": self.settings.method, "granularity": self.settings.granularity,
            "sparsity": self.settings.sparsity, "prunable_parameters": self.masks.total,
            "units": len(self.masks.keep), "attributes": {g.name: list(g.groups) for g in self.data.groupings},
            "splits": self.data.manifest.counts(), "epochs": self.settings.epochs, "device": str(self.device),
        }  # fmt: skip


def prepare(
    model: Path, settings: Settings, terminal: Terminal, trust: bool, group: Ranks, network: nn.Module | None = None
) -> Prepared:
    """Read and check what a run needs, but for the images' pixels.

    Args:
        model: file or folder of the dense model.
        trust: whether its file may run code.
        network: the dense model itself where it has no file, and `model` is only its name.

    Raises:
        FairpruneError: settings that do not go together, a file that cannot be read, a target out of reach.
    """
    started, threads, device = time.time(), set_threads(settings.threads), choose_device(settings.device)
    repeatable(device)
    method = _method(settings, group)
    settings = replace(settings, **method.own_budget(settings, settings.sparsity))
    policy = policy_of(settings)
    if not is_import_path(settings.notion):  # what a plug-in's is may hang on the number of classes
        _refuse_target(settings, method, [constrained_notion(settings, method, 2)])
    data = open_data(settings, model if network is None else None, terminal)
    refuse_broken_plug_ins(*(len(task.classes) for task in data.manifest.tasks))
    _audited_and_rows(data, settings, policy)  # fails here, before the model and the images are read
    notions = tuple(constrained_notion(settings, method, len(task.classes)) for task in data.manifest.tasks)
    _refuse_target(settings, method, notions)
    loaded = open_model(model, settings, data.manifest, terminal, trust, in_memory=network)
    transform = transform_of(loaded, data.manifest, terminal)
    dense = loaded.model.eval()
    target.refuse_frozen(dense)
    measure.macs(dense, transform.shape)  # fails here where it does not take such images
    refuse_unsound(dense, transform.shape, str(loaded.source))  # on the CPU: a GPU may add up in another order
    dense.to(device)
    if (read_out := read_out_of(dense)) is not None:
        refuse_other_outputs_in_training(dense, read_out, transform.shape)
    if method.retrains:
        last_layers(dense, transform.shape)  # fails here where there is none
    student = copy.deepcopy(dense)
    channels_last = _layout(loaded, transform)
    if channels_last:
        student.to(memory_format=torch.channels_last)
    before = target.earlier(loaded)
    # Fails here, before any training, when the target is out of reach.
    masks = target.build_masks(settings, student, transform.shape, before)
    if masks.start > NOTED_START:
        terminal.note(f"{masks.start:.1%} of the prunable weights are removed already; they stay removed")
    data = parted_data(data, terminal)
    audited, rows = _audited_and_rows(data, settings, policy)
    warn_of_undecidable_gates(policy, audited, settings.split, terminal)
    return Prepared(
        settings, terminal, group, started, threads, device, method, notions, policy, data, audited, rows, loaded,
        transform, before, dense, student, masks, channels_last,
    )  # fmt: skip


def _audited_and_rows(data: Data, settings: Settings, policy: Policy) -> tuple[Data, PruningRows]:
    """The data with the attributes of the policy, which may ask about more than the constraint looks at, and its rows.

    Raises:
        FairpruneError: they lack groups that a gate asks for, or images of a split.
    """
    audited = data.with_attributes(policy.attributes)
    refuse_gates_without_groups(policy, audited)
    refuse_thresholds(settings, data)
    return audited, pruning_rows(data, settings)


def _refuse_target(settings: Settings, method: type[methods.Method], notions: Iterable[Notion]) -> None:
    """Refuse the dense model's gap as a bound on what is measured against the dense model anyway, if it is read."""
    read = method.constrains(settings.fairness_on) or settings.group_thresholds
    if read and settings.target == "dense" and any(notion.relative for notion in notions):
        own = method.dual.own_notion(settings.method_notion)
        raise FairpruneError(
            "what is constrained is held against the dense model as it is", where="--target dense",
            hint=f"leave it out, or ask for another --notion{' with --set method_notion=asked' if own else ''}",
        )  # fmt: skip


def _layout(loaded: LoadedModel, transform: Transform) -> bool:
    """Whether the network trains channels-last, as convolutions are faster that way.

    Raises:
        FairpruneError: it trains in no layout.
    """
    if not fault_of_training(loaded.model, transform.shape, channels_last=True):
        return True
    if fault := fault_of_training(loaded.model, transform.shape):
        raise FairpruneError(
            f"a training pass of the network fails on {transform.shape}: {fault}", where=str(loaded.source),
            hint="mend its code, or set `transform: {size: ...}` of the manifest to what it was trained on",
        )  # fmt: skip
    return False


def _method(settings: Settings, group: Ranks) -> type[methods.Method]:
    """The method that the settings name, if they suit it and the processes."""
    method = methods.get(settings.method)
    if settings.granularity not in method.granularities:
        raise FairpruneError(
            f"the method {settings.method} does not work for {settings.granularity}", where="--granularity",
            hint=f"use {' or '.join(method.granularities)}",
        )  # fmt: skip
    method = method.formed(settings)
    relaxations.get(settings.relaxation)
    if settings.compile and group.several:
        raise FairpruneError(
            "compiled networks cannot sum over processes in the middle", where="--compile",
            hint="leave it out, or use one process",
        )  # fmt: skip
    return method
