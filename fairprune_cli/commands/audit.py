"""`fairprune audit`: how each group fares, and gates."""

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
    Quiet,
    Trust,
    flags,
    resolved,
)
from fairprune_cli.commands.output import conclude, terminal_of
from fairprune_cli.run.options import GATES, SHOWN


@flags(
    "models", "against", "attr", "notion", "weights", *GATES, *SHOWN, "batch_size", SET, "out", "force", *COMMON,
)  # fmt: skip
def command(
    given: Given,
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="checkpoints, model files or run folders")],
    against: Annotated[Path | None, typer.Option("--against", help="dense model to compare with")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for report.json, .html and .md")] = None,
    force: Force = False,
    trust: Trust = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Accuracy and gaps per group of one model or several, with intervals; with gates, a verdict and an exit code."""
    terminal = terminal_of(quiet)
    settings = resolved(config, given)
    from fairprune_cli.run import audit as auditing
    from fairprune_cli.run.audit_sources import AuditRequest

    request = AuditRequest(tuple(models), settings, against, out, force, trust, dry_run)
    return conclude(auditing.audit(request, terminal), terminal, as_json, dry_run)
