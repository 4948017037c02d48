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
from fairprune_cli.commands.output import conclude, terminal_of
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.run.options import GATES, PRUNING, SHOWN


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
        from fairprune_cli.run import prune as pipeline

        outcome = pipeline.resume(resume, given, terminal, trust)
    else:
        if model is None:
            raise FairpruneError("no model was given", where="MODEL", hint="fairprune prune model.pt --attr gender")
        settings = resolved(config, given)
        from fairprune_cli.run import prune as pipeline

        outcome = pipeline.prune(pipeline.PruneRequest(model, settings, out, force, trust, dry_run), terminal)
    return conclude(outcome, terminal, as_json, dry_run)
