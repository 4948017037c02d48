"""What becomes of a multi-task network's other tasks when one is pruned for, with and without holding them.

    python benchmarks/multi_task.py                     drawn faces; a ResNet34 of 18 outputs, a ResNet18 of 40 sigmoids
    python benchmarks/multi_task.py --data utkface      real faces, below $FAIRPRUNE_DATA_ROOT
    python benchmarks/multi_task.py --small             small networks and few images: ten minutes on two cores

A network is trained for several tasks at once, then pruned by channel under a constraint on the first alone. Outputs of
the other tasks are then no task's; they are held to the dense model's with the weight --hold, and let go with 0. All
tasks are audited on the test split before and after. Writes benchmarks/results/multi-task-<data>.json and the same as
Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.report import as_markdown, words
from fairprune_cli.report.document import Column, Table
from fairprune_cli.run import dense_model
from fairprune_cli.run.audit import AuditRequest, audit
from fairprune_cli.run.options import Resolved, resolve
from fairprune_cli.run.prune import PruneRequest, prune

RESULTS = Path(__file__).parent / "results"
AGES = (0, 3, 10, 20, 30, 40, 50, 60, 70, 121)  # the nine bands of FairFace


@dataclass(frozen=True)
class Network:
    """A kind of multi-task network.

    Attributes:
        arch: of the full benchmark; it has as many outputs as the tasks ask for.
        tasks: lines of a manifest's `tasks`, the one that is pruned for first.
    """

    name: str
    arch: str
    tasks: tuple[str, ...]


def networks(data: str) -> tuple[Network, Network]:
    """FairFace's layout (race 7, gender 2, age 9) and CelebA's (40 sigmoids), as far as the data has their labels."""
    bands = f"{{column: age, bins: {list(AGES)}}}"
    gender = "gender: {label: gender, classes: [male, female], outputs: [7, 8]}"
    age = f"age: {{label: {bands}, outputs: [9, 10, 11, 12, 13, 14, 15, 16, 17]}}"
    old = "old: {label: {column: age, bins: [0, 40, 121], names: [young, old]}, outputs: [39]}"
    male = "male: {label: gender, classes: [female, male], outputs: [20]}"
    if data == "utkface":
        races = "race: {label: race, classes: [White, Black, Asian, Indian, Others], outputs: [0, 1, 2, 3, 4]}"
        white = "white: {label: {column: race, names: {White: white, Black: other, Asian: other, Indian: other, " \
                "Others: other}}, classes: [other, white], outputs: [3]}"  # fmt: skip
        return (
            Network("18 outputs", "resnet34", (gender, races, age)),
            Network("40 sigmoids", "resnet18", (male, white, old)),
        )
    smile = "smile: {label: expression, classes: [neutral, smiling], outputs: [0, 1]}"
    smiling = "smiling: {label: expression, classes: [neutral, smiling], outputs: [31]}"
    return Network("18 outputs", "resnet34", (smile, gender, age)), Network(
        "40 sigmoids", "resnet18", (smiling, male, old)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="faces", choices=("faces", "utkface"))
    parser.add_argument("--small", action="store_true", help="small networks, few images, few epochs")
    parser.add_argument("--dense-epochs", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--hold", type=float, nargs="+", default=[0.0, 1.0], help="weights of holding [0 1]")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs") / "multi-task")
    args = parser.parse_args()
    if args.small:
        args.dense_epochs, args.epochs = 6, 2
    rows = [row for network in networks(args.data) for row in measured(args, network)]
    document = {
        "data": args.data, "small": args.small, "dense_epochs": args.dense_epochs, "epochs": args.epochs,
        "sparsity": args.sparsity, "rows": rows,
    }  # fmt: skip
    name = f"multi-task-{args.data}{'-small' if args.small else ''}"
    atomic_write_text(RESULTS / f"{name}.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    text = "\n".join(as_markdown.table_lines(table_of(rows))) + "\n"
    atomic_write_text(RESULTS / f"{name}.md", text)
    print(text)


def measured(args: argparse.Namespace, network: Network) -> list[dict[str, Any]]:
    """A row per weight and task: accuracy and gap before and after, and how closely the outputs follow the dense's."""
    terminal = Terminal(quiet=True)
    arch = "resnet10-w16" if args.small else network.arch
    folder = args.work / f"{args.data}-{network.name.replace(' ', '-')}-{arch}"
    every, first = manifests(args, network, folder)
    model = folder / "model.pt"
    if not model.exists():
        settings = resolved(args, every, arch=arch, epochs=args.dense_epochs)
        dense_model.train_checkpoint(dense_model.TrainRequest(settings, model), terminal)
    rows = []
    for weight in args.hold:
        out = folder / f"held-{weight:g}"
        if not (out / "report.json").exists():
            settings = resolved(
                args, first, epochs=args.epochs, sparsity=args.sparsity, granularity="channel", hold_outputs=weight
            )
            prune(PruneRequest(model, settings, out, force=True), terminal)
        own = json.loads((out / "report.json").read_text())
        report = audit(AuditRequest((out,), resolved(args, every), model), terminal).report
        follows = [move["correlation"] for move in own["other_outputs"]["pruned"] if move["correlation"] is not None]
        for task, found in report["tasks"].items():
            before, after = (found["results"][name] for name in ("dense", "pruned"))
            rows.append({
                "network": network.name, "architecture": arch, "hold": weight, "task": task,
                "pruned_for": task == report["task"], "dense": before["accuracy"], "pruned": after["accuracy"],
                "change": found["results"]["pruned"]["against_dense"]["change"],
                "gap_dense": gap_of(before), "gap": gap_of(after), "images": after["n"],
                "sparsity": own["sparsity"]["achieved"], "correlation": sum(follows) / max(len(follows), 1),
            })  # fmt: skip
    return rows


def gap_of(result: dict[str, Any]) -> float | None:
    """The gap of the one attribute."""
    (attribute,) = result["attributes"].values()
    gap: float | None = attribute["gap"]
    return gap


def resolved(args: argparse.Namespace, manifest: Path, **settings: Any) -> Resolved:
    """Settings of a command; the attribute is one that no task of the first kind predicts."""
    attribute = "race" if args.data == "utkface" else "gender"
    return resolve({"data": str(manifest), "attr": (attribute,), "device": args.device, **settings}, {}, None)


def manifests(args: argparse.Namespace, network: Network, folder: Path) -> tuple[Path, Path]:
    """Manifests with all the tasks, and with the first alone."""
    if args.data == "faces":
        root = args.work / ("faces-small" if args.small else "faces")
        if not (root / "manifest.yaml").exists():
            few = {"train": 2000, "val": 800, "test": 1200}
            write_sample(root, seed=0, **({"sizes": few} if args.small else {}))
        attributes, size = "gender: {column: gender}", 40
    else:
        if not os.environ.get("FAIRPRUNE_DATA_ROOT"):
            raise SystemExit("set FAIRPRUNE_DATA_ROOT to the folder that holds utkface")
        root, size = Path(os.environ["FAIRPRUNE_DATA_ROOT"]) / "utkface", 48
        attributes = "race: {column: race}"
    head = (
        f"version: 1\nname: {args.data}\ntable: {root.absolute() / 'table.csv'}\nimages: {root.absolute() / 'images'}\n"
        f"columns: {{image: file, split: split}}\nattributes: {{{attributes}}}\n"
        f"transform: {{size: {size}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\ntasks:\n"
    )
    paths = []
    for name, tasks in (("every", network.tasks), ("first", network.tasks[:1])):
        path = folder / f"{name}.yaml"
        atomic_write_text(path, head + "".join(f"  {line}\n" for line in tasks))
        paths.append(path)
    return paths[0], paths[1]


def table_of(rows: list[dict[str, Any]]) -> Table:
    columns = [
        Column("Network"), Column("Task"), Column("Pruned for"), Column("Weight of holding", "number"),
        *(Column(title, "number") for title in (
            "Dense (%)", "Pruned (%)", "Change (points)", "Gap, dense (points)", "Gap, pruned (points)",
            "Correlation of other outputs",
        )),
    ]  # fmt: skip
    cells = [
        [
            row["network"], row["task"], "yes" if row["pruned_for"] else "", f"{row['hold']:g}",
            words.fixed(100 * row["dense"]), words.fixed(100 * row["pruned"]), words.signed(row["change"]),
            *("–" if row[key] is None else words.fixed(100 * row[key]) for key in ("gap_dense", "gap")),
            words.fixed(row["correlation"], 3),
        ] for row in rows
    ]  # fmt: skip
    return Table("Several tasks of one network", columns, cells)


if __name__ == "__main__":
    main()
