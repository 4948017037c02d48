"""What pruning costs beside plain fine-tuning: time of a step and peak memory, while the mask moves.

Plain fine-tuning (forward, backward, SGD with momentum), magnitude and bifp with an upper step every k = 1, 2, 4, 8
lower steps take turns in one process, on one thread, by that thread's own CPU time, so that other programs on the
machine count for little. The floor of bifp is 1 + 1/k times fine-tuning; once the mask is fixed at a sparsity of 0.8
(last row), 1 + 1/3k, as upper passes then go forward only. Ratios are medians over the cycles, with the least and the
largest. Peak memory is that of a process of its own per row. Prints a table and writes results/cost.json, where rows of
other architectures stay.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _jobs import fine_tuning, in_turn, machine

from fairprune_cli.data.batches.batch import Batch
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.masks import ChannelMasks, Masks, WeightMasks
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.pruning.schedule import FORWARD_ONLY, Budget
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.trainer import Groups, Trainer, TrainOptions

FIXED = "bifp, fixed"  # mask
ROWS = [("fine-tuning", 0), ("magnitude", 0), ("bifp", 1), ("bifp", 2), ("bifp", 4), ("bifp", 8), (FIXED, 5)]
CYCLE = 8  # steps after which every k has been round


class Source:
    """The same random batch again and again."""

    def __init__(self, batch: int, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        labels, groups = (torch.randint(0, 2, shape, generator=generator) for shape in ((batch,), (batch, 1)))
        self.batch = Batch(torch.randn(batch, 3, size, size, generator=generator), labels, groups, torch.arange(batch))

    def next(self) -> Batch:
        return self.batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


def step_of(row: tuple[str, int], arch: str, granularity: str, batch: int, size: int) -> Callable[[], None]:
    """One lower step of a row, with all that goes with it."""
    model = architectures.build(arch, 2, seed=0).to(memory_format=torch.channels_last).train()
    source = Source(batch, size)
    name, k = row
    if name == "fine-tuning":
        return fine_tuning(model, source)
    masks: Masks
    masks = WeightMasks(model) if granularity == "weight" else ChannelMasks(model, channel_spaces(model, size))
    kind = methods.get("bifp" if name == FIXED else name)
    method = kind(masks, MethodOptions(ramp_share=0.0 if name == FIXED else 1.0))
    constraint = Constraint(
        fairness.get("accuracy", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=200.0
    )
    plan = kind.plan(method.options)
    budget = Budget(100_000, plan, k or 5, kind.upper_gradient, kind.constrained)
    trainer = Trainer(
        model, masks, Objective(method, constraint), Groups({"group": ("a", "b")}), source, source, budget, 0.8,
        TrainOptions(lr=0.01, upper_every=k or 5, epochs=1),
    )  # fmt: skip
    return trainer.step


def peak(answers: Queue[int], row: tuple[str, int], arch: str, granularity: str, batch: int, size: int) -> None:
    torch.set_num_threads(1)
    step = step_of(row, arch, granularity, batch, size)
    for _ in range(max(row[1], 5) + 1):
        step()
    answers.put(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", nargs="+", default=["resnet10", "resnet18"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--cycles", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("forkserver")  # imports torch once
    context.set_forkserver_preload(["fairprune_cli.run.prune"])
    results = []
    print(
        f"{'architecture':12} {'granularity':11} {'row':14} {'s/step':>7} {'ratio':>6} {'floor':>6} {'over':>6} "
        f"{'peak MB':>8} {'ratio':>6}"
    )
    for arch in args.arch:
        for granularity in ("weight", "channel"):
            steps = {row: step_of(row, arch, granularity, args.batch, args.size) for row in ROWS}
            for step in steps.values():
                step()
            cycles = in_turn(steps, args.cycles, CYCLE)
            del steps
            peaks = {}
            for row in ROWS:
                answers: Queue[int] = context.Queue()
                process = context.Process(target=peak, args=(answers, row, arch, granularity, args.batch, args.size))
                process.start()
                peaks[row] = answers.get(timeout=600)
                process.join()
            for row in ROWS:
                share = FORWARD_ONLY if row[0] == FIXED else 1.0
                floor = 1 + share / row[1] if row[1] else 1.0
                ratios = sorted(a / b for a, b in zip(cycles[row], cycles[ROWS[0]], strict=True))
                ratio, seconds = median(ratios), median(cycles[row])
                memory = peaks[row] / peaks[ROWS[0]]
                label = f"{row[0]}{f' k={row[1]}' if row[1] else ''}"
                print(
                    f"{arch:12} {granularity:11} {label:14} {seconds:7.3f} {ratio:6.2f} {floor:6.2f} "
                    f"{ratio / floor:6.2f} {peaks[row] / 1e6:8.0f} {memory:6.2f}", flush=True,
                )  # fmt: skip
                results.append({
                    "architecture": arch, "granularity": granularity, "row": label, "seconds_per_step": seconds,
                    "batch": args.batch, "size": args.size, "cycles": args.cycles,
                    "ratio": ratio, "least": ratios[0], "largest": ratios[-1], "floor": floor,
                    "over_floor": ratio / floor, "peak_bytes": peaks[row],
                    "memory_ratio": memory,
                })  # fmt: skip
            target = Path(__file__).parent / "results" / "cost.json"
            earlier = json.loads(target.read_text(encoding="utf-8"))["rows"] if target.exists() else []
            new = {(row["architecture"], row["granularity"]) for row in results}
            rows = [row for row in earlier if (row["architecture"], row["granularity"]) not in new] + results
            document = {
                "machine": machine(), "torch": torch.__version__,
                "rows": sorted(rows, key=lambda row: (row["architecture"], row["granularity"])),
            }  # fmt: skip
            target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
