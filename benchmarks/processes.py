"""One pruning run by 1, 2 and 4 processes on this machine, started by torchrun: speed and results.

Each process has one CPU thread. Images per second are those of the training steps, start-up, audit and export left out.
One process with two threads adds up in another order than with one: how far its mask and accuracy go from those of one
thread is what rounding alone does over a run at this learning rate. Prints a table, with the standard
deviation over seeds, and writes results/processes.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _jobs import machine

from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.models.file import codec
from fairprune_cli.pruning.masks import prunable_weights

ROWS = [("1 process", 1, 1), ("1 process, 2 threads", 1, 2), ("2 processes", 2, 1), ("4 processes", 4, 1)]


def kept(path: Path) -> list[bool]:
    """Which of the prunable weights of a model file are not zero."""
    weights = prunable_weights(codec.load_network(path)).values()
    return [entry for weight in weights for entry in (weight != 0).flatten().tolist()]


def run(work: Path, environment: dict[str, str], count: int, threads: int, out: Path, *flags: str) -> dict[str, Any]:
    start = ["-m", "fairprune_cli"]
    if count > 1:
        start = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), *start]
    arguments = [
        "prune",
        "model.pt",
        "--attr",
        "gender",
        "--granularity",
        "weight",
        "--sparsity",
        "0.9",
        "--precision",
        "fp32",
        *flags,
    ]
    done = subprocess.run(
        [sys.executable, *start, *arguments, "--set", f"threads={threads}", "--out", str(out)], cwd=work,
        env=environment | {"OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    document: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return document


def fairness_of(results: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": results["accuracy"], "gap": results["attributes"]["gender"]["gap"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arch", default="resnet10")
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    environment = dict(os.environ)
    found: dict[str, list[dict[str, float]]] = {label: [] for label, *_ in ROWS}
    dense: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        environment["FAIRPRUNE_CACHE"] = str(Path(temporary) / "cache")
        work = Path(temporary) / "faces"
        write_sample(work, seed=0, sizes={"train": 4000, "val": 1000, "test": 2000})
        subprocess.run(
            [sys.executable, "-m", "fairprune_cli", "train", "--arch", args.arch, "--epochs", "10", "--quiet"],
            cwd=work, env=environment, check=True,
        )  # fmt: skip
        for seed in range(args.seeds):
            base: list[bool] = []
            for label, count, threads in ROWS:
                out = work / f"{seed}-{count}-{threads}"
                flags = ("--seed", str(seed), "--epochs", str(args.epochs))
                report = run(work, environment, count, threads, out, *flags)
                mask = kept(out / "model.safetensors")
                base = base or mask
                steps = report["training"]
                dense = fairness_of(report["results"]["dense"])
                found[label].append({
                    "images_per_second": statistics.median(r["images_per_second"] for r in steps),
                    **fairness_of(report["results"]["pruned"]),
                    "same_mask": sum(a == b for a, b in zip(mask, base, strict=True)) / len(base),
                })  # fmt: skip
    print(f"dense: accuracy {dense['accuracy']:.4f}, gap {dense['gap']:.4f}")
    print(f"{'':22} {'images/s':>9} {'times one':>9} {'accuracy':>13} {'gap':>13} {'same mask':>10}")
    alone = [r["images_per_second"] for r in found[ROWS[0][0]]]
    rows = []
    for label, *_ in ROWS:
        values = found[label]
        speed = statistics.median(r["images_per_second"] / a for r, a in zip(values, alone, strict=True))
        means = {key: statistics.mean(r[key] for r in values) for key in values[0]}
        spread = {key: statistics.stdev(r[key] for r in values) if len(values) > 1 else 0.0 for key in means}
        print(
            f"{label:22} {means['images_per_second']:9.0f} {speed:9.2f} "
            f"{means['accuracy']:.4f} ±{spread['accuracy']:.4f} {means['gap']:.4f} ±{spread['gap']:.4f} "
            f"{means['same_mask']:10.5f}"
        )
        rows.append({"row": label, "times_one": speed, "mean": means, "deviation": spread, "seeds": values})
    document = {
        "machine": f"{machine()} per process, {os.cpu_count()} cores",
        "arch": args.arch,
        "dense": dense,
        "rows": rows,
    }
    target = Path(__file__).parent / "results" / "processes.json"
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
