"""`fairprune train`: a dense checkpoint for those who have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairprune_cli.commands.flags import SET, Config, DryRun, Force, Given, Json, Quiet, flags, resolved
from fairprune_cli.commands.output import print_json, say_again, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.files import refuse_taken
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.idle import warn_of_idle
from fairprune_cli.run.options import Resolved

EPOCHS = "15"


@flags(
    "arch", "epochs", "out", "force", "batch_size", "lr", "data", SET, "config", "seed", "device", "as_json", "quiet",
    "dry_run",
)  # fmt: skip
def command(
    given: Given,
    arch: Annotated[
        str, typer.Option("--arch", metavar="<name>", help="architecture, such as resnet10, resnet10-w16 or vit-tiny")
    ],
    epochs: Annotated[str | None, typer.Option("--epochs", metavar="<integer>", help=f"epochs [{EPOCHS}]")] = None,
    out: Annotated[Path, typer.Option("--out", help="checkpoint to write")] = Path("model.pt"),
    force: Force = False,
    lr: Annotated[
        str | None, typer.Option("--lr", metavar="<number>", help="peak learning rate [0.1; vit-tiny 0.02]")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Train a dense model on the train split; the best epoch on val is kept."""
    terminal = terminal_of(quiet)
    asked = given.beside(arch=arch, epochs=epochs or EPOCHS)
    manifest = _look_ahead(resolved(config, asked.beside(lr=lr or "0.1")), out, force, terminal)
    from fairprune_cli.models.architectures import default_lr

    settings = resolved(config, asked.beside(lr=lr or str(default_lr(arch))))
    warn_of_idle(given, settings.settings, "train", terminal, spelled=given.spelled)
    from fairprune_cli.report import console
    from fairprune_cli.run import dense_model as dense

    document = dense.train_checkpoint(dense.TrainRequest(settings, out, force, dry_run), terminal)
    if as_json:
        print_json(document, terminal)
    else:
        (console.print_plan if dry_run else console.print_training)(document, terminal)
    if dry_run:
        say_again(terminal, as_json)
    else:
        attr = [word for name in document["attributes"][:1] for word in ("--attr", name)]
        say_next(terminal, as_json, "prune", out, "--data", manifest, "--sparsity", "0.8", *attr)
    return int(ExitCode.OK)


def _look_ahead(settings: Resolved, out: Path, force: bool, terminal: Terminal) -> Path:
    """Refuse what can be refused at once, and say what begins; the manifest's path."""
    from fairprune_cli.run.early import look_ahead

    manifest = look_ahead(settings, (), every=True, beside=out)
    refuse_taken(out, force)
    terminal.note(f"training {settings.settings.arch} on {manifest}, into {out}")
    return manifest
