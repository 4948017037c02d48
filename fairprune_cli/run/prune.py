"""The whole story: checkpoint and manifest in, pruned and audited model out. Read this first."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.audit.policy import policy_of
from fairprune_cli.core import distributed as ranks
from fairprune_cli.core.device import choose_device, repeatable, set_threads
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.launch import started_as
from fairprune_cli.core.settings import Resolved, Settings
from fairprune_cli.core.signals import StopRequest, stop_on_signals
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.find import Transform
from fairprune_cli.fairness import relaxations
from fairprune_cli.models import measure
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.pruning import methods, target
from fairprune_cli.pruning.channels import removal as channels
from fairprune_cli.run.assembly import Assembly, constrained_notion
from fairprune_cli.run.audit import AuditStep, Outcome
from fairprune_cli.run.folder import RunFolder, SilentFolder, default_folder
from fairprune_cli.run.inputs import (
    Data,
    PruningPools,
    decoded_images,
    open_data,
    open_model,
    pruning_pools,
    transform_of,
)
from fairprune_cli.run.origin import of_this_form, origin_of, refuse_other_origin
from fairprune_cli.run.pruned import PrunedModel, as_written, report_parts
from fairprune_cli.run.watch import Watch, limits_of
from fairprune_cli.training.precision import faster_format
from fairprune_cli.training.reestimate import reestimate_batch_norm
from fairprune_cli.training.trainer import Diverged, Trainer

REESTIMATION_BATCHES = 50
NOTED_START = 0.001  # below it zeros are an accident


@dataclass(frozen=True)
class PruneRequest:
    """What `fairprune prune` was asked for, beyond the settings."""

    model: Path
    resolved: Resolved
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False


def prune(request: PruneRequest, terminal: Terminal) -> Outcome:
    """Prune, audit, export and report one model; see `fairprune prune --help`."""
    with ranks.joined(choose_device(request.resolved.settings.device)) as group:
        return _prune(request, terminal, group)


def _prune(request: PruneRequest, terminal: Terminal, group: ranks.Ranks) -> Outcome:
    settings = request.resolved.settings
    folder_path = request.out or default_folder(request.model, settings)
    with group.together():
        if not request.dry_run and group.number == 0:
            RunFolder.check_free(folder_path, request.force)
        run = _Run(request.model, settings, terminal, request.trust)
    if request.dry_run:
        return Outcome(run.plan(folder_path), ExitCode.OK)
    origin = {
        "model": str(request.model.resolve()), "model_sha256": run.loaded.sha256,
        "manifest": str(run.data.manifest.path.resolve()), "manifest_sha256": run.data.manifest.sha256,
        "trust": str(request.trust),
    }  # fmt: skip
    with group.together():
        folder: RunFolder = SilentFolder(folder_path)
        if group.number == 0:
            folder = RunFolder.create(folder_path, request.resolved, origin, request.force)
    try:
        return run.finish(folder, request.resolved, None)
    except BaseException:
        folder.discard_unless_resumable()
        raise


def resume(path: Path, flags: Mapping[str, Any], terminal: Terminal) -> Outcome:
    """Continue an interrupted run; model and data must be the ones it started with."""
    device = flags.get("device") or RunFolder.resume(path, flags)[1].settings.device
    with ranks.joined(choose_device(device)) as group:
        return _resume(path, flags, terminal, group)


def _resume(path: Path, flags: Mapping[str, Any], terminal: Terminal, group: ranks.Ranks) -> Outcome:
    folder: RunFolder = SilentFolder(path)
    read: Any = None
    with group.together():
        if group.number == 0:
            folder, resolved, origin = RunFolder.resume(path, flags)
            read = resolved, origin, folder.load_state(lambda text: terminal.warn(text, code="state"))
    resolved, origin, state = group.from_first(read)
    settings = replace(resolved.settings, data=resolved.settings.data or origin["manifest"])
    with group.together():
        run = _Run(Path(origin["model"]), settings, terminal, origin["trust"] == "True")
    changed = [
        name for name, now in (("model", run.loaded.sha256), ("manifest", run.data.manifest.sha256))
        if origin[f"{name}_sha256"] != now
    ]  # fmt: skip
    if changed:
        raise FairpruneError(
            f"the {' and the '.join(changed)} changed since the run began", where=str(path), hint="start a new run"
        )
    if state is None:
        terminal.note("no state was saved before the run ended; it begins at its first step")
    return run.finish(folder, resolved, state)


class _Run:
    """One pruning run: everything it reads, then its steps in order."""

    def __init__(self, model: Path, settings: Settings, terminal: Terminal, trust: bool) -> None:
        self.settings, self.terminal = settings, terminal
        self.started = time.time()
        self.threads = set_threads(settings.threads)
        self.device = choose_device(settings.device)
        repeatable(self.device)
        self.method = methods.get(settings.method)
        if settings.granularity not in self.method.granularities:
            raise FairpruneError(
                f"the method {settings.method} does not work for {settings.granularity}", where="--granularity",
                hint=f"use {' or '.join(self.method.granularities)}",
            )  # fmt: skip
        relaxations.get(settings.relaxation)
        if settings.compile and ranks.current().several:
            raise FairpruneError(
                "compiled networks cannot sum over processes in the middle", where="--compile",
                hint="leave it out, or use one process",
            )  # fmt: skip
        self.policy = policy_of(settings)
        self.data: Data = open_data(settings, model, terminal)
        # A policy may ask about more attributes than the constraint looks at.
        self.audited: Data = self.data.with_attributes(self.policy.attributes)
        self.notion = constrained_notion(settings, self.method, len(self.data.manifest.classes))
        self.loaded: LoadedModel = open_model(model, settings, self.data.manifest, terminal, trust)
        self.transform: Transform = transform_of(self.loaded, self.data.manifest, terminal)
        self.dense: nn.Module = self.loaded.model.eval().to(self.device)
        measure.macs(self.dense, self.transform.size)  # fails here where it does not take such images
        self.student: nn.Module = copy.deepcopy(self.dense)
        self.student.to(memory_format=torch.channels_last)
        self.before = target.earlier(self.loaded)
        # Fails here, before any training, when the target is out of reach.
        self.masks = target.build_masks(settings, self.student, self.transform.size, self.before)
        if self.masks.start > NOTED_START:
            terminal.note(f"{self.masks.start:.1%} of the prunable weights are removed already; they stay removed")

    def plan(self, folder: Path) -> dict[str, Any]:
        """What would be done; nothing is decoded, trained or written."""
        return {
            "dry_run": True, "folder": str(folder), "architecture": self.loaded.architecture,
            "method": self.settings.method, "granularity": self.settings.granularity,
            "sparsity": self.settings.sparsity, "prunable_parameters": self.masks.total,
            "units": len(self.masks.keep), "attributes": {g.name: list(g.groups) for g in self.data.groupings},
            "splits": self.data.manifest.counts(), "epochs": self.settings.epochs, "device": str(self.device),
        }  # fmt: skip

    def finish(self, folder: RunFolder, resolved: Resolved, state: dict[str, Any] | None) -> Outcome:
        """Train, save, audit the file that was saved, and report."""
        settings, terminal = self.settings, self.terminal
        group = ranks.current()
        with group.together():
            images = decoded_images(self.data, self.transform, terminal)
            pools = pruning_pools(self.data, images, settings)
        self.origin = origin_of(
            settings, model=self.loaded.sha256, manifest=self.data.manifest.sha256, images=images.digest
        )
        if state is not None:
            refuse_other_origin(state["origin"], self.origin, str(folder.state))
        with stop_on_signals() as stop:
            trainer = self._train(pools, folder, state, stop)
        with group.together():
            if group.number == 0:
                self._save_state(folder, trainer)  # an interrupted audit loses no training
                self._reestimate(pools.lower)
                self._save_model(folder.model, self.student, self.masks.keep)
        pruned = as_written(folder.model, group)
        step = AuditStep(
            {"dense": self.dense, "pruned": pruned},
            images.regrouped(self.audited.groupings).pool(pools.audit.rows), self.audited, settings, self.policy,
            self.device, terminal, group,
        )  # fmt: skip
        told = PrunedModel(
            resolved, self.loaded, self.dense, self.student, pruned, self.masks, self.before, trainer, folder.model,
            self.transform.size, pools.audit, self.data, self.device, self.threads, self.started,
        )  # fmt: skip
        return step.take(lambda: report_parts(told), folder.path, folder.finish)

    def _save_state(self, folder: RunFolder, trainer: Trainer) -> None:
        folder.save_state({"trainer": trainer.state_dict(), "origin": self.origin})

    def _train(
        self, pools: PruningPools, folder: RunFolder, state: dict[str, Any] | None, stop: StopRequest
    ) -> Trainer:
        settings, terminal = self.settings, self.terminal
        torch.manual_seed(settings.seed)
        trainer = Assembly(
            settings, self.method, self.notion, self.dense, self.student, self.masks, self.data, self.device
        ).trainer(pools)
        if state is not None:
            with of_this_form(str(folder.state)):
                trainer.load_state_dict(state["trainer"])
            terminal.note(f"continuing at step {trainer.step} of {trainer.steps}")
        elif settings.precision == "auto":
            self._choose_format(trainer)
        folder.keep_events(len(trainer.records))
        what = f"{settings.method} {settings.granularity} {settings.sparsity:g}"
        limits = limits_of(settings, self.method, trainer.plan, self.dense, pools.upper, self.device)
        with terminal.progress(what, trainer.steps) as display:
            trainer.compute.say = lambda text: terminal.warn(text, code="memory")
            trainer.on_progress = watch = Watch(
                trainer, folder, terminal, display, limits,
                lambda: self._save_state(folder, trainer), 60.0 * settings.save_minutes,
            )  # fmt: skip
            try:
                done = trainer.run(stop) if settings.sparsity > 0 else True
            except Diverged as error:
                watch.conclude()
                raise self._keep_best(trainer, folder, error) from error
        if not done:
            with ranks.current().together():  # a process that ends sooner would have torchrun end the one that saves
                self._save_state(folder, trainer)
            raise FairpruneError(
                f"stopped at step {trainer.step} of {trainer.steps}; the state is saved",
                hint=f"continue with: {started_as()} prune --resume {folder.path}",
                code=stop.code or ExitCode.TERMINATED,  # another process may be the one that was told to
            )  # fmt: skip
        watch.conclude()
        return trainer

    def _choose_format(self, trainer: Trainer) -> None:
        group, chosen = ranks.current(), ""
        with group.together():
            if group.number == 0:
                chosen = faster_format(self.student, -(-self.settings.batch_size // group.count), self.transform.size)
        chosen = group.from_first(chosen)
        trainer.compute.bf16 = chosen == "bf16"
        self.terminal.note(f"training passes are made in {chosen}, the faster here")

    def _keep_best(self, trainer: Trainer, folder: RunFolder, error: Diverged) -> FairpruneError:
        """Save the best state of a run that diverged; the error that says where it is."""
        best = trainer.best
        if ranks.current().number:
            return error
        if not best.epoch and not best.sparsity:
            return FairpruneError(f"{error.what}; no epoch was finished", hint=error.hint, code=error.code)
        model = copy.deepcopy(self.dense)
        if best.removed:
            channels.remove_channels(model, trainer.spaces, best.keep)
        model.load_state_dict(best.model)
        self._save_model(folder.best, model, best.keep)
        figures = f"after epoch {best.epoch}, sparsity {best.sparsity:.3f}"
        if best.accuracy >= 0:
            figures += f", accuracy {best.accuracy:.3f} on images of the run"
        return FairpruneError(
            f"{error.what}; the best state before it ({figures}) is in {folder.best}", hint=error.hint, code=error.code
        )

    def _reestimate(self, lower: Pool) -> None:
        if self.settings.sparsity == 0:
            self.terminal.warn("sparsity is 0, so the model is left as it is", code="nothing-to-prune")
            self.student.eval()
            return
        sampler = lower.sampler(self.settings.batch_size, self.device, self.settings.seed + 3, False)
        count = min(REESTIMATION_BATCHES, max(len(lower) // self.settings.batch_size, 1))
        with self.terminal.progress("batch norm", 1) as display:
            reestimate_batch_norm(self.student, (sampler.next().images for _ in range(count)))
            display.update(1)

    def _save_model(self, path: Path, model: nn.Module, keep: Tensor) -> None:
        kept = target.sparse_entries(self.masks, keep)
        for name, mask in kept.items():  # the state that a diverged run kept may be older than its removed channels
            if mask.shape != model.get_parameter(name).shape:
                kept[name] = self.before.alive[name]
        removed = target.removed(model, self.dense, kept, self.before)
        header = codec.ModelHeader(
            architecture=self.loaded.architecture, classes=tuple(self.data.manifest.classes),
            transform=self.transform.to_dict(), granularity=self.settings.granularity, removed=removed,
        )  # fmt: skip
        codec.save_model(path, rounded(model.state_dict(), self.settings.store), header=header, masks=kept)
