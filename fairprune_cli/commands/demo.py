"""`fairprune demo`: the whole story on the embedded data, in under three minutes on two CPU cores."""

from __future__ import annotations

import shutil
from pathlib import Path

from fairprune_cli import export as exports
from fairprune_cli.commands import data as datasets
from fairprune_cli.commands import train as dense
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.settings import resolve
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.drawn_faces.write import SIZES
from fairprune_cli.report import console as summary
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.audit import Outcome

ARCHITECTURE, DENSE_EPOCHS, SPARSITY = "resnet10-w16", 12, 0.98
MARKER = "manifest.yaml"


def demo(out: Path, seed: int, force: bool, terminal: Terminal, as_json: bool) -> Outcome:
    """Draw data, train a dense model, prune it fairly, audit, export, report.

    Leaves `model.pt` and `manifest.yaml` in the folder, so that the next command works there.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        if not force:
            raise FairpruneError("already exists", where=str(out), hint="--force replaces it, --out writes elsewhere")
        if not (out / MARKER).exists():
            raise FairpruneError("is not a demo folder, so --force will not replace it", where=str(out))
        shutil.rmtree(out)

    def say(text: str) -> None:
        if not as_json:
            terminal.result(text)

    images = sum(SIZES.values())
    say(f"1. Drawing {images:,} faces: is this one smiling? Beards (15 % of the faces) hide the mouth.")
    manifest = datasets.sample(out, seed, False, terminal)
    say(f"2. Training a dense {ARCHITECTURE} on them.")
    flags = {"data": str(manifest), "seed": seed}
    training = resolve({**flags, "arch": ARCHITECTURE, "epochs": DENSE_EPOCHS, "lr": 0.1}, {}, None)
    model = out / "model.pt"
    trained = dense.train(dense.TrainRequest(training, model), terminal)
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
