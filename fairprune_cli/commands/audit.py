"""`fairprune audit`: how each group fares, and gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from fairprune_cli.commands.output import conclude, free, say_again, say_next, terminal_of
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.launch import is_first
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.core.settings import flag_of
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.idle import warn_of_idle
from fairprune_cli.run.options import GATES, SHOWN, Resolved

if TYPE_CHECKING:
    from fairprune_cli.run.audit_report import Outcome


@flags(
    "models", "against", "predictions", "against_predictions", "attr", "notion", "group_thresholds", "weights",
    "classes_from", *GATES, *SHOWN, "batch_size", SET, "out", "force", *COMMON,
)  # fmt: skip
def command(
    given: Given,
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MODEL...]", help="checkpoints, .onnx, .pt2, model files or run folders"),
    ] = None,
    against: Annotated[Path | None, typer.Option("--against", help="dense model to compare with")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="in place of models: CSV or Parquet with the image column, and `predicted` or scores"
        ),
    ] = None,
    against_predictions: Annotated[
        Path | None, typer.Option("--against-predictions", help="those of the dense model to compare with")
    ] = None,
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
    _refuse_mixture(models, against, predictions, against_predictions, trust, given)
    warn_of_idle(given, settings.settings, "audit", terminal, spelled=given.spelled)
    if predictions is not None:
        from fairprune_cli.run.audit_predictions import PredictionsRequest, audit_predictions

        table = PredictionsRequest(predictions, settings, against_predictions, out, force, dry_run)
        outcome = audit_predictions(table, terminal)
    else:
        if is_first():
            _look_ahead(tuple(models or ()), against, settings, out, force, terminal)
        from fairprune_cli.run import audit as auditing
        from fairprune_cli.run.audit_sources import AuditRequest

        request = AuditRequest(tuple(models or ()), settings, against, out, force, trust, dry_run)
        outcome = auditing.audit(request, terminal)
    code = conclude(outcome, terminal, as_json, dry_run)
    _say_next(outcome, dry_run, as_json, terminal)
    return code


def _look_ahead(
    models: tuple[Path, ...], against: Path | None, settings: Resolved, out: Path | None, force: bool,
    terminal: Terminal,
) -> None:  # fmt: skip
    """Refuse what can be refused at once, and say what begins."""
    from fairprune_cli.audit.policy import policy_of
    from fairprune_cli.run.audit_checks import refuse_out, refuse_without_dense
    from fairprune_cli.run.early import look_ahead

    told = settings.settings
    refuse_out(out, force, told)
    manifest = look_ahead(settings, [*models, *([] if against is None else [against])], every=True)
    if against is None and not is_import_path(told.notion):
        refuse_without_dense(told, policy_of(told), 2, "--against DENSE")
    beside = "" if against is None else f" against {against}"
    terminal.note(f"{', '.join(map(str, models))}{beside}: auditing the {told.split} split of {manifest}")


def _say_next(outcome: Outcome, dry_run: bool, as_json: bool, terminal: Terminal) -> None:
    if dry_run:
        say_again(terminal, as_json)
    elif outcome.folder is not None:
        say_next(terminal, as_json, "report", outcome.folder, "--to", "md")
    else:
        say_again(terminal, as_json, "--out", free("audit"))  # of the same data, by the same gates


def _refuse_mixture(
    models: list[Path] | None, against: Path | None, predictions: Path | None, against_predictions: Path | None,
    trust: bool, given: Given,
) -> None:  # fmt: skip
    """Refuse models and predictions at once, neither of them, and what says nothing of predictions."""
    if predictions is None:
        if against_predictions is not None:
            raise FairpruneError("--against-predictions goes with --predictions", where="--against-predictions",
                                 hint="give a dense model with --against DENSE")  # fmt: skip
        if not models:
            raise FairpruneError("there is nothing to audit", where="fairprune audit",
                                 hint="give a MODEL, or predictions with --predictions FILE")  # fmt: skip
        return
    if models:
        raise FairpruneError("models and --predictions are audited one by one", where=str(models[0]),
                             hint="give one of the two")  # fmt: skip
    from fairprune_cli.run.audit_predictions import idle_settings, refuse_idle_settings

    refuse_idle_settings([flag_of(key) for key in idle_settings(given)] + ["--trust-checkpoint"] * trust)
    if against is not None:
        raise FairpruneError("predictions are compared with predictions", where="--against",
                             hint="give those of the dense model with --against-predictions FILE")  # fmt: skip
