"""`fairprune demo`: the whole story on the embedded data, in under three minutes on two CPU cores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairprune_cli.commands.flags import Force, Json, Quiet
from fairprune_cli.commands.output import print_json, terminal_of
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.options import MOST_SEED

if TYPE_CHECKING:
    from fairprune_cli.run.audit_report import Outcome

ARCHITECTURE, DENSE_EPOCHS, SPARSITY = "resnet10-w16", 12, 0.98
MARKER = "manifest.yaml"


def command(
    out: Annotated[Path, typer.Option("--out", help="folder to make")] = Path("fairprune-demo"),
    force: Force = False,
    seed: Annotated[
        int, typer.Option("--seed", metavar="<integer>", min=0, max=MOST_SEED, help="seed of data and training")
    ] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """The whole story on drawn faces in under three minutes: data, dense model, pruning, audit, export, report."""
    terminal = terminal_of(quiet)
    outcome = demo(out, seed, force, terminal, as_json)
    if as_json:
        print_json(outcome.report, terminal)
    return int(outcome.code)


def _make_room(out: Path, force: bool) -> None:
    """Remove an earlier demo where `force` is set; nothing else is ever replaced."""
    import shutil

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        if not force:
            raise FairpruneError("already exists", where=str(out), hint="--force replaces it, --out writes elsewhere")
        if not (out / MARKER).exists():
            raise FairpruneError("is not a demo folder, so --force will not replace it", where=str(out))
        shutil.rmtree(out)
    refuse_no_room(out)


def demo(out: Path, seed: int, force: bool, terminal: Terminal, as_json: bool) -> Outcome:
    """Draw data, train a dense model, prune it fairly, audit, export, report.

    Leaves `model.pt` and `manifest.yaml` in the folder, so that the next command works there.
    """
    from fairprune_cli.core.locks import written_alone
    from fairprune_cli.core.signals import if_stopped

    with written_alone(out), if_stopped(lambda: (f"what is done is in {out}", "start again with --force")):
        _make_room(out, force)
        return _story(out, seed, terminal, as_json)


def _story(out: Path, seed: int, terminal: Terminal, as_json: bool) -> Outcome:
    from fairprune_cli.commands import data as datasets
    from fairprune_cli.data.drawn_faces.write import SIZES
    from fairprune_cli.run.options import resolve

    def say(text: str) -> None:
        if not as_json:
            terminal.result(text)

    images = sum(SIZES.values())
    say(f"1. Drawing {images:,} faces: is this one smiling? Beards (15 % of the faces) hide the mouth.")
    manifest = datasets.sample(out, seed, False, terminal)
    from fairprune_cli import export as exports
    from fairprune_cli.report import console as summary
    from fairprune_cli.run import dense_model as dense
    from fairprune_cli.run import prune as pipeline

    say(f"2. Training a dense {ARCHITECTURE} on them.")
    flags = {"data": str(manifest), "seed": seed}
    training = resolve({**flags, "arch": ARCHITECTURE, "epochs": DENSE_EPOCHS, "lr": 0.1}, {}, None)
    model = out / "model.pt"
    trained = dense.train_checkpoint(dense.TrainRequest(training, model), terminal)
    if not as_json:
        summary.print_training(trained, terminal)
    say(f"3. Pruning {100 * SPARSITY:g} % of its weights under a fairness constraint on gender; auditing it.")
    flags |= {"attr": ("gender",), "granularity": "weight", "sparsity": SPARSITY}
    run = out / "runs" / "demo"
    outcome = pipeline.prune(pipeline.PruneRequest(model, resolve(flags, {}, None), run), terminal)
    if not as_json:
        summary.print_report(outcome.report, terminal, None)
    say("4. Exporting it as a dense safetensors file for other tools.")
    result = exports.export(run, "safetensors-dense", out / "pruned-dense.safetensors")
    say(f"{result.path}: {result.bytes / 1e6:.2f} MB, read again, largest difference {result.max_difference:.1e}")
    say("")
    say(f"Look at:   {run / 'report.html'}  (in a browser)")
    say(f"Next:      cd {out}")
    say("           fairprune prune model.pt --sparsity 0.8 --attr gender")
    say("           fairprune audit runs/model-bifp-channel-0.8 --against model.pt --attr gender --max-gap 0.10")
    return outcome
