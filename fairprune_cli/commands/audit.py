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
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.settings import flag_of
from fairprune_cli.run.options import GATES, SHOWN


@flags(
    "models", "against", "predictions", "against_predictions", "attr", "notion", "weights", "classes_from", *GATES,
    *SHOWN, "batch_size", SET, "out", "force", *COMMON,
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
    if predictions is not None:
        from fairprune_cli.run.audit_predictions import PredictionsRequest, audit_predictions

        table = PredictionsRequest(predictions, settings, against_predictions, out, force, dry_run)
        return conclude(audit_predictions(table, terminal), terminal, as_json, dry_run)
    from fairprune_cli.run import audit as auditing
    from fairprune_cli.run.audit_sources import AuditRequest

    request = AuditRequest(tuple(models or ()), settings, against, out, force, trust, dry_run)
    return conclude(auditing.audit(request, terminal), terminal, as_json, dry_run)


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
    from fairprune_cli.run.audit_predictions import OF_MODELS

    idle = [flag_of(key) for key in OF_MODELS if key in given]
    idle += ["--trust-checkpoint"] if trust else []
    if idle:
        raise FairpruneError(
            "says nothing of predictions, for which no model is run", where=idle[0], hint="leave it out"
        )
    if against is not None:
        raise FairpruneError("predictions are compared with predictions", where="--against",
                             hint="give those of the dense model with --against-predictions FILE")  # fmt: skip
