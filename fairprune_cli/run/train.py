"""The training step of a run: a trainer from the beginning or from a saved state, watched, and saved when it stops."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fairprune_cli.core.device import strictly_repeatable, tf32
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.launch import started_as
from fairprune_cli.core.signals import StopRequest
from fairprune_cli.fairness.accuracy_budget import AccuracyWatch
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.run.assembly import Assembly
from fairprune_cli.run.folder import RunFolder, resume_arguments, resumed_in_python
from fairprune_cli.run.inputs import PruningPools
from fairprune_cli.run.origin import of_this_form
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.run.save import write_model
from fairprune_cli.run.thin_groups import readings_of, warn_of_thin_groups
from fairprune_cli.run.watch import Watch, limits_of
from fairprune_cli.training.precision import chosen_precision
from fairprune_cli.training.state_form import refuse_other_form
from fairprune_cli.training.trainer import Diverged, Trainer


def trainer_of(
    run: Prepared, pools: PruningPools, folder: RunFolder, state: Mapping[str, Any] | None,
    accuracies: Sequence[AccuracyWatch] = (),
) -> Trainer:  # fmt: skip
    """A trainer at its first step, or where `state`, a trainer's own, was taken.

    Args:
        accuracies: per task, what is told of its accuracy and weighs it.

    Raises:
        FairpruneError: the state has another form.
    """
    torch.manual_seed(run.settings.seed)
    trainer = Assembly(
        run.settings, run.method, run.notions, run.dense, run.student, run.masks, run.data, run.device, run.group,
        run.channels_last, tuple(accuracies),
    ).trainer(pools)  # fmt: skip
    if state is not None:
        with of_this_form(str(folder.state)):
            refuse_other_form(state, trainer.state_dict(), trainer.steps)
            trainer.load_state_dict(state)
        run.terminal.note(f"continuing at step {trainer.done} of {trainer.steps}")
    else:
        trainer.compute.bf16 = _precision(run) == "bf16"
    return trainer


def train(
    run: Prepared, trainer: Trainer, pools: PruningPools, folder: RunFolder, save: Callable[[], None], stop: StopRequest
) -> None:
    """Train to the end of the budget.

    Args:
        save: writes the trainer's state into the folder.
        stop: asked after each step.

    Raises:
        FairpruneError: the run was stopped, and its state is saved; or it diverged, and its best state is.
    """
    settings, terminal = run.settings, run.terminal
    folder.keep_events(len(trainer.records))
    what = f"{settings.method} {settings.granularity} {settings.sparsity:g}"
    limits = limits_of(settings, run.method, trainer.plan, run.dense, pools.upper, run.device)
    if run.method.constrains(settings.fairness_on) and settings.sparsity > 0:
        _tell_of_tolerances(run, trainer)
        _warn_of_thin_groups(run, trainer, pools)
    with terminal.progress(what, trainer.steps) as display:
        trainer.compute.say = lambda text: terminal.warn(text, code="memory")
        trainer.compute.unrecorded = lambda text: terminal.warn(text, code="capture")
        trainer.on_progress = watch = Watch(
            trainer, folder, terminal, display, limits, save, 60.0 * settings.save_minutes
        )
        try:
            with tf32(run.device, True), strictly_repeatable(run.device, lambda: _fault(run, trainer)) as fault:
                if fault:
                    terminal.note(f"another run on this GPU may end in other bytes: {fault}")
                done = trainer.run(stop) if settings.sparsity > 0 else True
        except Diverged as error:
            watch.conclude()
            raise _keep_best(run, trainer, folder, error) from error
    if not done:
        with run.group.together():  # a process that ends sooner would have torchrun end the one that saves
            save()
        raise FairpruneError(
            f"stopped at step {trainer.done} of {trainer.steps}; the state is saved",
            hint=how_to_go_on(run, folder),
            code=stop.code or ExitCode.TERMINATED,  # another process may be the one that was told to
        )
    watch.conclude()


def _tell_of_tolerances(run: Prepared, trainer: Trainer) -> None:
    """Say which gaps of the dense model are left alone."""
    asked = run.settings.tolerance
    for name, allowed in zip(trainer.groups.names, trainer.constraint.tolerances, strict=True):
        if allowed > asked:
            run.terminal.note(
                f"{name}: a gap of {run.settings.notion} of up to {100 * allowed:.1f} points is left alone, since the "
                f"dense model has it; `--target absolute` asks for {100 * asked:g}"
            )


def _warn_of_thin_groups(run: Prepared, trainer: Trainer, pools: PruningPools) -> None:
    drawn = {"lower": {pools.lower: trainer.lower}, "upper": {pools.upper: trainer.upper}}
    drawn["both"] = drawn["lower"] | drawn["upper"]
    tallies = trainer.constraint.tallies
    readings = readings_of(
        run.data, run.notions, trainer.constraint.tolerances, drawn[trainer.options.multiplier_data],
        tallies[0].memory if tallies else 0.0, run.method.dual.per_group, run.dense, run.device,
    )  # fmt: skip
    errors = run.settings.tolerance_errors if run.method.dual.errors is None else run.method.dual.errors
    warn_of_thin_groups(readings, errors, run.settings.tolerance, run.terminal)


def what_was_kept(run: Prepared, folder: RunFolder) -> tuple[str, str]:
    """What a signal leaves of a run, outside of its loop, and how to go on."""
    if folder.report.exists() and not folder.state.exists():
        return "the run is done", f"see {folder.report}"
    if folder.state.exists():
        return "the state is saved", how_to_go_on(run, folder)
    return "no step was saved yet", "run the same command again"


def how_to_go_on(run: Prepared, folder: RunFolder) -> str:
    arguments = shlex.join(resume_arguments(folder.path, run.settings, run.loaded.trusted))
    again = resumed_in_python(folder.path) if run.loaded.in_memory else f"{started_as()} {arguments}"
    return f"continue with: {again}"


def _fault(run: Prepared, trainer: Trainer) -> str:
    """What a training pass raises, in its layout and number format."""
    layout, bf16 = run.channels_last, trainer.compute.bf16
    return fault_of_training(run.dense, run.transform.shape, channels_last=layout, bf16=bf16)


def _precision(run: Prepared) -> str:
    """That of the first process's machine, on all of them."""
    group, chosen = run.group, ""
    with group.together():
        if group.number == 0:
            chosen = chosen_precision(run.settings.precision, run.dense, run.transform.shape, run.device)
    return group.from_first(chosen)


def _keep_best(run: Prepared, trainer: Trainer, folder: RunFolder, error: Diverged) -> FairpruneError:
    """Save the best state of a run that diverged; the error that says where it is."""
    best = trainer.best
    if run.group.number:
        return error
    if not best.epoch and not best.sparsity:
        return FairpruneError(f"{error.what}; no epoch was finished", hint=error.hint, code=error.code)
    model = copy.deepcopy(run.dense)
    if best.fixed:
        run.masks.remove(model, best.keep)
    model.load_state_dict(best.model)
    write_model(run, folder.best, model, best.sparse)
    figures = f"after epoch {best.epoch}, sparsity {best.sparsity:.3f}"
    if best.accuracy >= 0:
        figures += f", accuracy {best.accuracy:.3f} on images of the run"
    return FairpruneError(
        f"{error.what}; the best state before it ({figures}) is in {folder.best}", hint=error.hint, code=error.code
    )
