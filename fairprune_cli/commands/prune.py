"""`fairprune prune`: a run from a dense model to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairprune_cli.commands.flags import (
    COMMON,
    SET,
    Config,
    DryRun,
    Force,
    Given,
    Json,
    Out,
    Quiet,
    Trust,
    flags,
    resolved,
)
from fairprune_cli.commands.output import conclude, say_again, say_next, terminal_of
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.launch import is_first
from fairprune_cli.core.locks import refuse_in_use
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.folder import RunFolder, default_folder
from fairprune_cli.run.idle import warn_of_idle
from fairprune_cli.run.options import GATES, PRUNING, SHOWN, Resolved


@flags(
    "model", *PRUNING, SET, "out", "resume", "force", *GATES, *SHOWN, *COMMON,
)  # fmt: skip
def command(
    given: Given,
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="dense checkpoint or run folder")] = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="run folder to continue")] = None,
    force: Force = False,
    trust: Trust = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Prune a model under a fairness constraint, audit it, and write a run folder."""
    terminal = terminal_of(quiet)
    if resume is not None:
        refused = [n for n, v in (("MODEL", model), ("--out", out), ("--config", config)) if v is not None]
        refused += [n for n, v in (("--force", force), ("--dry-run", dry_run)) if v]
        if refused:
            raise FairpruneError(f"{', '.join(refused)} cannot go with it", where="--resume", hint="leave them out")
        if is_first():
            RunFolder.resume(resume, given)  # refuses at once what is no run to continue
        from fairprune_cli.run import prune as pipeline

        outcome = pipeline.resume(resume, given, terminal, trust)
    else:
        if model is None:
            raise FairpruneError("no model was given", where="MODEL", hint="fairprune prune model.pt --attr gender")
        settings = resolved(config, given)
        folder = out or default_folder(model, settings.settings)
        if is_first():  # the others would find the folder that this one makes
            _look_ahead(model, settings, folder, force, terminal)
        from fairprune_cli.run import prune as pipeline

        warn_of_idle(given, settings.settings, "prune", terminal, spelled=given.spelled)
        outcome = pipeline.prune(pipeline.PruneRequest(model, settings, out, force, trust, dry_run), terminal)
    code = conclude(outcome, terminal, as_json, dry_run)
    if outcome.folder is not None:
        say_next(terminal, as_json, "export", outcome.folder, "--to", "onnx")
    elif dry_run:
        say_again(terminal, as_json)
    return code


def _look_ahead(model: Path, settings: Resolved, folder: Path, force: bool, terminal: Terminal) -> None:
    """Refuse what can be refused at once, and say what begins."""
    from fairprune_cli.run.early import look_ahead

    refuse_in_use(folder, folder=True)
    RunFolder.check_free(folder, force)
    manifest = look_ahead(settings, [model], graphs=False)
    told = settings.settings
    terminal.note(f"{model}: {told.method} by {told.granularity} to {told.sparsity:g}, on {manifest}, into {folder}")
