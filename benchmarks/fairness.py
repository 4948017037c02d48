"""Accuracy and gap of methods side by side: same dense models, same data, same passes, several seeds.

    python benchmarks/fairness.py                                   the embedded faces, small network, 5 seeds
    python benchmarks/fairness.py --data lfw-smile --arch resnet10  real faces, below $FAIRPRUNE_DATA_ROOT

A seed trains its own dense model and prunes it by every method. Cells that are done are kept in --work and not
computed again, so an interrupted benchmark goes on where it was. Writes benchmarks/results/fairness-<name>.json and
the same as Markdown. Figures are read from each run's report.json; nothing is tuned on the test split.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scipy.stats

from fairprune_cli import dense, pipeline
from fairprune_cli.config import resolve
from fairprune_cli.sample import write_sample
from fairprune_cli.terminal import Terminal

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="faces", help="faces (embedded), or a folder below FAIRPRUNE_DATA_ROOT")
    parser.add_argument("--arch", default="resnet10-w16")
    parser.add_argument("--attr", default="gender")
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cells", nargs="+", default=["weight:0.98", "weight:0.99", "channel:0.8"])
    parser.add_argument("--methods", nargs="+", default=["magnitude", "bifp"])
    parser.add_argument("--set", nargs="*", default=[], help="settings for every run, KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--gather-only", action="store_true", help="make the tables from the cells that are there")
    return parser.parse_args()


def manifest_of(args: argparse.Namespace) -> Path:
    """The manifest of the data set; the embedded one is drawn where it is missing."""
    if args.data == "faces":
        folder = args.work / "faces"
        return folder / "manifest.yaml" if folder.exists() else write_sample(folder, seed=0)
    root = os.environ.get("FAIRPRUNE_DATA_ROOT")
    if not root:
        raise SystemExit("set FAIRPRUNE_DATA_ROOT to the folder that holds the data set")
    return Path(root) / args.data / "manifest.yaml"


def run_cells(args: argparse.Namespace, manifest: Path) -> None:
    extra = dict(pair.split("=", 1) for pair in args.set)
    for seed in args.seeds:
        common = {"data": str(manifest), "seed": seed, "threads": args.threads}
        model = args.work / f"{args.data}-{args.arch}-{seed}.pt"
        if not model.exists():
            settings = resolve({**common, "arch": args.arch, "epochs": args.dense_epochs, "lr": 0.1}, {}, None)
            trained = dense.train(dense.TrainRequest(settings, model), Terminal(quiet=True))
            print(
                f"{model.name}: validation accuracy {trained['val_accuracy']:.3f}, {trained['seconds']:.0f} s",
                flush=True,
            )
        for cell in args.cells:
            granularity, sparsity = cell.split(":")
            for method in args.methods:
                out = args.work / f"{model.stem}-{granularity}-{sparsity}-{method}"
                if (out / "report.json").exists():
                    continue
                flags = {**common, **extra, "attr": (args.attr,), "granularity": granularity, "sparsity": sparsity,
                         "method": method}  # fmt: skip
                request = pipeline.PruneRequest(model, resolve(flags, {}, None), out, force=True)
                outcome = pipeline.prune(request, Terminal(quiet=True))
                found = figures(outcome.report, args.attr)
                print(f"{out.name}: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()), flush=True)


def figures(report: dict[str, Any], attr: str) -> dict[str, float]:
    """What is compared, out of one report; shares as 0..1."""
    pruned, first = report["results"]["pruned"], report["results"]["dense"]
    mine, theirs = pruned["attributes"][attr], first["attributes"][attr]
    found = {
        "accuracy": pruned["accuracy"], "gap": mine["gap"], "odds": mine["metrics"]["odds"]["value"],
        "worst": min(g["accuracy"] for g in mine["groups"].values()),
        "degradation": report["degradation"][attr]["gap"],
        "dense accuracy": first["accuracy"], "dense gap": theirs["gap"],
        "dense odds": theirs["metrics"]["odds"]["value"],
        "dense worst": min(g["accuracy"] for g in theirs["groups"].values()),
        "sparsity": report["sparsity"]["achieved"], "passes": report["cost"]["passes"],
        "seconds": report["cost"]["seconds"], "file kB": report["size"]["file_bytes"] / 1e3,
        "dense kB": report["size"]["dense_bytes"] / 1e3,
    }  # fmt: skip
    found |= {f"accuracy {name}": g["accuracy"] for name, g in mine["groups"].items()}
    found |= {f"dense accuracy {name}": g["accuracy"] for name, g in theirs["groups"].items()}
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "low": min(values), "high": max(values),
    }  # fmt: skip


def paired(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Mean of a - b over the seeds with its 95 % t interval."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean = statistics.fmean(differences)
    half = (
        float(scipy.stats.t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    )
    return {"mean": mean, "low": mean - half, "high": mean + half}


def gather(args: argparse.Namespace) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for cell in args.cells:
        granularity, sparsity = cell.split(":")
        table: dict[str, list[dict[str, float]]] = {}
        for method in args.methods:
            for seed in args.seeds:
                path = args.work / f"{args.data}-{args.arch}-{seed}-{granularity}-{sparsity}-{method}" / "report.json"
                if path.exists():
                    table.setdefault(method, []).append(figures(json.loads(path.read_text()), args.attr))
        complete = {m: rows for m, rows in table.items() if len(rows) == len(args.seeds)}
        if not complete:
            continue
        entry: dict[str, Any] = {
            m: {key: spread([row[key] for row in rows]) for key in rows[0]} for m, rows in complete.items()
        }
        if {"bifp", "magnitude"} <= set(complete) and len(args.seeds) > 1:
            entry["bifp minus magnitude"] = {
                key: paired([r[key] for r in complete["bifp"]], [r[key] for r in complete["magnitude"]])
                for key in ("accuracy", "gap", "odds", "worst", "degradation")
            }
            entry["gap ratio"] = entry["bifp"]["gap"]["mean"] / entry["magnitude"]["gap"]["mean"]
        cells[cell] = {"methods": entry, "runs": table}
    return {
        "data": args.data, "architecture": args.arch, "attribute": args.attr, "seeds": args.seeds,
        "settings": args.set, "dense_epochs": args.dense_epochs,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, no GPU", "cells": cells,
    }  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    def cell(entry: dict[str, float]) -> str:
        spread_over_seeds = f" ± {100 * entry['sd']:.1f}" if len(result["seeds"]) > 1 else ""
        return f"{100 * entry['mean']:.1f}{spread_over_seeds}"

    lines = [
        f"{result['data']}, {result['architecture']}, by {result['attribute']}",
        "",
        f"{len(result['seeds'])} seed(s), dense model trained for {result['dense_epochs']} epochs, "
        f"{result['machine']}. Mean ± standard deviation over seeds, in percent, on the test split; seconds with one "
        "thread.",
        "",
    ]
    for name, content in result["cells"].items():
        methods = content["methods"]
        runs = {m: v for m, v in methods.items() if m in content["runs"]}
        groups = [k.removeprefix("accuracy ") for k in next(iter(runs.values())) if k.startswith("accuracy ")]
        lines += ["", f"### {name.replace(':', ' ')}", ""]
        lines.append(
            "| model | accuracy | " + " | ".join(groups) + " | gap | odds | degradation gap | passes | s | kB |"
        )
        lines.append("|---" * (8 + len(groups)) + "|")
        first = next(iter(runs.values()))
        dense_cells = [first["dense accuracy"], *(first[f"dense accuracy {g}"] for g in groups), first["dense gap"],
                       first["dense odds"]]  # fmt: skip
        lines.append(
            "| dense | " + " | ".join(map(cell, dense_cells)) + f" | – | – | – | {first['dense kB']['mean']:.0f} |"
        )
        for method, entry in runs.items():
            shares = [entry["accuracy"], *(entry[f"accuracy {g}"] for g in groups), entry["gap"], entry["odds"],
                      entry["degradation"]]  # fmt: skip
            lines.append(
                f"| {method} | " + " | ".join(map(cell, shares)) + f" | {entry['passes']['mean']:.0f} | "
                f"{entry['seconds']['mean']:.0f} | {entry['file kB']['mean']:.0f} |"
            )
        if "bifp minus magnitude" in methods:
            difference = methods["bifp minus magnitude"]
            parts = [
                f"{key} {100 * d['mean']:+.1f} [{100 * d['low']:+.1f}, {100 * d['high']:+.1f}]"
                for key, d in difference.items()
            ]
            lines += ["", "bifp minus magnitude, paired over seeds, 95 % interval: " + "; ".join(parts) + ".",
                      f"Ratio of mean gaps: {methods['gap ratio']:.2f}.", ""]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    args = arguments()
    if not args.gather_only:
        run_cells(args, manifest_of(args))
    result = gather(args)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"fairness-{args.data}-{args.arch}.json"
    target.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    write_page()
    print(markdown(result))


def write_page() -> None:
    """docs/results.md: all tables that are there."""
    parts = [path.read_text(encoding="utf-8") for path in sorted(RESULTS.glob("fairness-*.md"))]
    head = (
        "# Results\n\nWritten by benchmarks/fairness.py from the runs' own reports; the JSON with every run is in\n"
        "benchmarks/results/. Every method gets the same dense models, data and number of passes (a forward pass\n"
        "alone counts a third). Dense figures stand in the same table.\n\n"
    )
    PAGE.write_text(head + "\n".join(f"## {part}" for part in parts), encoding="utf-8")


if __name__ == "__main__":
    main()
