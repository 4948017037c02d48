"""What pruning for one task does to the other outputs of a network, with and without holding them to the dense model.

    FAIRPRUNE_DATA_ROOT=... python benchmarks/multi_task.py                  ResNet34 with FairFace's 18 outputs
    FAIRPRUNE_DATA_ROOT=... python benchmarks/multi_task.py --network sigmoids      ResNet18 with 40 sigmoids

Needs UTKFace (`utkface`, a table with age, gender and race) below FAIRPRUNE_DATA_ROOT. A dense network is trained on
all its tasks for each seed, pruned by channel under a constraint on one of them, and every task is judged on the test
split before and after, from the raw outputs of the files that were written. Writes results/multi-task-<network>.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

import fairprune_cli
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.batches.pool import ImageSet, Pool, load_images
from fairprune_cli.data.manifest.load import SPLITS, load_manifest
from fairprune_cli.models import architectures
from fairprune_cli.pruning.schedule import cosine_lr
from fairprune_cli.training.optimizer import sgd

RESULTS = Path(__file__).parent / "results"
RACES = ("White", "Black", "Asian", "Indian", "Others")
BANDS = (0, 3, 10, 20, 30, 40, 50, 60, 70)  # FairFace's ages begin there
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """A task of a network: its outputs, and the right class of each image; of one output, a sigmoid's."""

    name: str
    outputs: tuple[int, ...]
    labels: np.ndarray

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        mine, wanted = logits[:, list(self.outputs)], torch.from_numpy(self.labels)[rows]
        if len(self.outputs) == 1:
            return F.binary_cross_entropy_with_logits(mine[:, 0], wanted.float())
        return F.cross_entropy(mine, wanted)

    def right(self, logits: np.ndarray, rows: np.ndarray) -> float:
        mine = logits[:, list(self.outputs)]
        found = mine[:, 0] > 0 if len(self.outputs) == 1 else mine.argmax(1)
        return float((found == self.labels[rows]).mean())


def fairface(columns: dict[str, np.ndarray]) -> list[Part]:
    """Race 7, gender 2, age 9; the last two of the races have no image here."""
    race = np.array([RACES.index(one) for one in columns["race"]])
    age = np.searchsorted(BANDS, columns["age"], side="right") - 1
    return [
        Part("race", tuple(range(5)), race), Part("gender", (7, 8), (columns["gender"] == "female").astype(int)),
        Part("age", tuple(range(9, 18)), age),
    ]  # fmt: skip


def sigmoids(columns: dict[str, np.ndarray]) -> list[Part]:
    """40 questions with yes and no, as CelebA asks: female, five races, nine bands of age, 25 ages passed."""
    age = columns["age"]
    band = np.searchsorted(BANDS, age, side="right") - 1
    asked = {"female": columns["gender"] == "female"}
    asked |= {f"race {one}": columns["race"] == one for one in RACES}
    asked |= {f"from {start}": band == at for at, start in enumerate(BANDS)}
    asked |= {f"above {limit}": age > limit for limit in range(3, 78, 3)}
    return [Part(name, (at,), answer.astype(int)) for at, (name, answer) in enumerate(asked.items())]


NETWORKS = {"fairface": ("resnet34", 18, fairface), "sigmoids": ("resnet18", 40, sigmoids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="fairface")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1 [3]")
    parser.add_argument("--dense-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4, help="of the pruning")
    parser.add_argument("--sparsity", default="0.8")
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs/multi-task"))
    args = parser.parse_args()
    root = os.environ.get("FAIRPRUNE_DATA_ROOT")
    source = Path(root) / "utkface" if root else None
    if source is None or not (source / "table.csv").is_file():
        raise SystemExit("needs UTKFace: set FAIRPRUNE_DATA_ROOT to the folder that holds utkface/")
    args.work.mkdir(parents=True, exist_ok=True)
    cells = [cell for seed in range(args.seeds) for cell in of_seed(args, source, seed)]
    document = {
        "network": args.network, "dense_epochs": args.dense_epochs, "epochs": args.epochs, "sparsity": args.sparsity,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__, "cells": cells,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    atomic_write_text(RESULTS / f"multi-task-{args.network}.json", json.dumps(document, indent=1) + "\n")
    show(cells)


def of_seed(args: argparse.Namespace, source: Path, seed: int) -> list[dict[str, Any]]:
    """The dense network of a seed, and what each way of pruning makes of it: a record of every task's accuracy."""
    arch, outputs, parts_of = NETWORKS[args.network]
    folder = args.work / f"{args.network}-{seed}"
    folder.mkdir(exist_ok=True)
    single, several = manifests(source, folder, args.network)
    images, parts = everything(single, parts_of)
    test = pool_of(images, "test")
    dense = folder / "dense.pt"
    if not dense.exists():
        net = architectures.build(arch, outputs, seed=seed)
        train(net, parts, pool_of(images, "train"), args.dense_epochs, seed)
        torch.save({"state_dict": net.state_dict()}, dense)
    net = architectures.build(arch, outputs)
    net.load_state_dict(torch.load(dense, weights_only=True)["state_dict"])
    cells = [{"seed": seed, "how": "dense", "seconds": 0.0, **judged(net, parts, test)}]
    ways = {"held": (single, ()), "not held": (single, ("--set", "hold_outputs=0")), "both tasks": (several, ())}
    for how, (manifest, more) in ways.items():
        out = folder / how.replace(" ", "-")
        started = time.time()
        if not (out / "report.json").exists():
            command = [
                sys.executable, "-m", "fairprune_cli", "prune", str(dense), "--data", str(manifest), "--attr", "race",
                "--sparsity", args.sparsity, "--epochs", str(args.epochs), "--seed", str(seed), "--out", str(out),
                "--force", "--quiet", *more,
            ]  # fmt: skip
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads((out / "report.json").read_text())
        gaps = {model: report["results"][model]["attributes"]["race"]["gap"] for model in ("dense", "pruned")}
        found = judged(fairprune_cli.load(out), parts, test)
        cells.append({"seed": seed, "how": how, "seconds": time.time() - started, "gap": gaps, **found})
    return cells


def manifests(source: Path, folder: Path, network: str) -> tuple[Path, Path]:
    """Two manifests beside each other: gender alone, and gender with race or one more question as tasks."""
    with open(source / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["old"] = "yes" if int(row["age"]) > 30 else "no"
    with open(folder / "table.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    gender = {"label": "gender", "classes": ["male", "female"]}
    common: dict[str, Any] = {
        "version": 1, "name": f"utkface-{network}", "table": "table.csv", "images": str(source.resolve() / "images"),
        "attributes": {"race": {"column": "race"}},
        "transform": {"size": 48, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }  # fmt: skip
    columns = {"image": "file", "split": "split"}
    if network == "fairface":
        own = [7, 8]
        other = {"race": {"label": "race", "classes": list(RACES), "outputs": list(range(5))}}
    else:
        own = [0]
        other = {"old": {"label": "old", "classes": ["no", "yes"], "outputs": [15 + 9]}}  # "above 30"
    one = {**common, "columns": {**columns, "label": "gender"}, "classes": gender["classes"], "outputs": own}
    both = {**common, "columns": columns, "tasks": {"gender": {**gender, "outputs": own}, **other}}
    for name, document in (("one.yaml", one), ("both.yaml", both)):
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
    return folder / "one.yaml", folder / "both.yaml"


def everything(manifest: Path, parts_of: Any) -> tuple[ImageSet, list[Part]]:
    """The decoded images, and the tasks' labels by row of the table."""
    read = load_manifest(manifest)
    with open(manifest.parent / "table.csv", newline="") as stream:
        by_file = {row["file"]: row for row in csv.DictReader(stream)}
    rows = [by_file[name] for name in read.files]
    columns = {name: np.array([row[name] for row in rows]) for name in ("gender", "race")}
    columns["age"] = np.array([int(row["age"]) for row in rows])
    return load_images(read, ("race",), transform=read.transform), parts_of(columns)


def pool_of(images: ImageSet, split: str) -> Pool:
    return images.pool(np.flatnonzero(images.manifest.splits == SPLITS.index(split)))


def train(net: nn.Module, parts: list[Part], pool: Pool, epochs: int, seed: int) -> None:
    """All tasks at once, by the mean of their losses; the weights of the last step stay."""
    sampler = pool.sampler(64, CPU, seed, True)
    steps = epochs * (len(pool) // 64)
    optimizer = sgd(net, 0.1, 0.9, 5e-4)
    net.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step, steps, 0.1, warmup=steps // 10)
        batch = sampler.next()
        logits = net(batch.images)
        loss = torch.stack([part.loss(logits, batch.rows) for part in parts]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def judged(net: nn.Module, parts: list[Part], pool: Pool) -> dict[str, Any]:
    """The share of right answers of every task on a pool, 0..1, from the network's raw outputs."""
    net.eval()
    batches = [(net(batch.images).numpy(), batch.rows.numpy()) for batch in pool.batches(256, CPU)]
    logits, rows = (np.concatenate(both) for both in zip(*batches, strict=True))
    return {"accuracy": {part.name: part.right(logits, rows) for part in parts}}


def show(cells: list[dict[str, Any]]) -> None:
    """A line per way: the mean over seeds, and its spread, of the first task's accuracy and of the others'."""
    for how in dict.fromkeys(cell["how"] for cell in cells):
        mine = [cell["accuracy"] for cell in cells if cell["how"] == how]
        names = list(mine[0])
        shown = names if len(names) <= 3 else [names[0]]
        columns = {name: np.array([one[name] for one in mine]) for name in shown}
        if len(names) > 3:
            columns["the other 39"] = np.array([np.mean([one[name] for name in names[1:]]) for one in mine])
        text = "  ".join(f"{name} {100 * v.mean():.1f} +- {100 * v.std():.1f}" for name, v in columns.items())
        print(f"{how:12} {text}")


if __name__ == "__main__":
    main()
