"""Accuracy and gap of methods side by side: same dense models, same data, same passes, several seeds.

    python benchmarks/fairness.py                                   the embedded faces, small network, 5 seeds
    python benchmarks/fairness.py --data lfw-smile --arch resnet10  real faces, below $FAIRPRUNE_DATA_ROOT

A seed trains its own dense model and prunes it by every method; the cells and their statistics are those of
`fairprune compare`. What is done is kept in --work and not computed again, so an interrupted benchmark goes on where
it was, and several processes may work on the same --work. Writes benchmarks/results/fairness-<name>.json and the same
as Markdown. Nothing is tuned on the test split. Ours beside its rivals, each with the best of its settings, is
benchmarks/rivals.py.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _manifests import with_absolute_paths, write_manifest
from _once import once

from fairprune_cli import compare as comparison
from fairprune_cli.compare import page
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.report import as_markdown, words
from fairprune_cli.report.document import Heading, Note, Table
from fairprune_cli.run import dense_model as dense
from fairprune_cli.run.options import resolve

RESULTS = Path(__file__).parent / "results"
DENSE_EPOCHS = 12


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="faces", help="faces (embedded), or a folder below FAIRPRUNE_DATA_ROOT")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the images, instead of the manifest's")
    parser.add_argument("--arch", default="resnet10-w16")
    parser.add_argument("--attr", nargs="+", default=["gender"])
    parser.add_argument("--dense-epochs", type=int, default=DENSE_EPOCHS)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 [5]")
    parser.add_argument("--cells", nargs="+", default=["weight:0.98", "weight:0.99", "channel:0.8"])
    parser.add_argument("--methods", nargs="+", default=["magnitude", "bifp"])
    parser.add_argument("--reference", nargs="+", default=[], help="methods to compare with [magnitude]")
    parser.add_argument("--grid", nargs="+", default=[], help="settings to vary, KEY=V1,V2")
    parser.add_argument("--set", nargs="+", default=[], help="settings for every run, KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--name", help="of the results [DATA-ARCH]; cells are kept by it too")
    parser.add_argument("--gather-only", action="store_true", help="make the tables from the cells that are there")
    parser.add_argument("--list-commands", action="store_true", help="print a command per cell that is not done")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    terminal = Terminal()
    manifest = manifest_of(args)
    stem = args.data + (f"-{args.size}px" if args.size else "") + f"-{args.arch}"
    epochs = "" if args.dense_epochs == DENSE_EPOCHS else f"-e{args.dense_epochs}"
    template = str(args.work / f"{stem}{epochs}-{{seed}}.pt")
    if not args.gather_only:
        for seed in range(args.seeds):
            model = Path(template.replace("{seed}", str(seed)))
            once(model, lambda seed=seed, model=model: train_dense(args, manifest, seed, model))
    request = request_of(args, manifest, template, args.name or stem)
    if args.list_commands:
        print("\n".join(comparison.list_commands(request)))
        return
    made = comparison.compare(request, terminal)
    result = {"name": args.name or stem, "dense_epochs": args.dense_epochs, "machine": machine(made), **made.document}
    target = RESULTS / f"fairness-{args.name or stem}.json"
    atomic_write_text(target, json.dumps(result, indent=1, allow_nan=False) + "\n")
    text = results_markdown(result)
    atomic_write_text(target.with_suffix(".md"), text)
    print(text)
    raise SystemExit(int(made.code))


def request_of(args: argparse.Namespace, manifest: Path, template: str, name: str) -> comparison.Request:
    """The comparison that the arguments ask for."""
    extra = {
        key: {"true": True, "false": False}.get(value, value) for key, value in (p.split("=", 1) for p in args.set)
    }
    flags = {"data": str(manifest), "attr": tuple(args.attr), "seed": 0, "threads": args.threads, **extra}
    pairs = (cell.split(":") for cell in args.cells)
    cells = tuple(comparison.targets([kind], [share])[0] for kind, share in pairs)
    return comparison.Request(
        template, resolve(flags, {}, None), tuple(args.methods), cells, args.seeds,
        tuple(args.grid), tuple(args.reference), args.work / f"compare-{name}", gather=args.gather_only,
        list_commands=args.list_commands,
    )  # fmt: skip


def manifest_of(args: argparse.Namespace) -> Path:
    """The manifest of the data set; the embedded one is drawn where it is missing."""
    if args.data == "faces":
        path = args.work / "faces" / "manifest.yaml"
        once(path.parent, lambda: write_sample(path.parent, seed=0))
    else:
        root = os.environ.get("FAIRPRUNE_DATA_ROOT")
        if not root:
            raise SystemExit("set FAIRPRUNE_DATA_ROOT to the folder that holds the data set")
        path = Path(root) / args.data / "manifest.yaml"
    return resized(path, args.size, args.work / f"{args.data}-{args.size}px") if args.size else path


def resized(path: Path, size: int, folder: Path) -> Path:
    """A manifest of the same images with another transform size, written into `folder`."""
    content = with_absolute_paths(path)
    content["transform"]["size"] = str(size)
    return write_manifest(content, folder / "manifest.yaml")


def train_dense(args: argparse.Namespace, manifest: Path, seed: int, model: Path) -> None:
    flags = {"data": str(manifest), "seed": seed, "threads": args.threads, "arch": args.arch, "lr": 0.1,
             "epochs": args.dense_epochs}  # fmt: skip
    trained = dense.train_checkpoint(dense.TrainRequest(resolve(flags, {}, None), model), Terminal(quiet=True))
    accuracy, seconds = trained["val_accuracy"], trained["seconds"]
    Terminal().note(f"{model.name}: validation accuracy {accuracy:.3f}, {seconds:.0f} s")


def machine(made: comparison.Comparison) -> str:
    """Where the cells were computed, by their own reports."""
    found = set()
    for cell in made.plan.cells:
        path = made.plan.path(cell) / "report.json"
        if path.exists():
            where = json.loads(path.read_text(encoding="utf-8"))["provenance"]
            found.add(where["machine"])
    return "; ".join(sorted(found))


def results_markdown(result: Mapping[str, Any]) -> str:
    """A section per cell of the benchmark: means, differences, gaps in training."""
    title = f"{result['data']['name']}, {result['model']['architecture']}, by {' and '.join(result['attributes'])}"
    facts = [
        *page.facts(result),
        f"dense models trained for {words.plural(result['dense_epochs'], 'epoch')}",
        result["machine"],
    ]
    lines = [
        f"# {title} ({result['name']})",
        "",
        "; ".join(facts) + ".",
        "",
        as_markdown.escaped(page.shared_settings(result)),
        "",
    ]
    for text in [*result["warnings"], *result["notes"]]:
        lines += [as_markdown.escaped(text), ""]
    for i, target in enumerate(result["targets"]):
        section = page.target_section(result, target, i)
        if section is None:
            continue
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            if isinstance(block, Table) and "intervals of the means" not in block.title:
                lines += [f"{block.title}:", "", *as_markdown.table_lines(block), ""]
            elif isinstance(block, Heading | Note):
                lines += [as_markdown.escaped(block.text), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    try:
        main()
    except FairpruneError as error:
        Terminal().error(str(error))
        raise SystemExit(int(error.code)) from None
