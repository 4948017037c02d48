"""The whole story: checkpoint and manifest in, pruned and audited model out. Read this first.

`prune` and `resume` prepare a run (prepare.py) and carry it out: train (train.py), save (save.py), audit, report.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from fairprune_cli.audit.counts import BrokenScores
from fairprune_cli.core.device import choose_device
from fairprune_cli.core.distributed import Ranks, joined
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.locks import refuse_in_use, written_alone
from fairprune_cli.core.signals import StopRequest, if_stopped, stop_on_signals
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.models.checkpoint.contents import sha256_of_model
from fairprune_cli.models.read_out import attach, read_out_of
from fairprune_cli.run.audit_report import Outcome
from fairprune_cli.run.audit_step import AuditStep, points_in_use
from fairprune_cli.run.first_look import look_at_dense
from fairprune_cli.run.folder import RunFolder, SilentFolder, default_folder, resumed_in_python
from fairprune_cli.run.group_fit import fit_thresholds, write_points
from fairprune_cli.run.inputs import PruningPools, decoded_images
from fairprune_cli.run.options import Resolved
from fairprune_cli.run.origin import of_this_form, origin_of, refuse_other_origin
from fairprune_cli.run.prepare import Prepared, prepare
from fairprune_cli.run.pruned import Pruned, as_written, report_parts
from fairprune_cli.run.save import calibrate, reestimate, retrain, write_model
from fairprune_cli.run.train import train, trainer_of, what_was_kept
from fairprune_cli.run.trial import try_out
from fairprune_cli.run.unconstrained import Unconstrained, spent_of, train_unconstrained
from fairprune_cli.training.trainer import Trainer


@dataclass(frozen=True)
class PruneRequest:
    """What `fairprune prune` was asked for, beyond the settings.

    Attributes:
        network: the dense model itself, where the caller has it in memory and `model` is only its name.
    """

    model: Path
    resolved: Resolved
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False
    network: nn.Module | None = None


def prune(request: PruneRequest, terminal: Terminal) -> Outcome:
    """Prune, audit, export and report one model; see `fairprune prune --help`."""
    with joined(choose_device(request.resolved.settings.device)) as group:
        return _prune(request, terminal, group)


def _prune(request: PruneRequest, terminal: Terminal, group: Ranks) -> Outcome:
    settings = request.resolved.settings
    folder_path = request.out or default_folder(request.model, settings)
    with group.together():
        if group.number == 0:
            if not request.dry_run:
                refuse_in_use(folder_path, folder=True)
            RunFolder.check_free(folder_path, request.force)
        run = prepare(request.model, settings, terminal, request.trust, group, request.network)
        if group.number == 0:
            try_out(run)
    if request.dry_run:
        with group.together():
            if group.number == 0:
                look_at_dense(run)
        return Outcome(run.plan(folder_path), ExitCode.OK)
    origin = {
        "model": str(request.model.resolve() if request.network is None else request.model),
        "in_memory": str(request.network is not None), "model_sha256": run.loaded.sha256,
        "manifest": str(run.data.manifest.path.resolve()), "manifest_sha256": run.data.manifest.sha256,
        "trust": str(request.trust), "directory": str(Path.cwd()),
    }  # fmt: skip
    with ExitStack() as held:
        with group.together():
            folder: RunFolder = SilentFolder(folder_path)
            if group.number == 0:
                held.enter_context(written_alone(folder_path, folder=True))
                folder = RunFolder.create(folder_path, request.resolved, origin, request.force)
        try:
            return _carry_out(run, folder, request.resolved, None)
        except BaseException:
            folder.discard_unless_resumable()
            raise


def resume(
    path: Path, flags: Mapping[str, Any], terminal: Terminal, trust: bool = False, network: nn.Module | None = None
) -> Outcome:
    """Continue an interrupted run; model and data must be the ones it started with.

    Args:
        flags: settings that were given again; code of the user's own has to be.
        trust: whether the model's file may run code; a run that began so asks for it again.
        network: the dense model of a run that began with one in memory.
    """
    device = RunFolder.resume(path, flags)[1].settings.device
    with joined(choose_device(device)) as group:
        return _resume(path, flags, terminal, trust, group, network)


def _resume(
    path: Path, flags: Mapping[str, Any], terminal: Terminal, trust: bool, group: Ranks, network: nn.Module | None
) -> Outcome:
    folder: RunFolder = SilentFolder(path)
    read: Any = None
    with ExitStack() as held:
        with group.together():
            if group.number == 0:
                held.enter_context(written_alone(path, folder=True))
                folder, resolved, origin = RunFolder.resume(path, flags)  # again: another process may have ended it
                read = resolved, origin, folder.load_state(lambda text: terminal.warn(text, code="state"))
        return _go_on(folder, group.from_first(read), terminal, trust, group, network)


def _go_on(
    folder: RunFolder, read: tuple[Resolved, dict[str, str], dict[str, Any] | None], terminal: Terminal, trust: bool,
    group: Ranks, network: nn.Module | None,
) -> Outcome:  # fmt: skip
    resolved, origin, state = read
    path = folder.path
    settings = replace(resolved.settings, data=resolved.settings.data or origin["manifest"])
    with group.together():
        _same_trust(path, origin, trust)
        _same_place(path, origin, network)
        if network is None:  # before anything of it is loaded, and the more so before a trusted one runs
            _refuse_changed(path, origin, model=sha256_of_model(Path(origin["model"])))
        run = prepare(Path(origin["model"]), settings, terminal, trust, group, network)
    _refuse_changed(path, origin, model=run.loaded.sha256, manifest=run.data.manifest.sha256)
    if state is None:
        terminal.note("no state was saved before the run ended; it begins at its first step")
    return _carry_out(run, folder, resolved, state)


def _refuse_changed(path: Path, origin: Mapping[str, str], **now: str) -> None:
    """Raise FairpruneError where an input has another hash `now` than when the run began."""
    changed = [name for name, digest in now.items() if origin[f"{name}_sha256"] != digest]
    if changed:
        raise FairpruneError(
            f"the {' and the '.join(changed)} changed since the run began", where=str(path), hint="start a new run"
        )


def _same_trust(path: Path, origin: Mapping[str, str], trust: bool) -> None:
    """A run folder is no reason to run a checkpoint's code: who continues the run says so again."""
    trusted = origin["trust"] == "True"
    if trusted != trust:
        raise FairpruneError(
            f"the run began {'with' if trusted else 'without'} --trust-checkpoint", where=str(path),
            hint="if you trust the file, say so again" if trusted else "leave it out",
        )  # fmt: skip


def _same_place(path: Path, origin: Mapping[str, str], network: nn.Module | None) -> None:
    """A network in memory is given again; one of a file is read again."""
    if origin.get("in_memory") == "True" and network is None:
        raise FairpruneError(
            f"the run began with a network in memory, {origin['model']}", where=str(path),
            hint=f"give it again: {resumed_in_python(path)}",
        )  # fmt: skip
    if origin.get("in_memory") != "True" and network is not None:
        raise FairpruneError(f"the run began with {origin['model']}", where=str(path), hint="give no network")


def _carry_out(run: Prepared, folder: RunFolder, resolved: Resolved, state: Mapping[str, Any] | None) -> Outcome:
    """Train, save, audit the file that was saved, and report."""
    with if_stopped(lambda: what_was_kept(run, folder)):
        return _steps(run, folder, resolved, state)


def _steps(run: Prepared, folder: RunFolder, resolved: Resolved, state: Mapping[str, Any] | None) -> Outcome:
    group = run.group
    with group.together():
        images = decoded_images(run.data, run.transform, run.terminal)
        pools = run.rows.pools(images)
        if state is None and group.number == 0:
            look_at_dense(run, images)
    origin = origin_of(
        run.settings, model=run.loaded.sha256, manifest=run.data.manifest.sha256, images=images.digest
    )  # fmt: skip
    if state is not None:
        refuse_other_origin(state["origin"], origin, str(folder.state))
    with stop_on_signals() as stop:
        free = _unconstrained(run, pools, folder, stop, state, origin)
        budgets = [] if free is None else free.budgets(run.settings.max_accuracy_loss)
        begun = None if state is None or "seen" in state else state["trainer"]
        trainer = trainer_of(run, pools, folder, begun, budgets)

        def save_state() -> None:
            kept = {} if free is None else {"unconstrained": free.to_state()}
            folder.save_state({"trainer": trainer.state_dict(), "origin": origin, **kept})

        train(run, trainer, pools, folder, save_state, stop)
    with group.together():
        if group.number == 0:
            save_state()  # an interrupted audit loses no training
            reestimate(run, pools.lower, trainer.lower)
            retrain(run, pools.upper)
            calibrate(run, pools.upper)
            points = fit_thresholds(run, pools.upper)
            write_model(run, folder.model, run.student, run.masks.sparse_entries(run.masks.keep), points)
            write_points(points, folder.path)
    return _audit(run, trainer, images, pools, folder, resolved, free)


def _unconstrained(
    run: Prepared, pools: PruningPools, folder: RunFolder, stop: StopRequest, state: Mapping[str, Any] | None,
    origin: Mapping[str, Any],
) -> Unconstrained | None:  # fmt: skip
    """What the accuracy is held against, if it is; trained, or trained on, where no state holds it."""
    if not run.has_accuracy_budget:
        return None
    if state is None or "seen" in state:
        return train_unconstrained(
            run, pools, folder, stop, state, lambda kept: folder.save_state({**kept, "origin": origin})
        )
    with of_this_form(str(folder.state)):
        return Unconstrained.of_state(state["unconstrained"])


def _audit(
    run: Prepared, trainer: Trainer, images: ImageSet, pools: PruningPools, folder: RunFolder, resolved: Resolved,
    free: Unconstrained | None,
) -> Outcome:  # fmt: skip
    pruned, points = as_written(folder.model, run.loaded.structure, run.group)
    if (read_out := read_out_of(run.dense)) is not None:
        attach(pruned, read_out)
    step = AuditStep(
        {"dense": run.dense, "pruned": pruned},
        images.regrouped(run.audited.groupings).pool(pools.audit.rows), run.audited, run.settings, run.policy,
        run.device, run.terminal, run.group, searches=False,
        points={"pruned": points_in_use(points, run.data.manifest)} if points else {},
    )  # fmt: skip
    spent = None if free is None else spent_of(free, run, pruned, pools.upper)
    told = Pruned(run, resolved, trainer, pruned, folder.model, pools.audit, spent)
    try:
        return step.take(lambda: report_parts(told), folder.path, folder.finish)
    except BrokenScores as error:
        error.code = ExitCode.RUNTIME  # the dense model gave scores at the first look
        raise
