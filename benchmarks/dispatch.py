"""Operators dispatched and numbers read from tensors per training step: what a step costs on a GPU before it computes.

    python benchmarks/dispatch.py [--arch resnet18 resnet50 vit_b_16] [--breakdown]

Each dispatched operator is a kernel that the host has to launch, and each number read from a tensor stops the device;
on a GPU these two decide about the time of a step long before arithmetic does. Both can be counted anywhere. Plain
fine-tuning as a user writes it, magnitude and bifp (an upper step every 5 lower ones, a multiplier above zero) by
weight, channel and 2:4, while the mask moves and once it is fixed, put together as `fairprune prune` puts them
together, with sampler and augmentation; means over 20 steps. The networks have a quarter of their widths (--full keeps
them), on which counts hardly depend: the CPU's path goes through some large tensors in pieces. "cpu" is the path that
the CPU takes, on which numpy does some of the work, uncounted; "accelerator" is the path of a GPU, on tensors of the
CPU.

Not counted as operators: views (operators whose schema says that the result shares its argument's memory, `detach` and
`lift_fresh` among them, and `_unsafe_view`), changes of shape in place (`detach_`, `squeeze_`, `unsqueeze_`, `t_`,
`transpose_`), and the profiler's markers (`record_function`), which launch nothing.
Counted as reads: `aten._local_scalar_dense` (`float(t)`, `t.item()`, `bool(t)`); on the accelerator's path also
operators whose result's size only the device knows (`nonzero`, indexing by a mask and the like), and a copy to the host
that is looked at in the very step in which it was made, by when it cannot have arrived.

Prints a table and writes results/dispatch.json, where rows of other architectures stay.
"""

from __future__ import annotations

import argparse
import inspect
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import _narrow
import numpy as np
import torch
from _jobs import Job, Plain, pixels_file, pool_over, trainer_of
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core import transfer
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.training.trainer import Trainer

K = 5  # lower steps per upper step, the default
STEPS = 4 * K  # counted; so that a number read once per ten steps is read twice
WARM = 2 * K  # before that; the first upper steps have passed and multipliers have risen
RAMP = 400  # lower steps over which the mask moves: by the steps that are counted a part of it is gone
PATHS = ("cpu", "accelerator")
GRANULARITIES = ("weight", "channel", "2:4")
METHODS = ("magnitude", "bifp")
ROWS = 640  # images in all; no epoch ends among the steps that are counted
BATCH, SIZE = 16, 32

FREE = {"_unsafe_view", "detach_", "squeeze_", "unsqueeze_", "t_", "transpose_"}
# Whoever calls these on a GPU waits for the size, or the truth, of the result.
WAITING = {"nonzero", "masked_select", "equal", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
PACKAGE = "/fairprune_cli/"


class Dispatched(TorchDispatchMode):
    """Counts what is dispatched inside the block.

    Args:
        lines: also count by the innermost line of the package.

    Attributes:
        operators: by name; reads: by name; lines: by file and line.
    """

    def __init__(self, lines: bool = False) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self._with_lines = lines

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        namespace, base = name.split(".")[:2]
        if base == "_local_scalar_dense" or waits(base, args):
            self.reads[name] += 1
        if not (namespace == "profiler" or base in FREE or func.is_view):
            self.operators[name] += 1
            if self._with_lines:
                self.lines[_line()] += 1
        return func(*args, **(kwargs or {}))


def waits(base: str, args: Any) -> bool:
    """Whether an operator of this name has the host of a GPU wait; on the CPU's path it costs nothing."""
    if transfer.on_host(torch.empty(0, device="cpu")):
        return False
    by_mask = base in {"index", "index_put_", "index_put", "_index_put_impl_"} and any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    return by_mask or base in WAITING


def _line() -> str:
    frame = inspect.currentframe()
    while frame is not None and PACKAGE not in frame.f_code.co_filename:
        frame = frame.f_back
    return "elsewhere" if frame is None else f"{frame.f_code.co_filename.split(PACKAGE)[-1]}:{frame.f_lineno}"


@contextmanager
def looked_at_once(counted: Dispatched, now: Callable[[], int]) -> Iterator[None]:
    """A block in which copies to the host that are looked at in the step in which they were made count as reads."""
    made: dict[int, int] = {}
    begin, numpy = transfer.Arriving.__init__, transfer.Arriving.numpy

    def noted(self: transfer.Arriving, *args: Any, **named: Any) -> None:
        made[id(self)] = now()
        begin(self, *args, **named)

    def looked(self: transfer.Arriving) -> np.ndarray:
        counted.reads["a copy to the host"] += made.get(id(self)) == now()
        return numpy(self)

    with patch.object(transfer.Arriving, "__init__", noted), patch.object(transfer.Arriving, "numpy", looked):
        yield


def largest_multiplier(trainer: Trainer) -> float:
    """Of all attributes; above 0 the Lagrangian has its term."""
    return max(float(torch.as_tensor(mu).max()) for mu in trainer.constraint.multipliers)


def count(job: Job, pool: Pool, path: str, lines: bool = False) -> Dispatched:
    """What STEPS steps of a job dispatch on one of the two paths; plain fine-tuning where its granularity is ""."""
    accelerator = path == "accelerator"
    block: AbstractContextManager[None] = transfer.as_accelerator() if accelerator else nullcontext()
    with block:
        trainer = trainer_of(job, pool) if job.granularity else None
        step = Plain(job, pool).step if trainer is None else trainer.step
        for _ in range(WARM):
            step()
        constrained = trainer is not None and trainer.method.constrained
        if trainer is not None and constrained:
            # So high that random images, on which groups hardly differ, do not bring it to zero meanwhile.
            for mu in trainer.constraint.multipliers:
                mu[0, :, 0] = 0.5
        assert not constrained or largest_multiplier(trainer) > 0, "no multiplier is above zero"
        counted, done = Dispatched(lines), 0
        with looked_at_once(counted, lambda: done) if accelerator else nullcontext(), counted:
            for done in range(STEPS):  # noqa: B007
                step()
        assert not constrained or largest_multiplier(trainer) > 0, "no multiplier is above zero any more"
    return counted


def rows_of(arch: str, folder: Path, methods: Sequence[str], full: bool, breakdown: bool) -> list[dict[str, Any]]:
    """The table of an architecture; the first row is plain fine-tuning."""
    pool = pool_over(pixels_file(folder, ROWS, SIZE), (2,))
    name = arch if full or arch not in _narrow.NAMES else f"_narrow:{arch}"
    plain = Job(arch=name, granularity="", batch=BATCH, size=SIZE, rows=ROWS)
    jobs = [("plain", "", plain)]
    jobs += [
        (method, mask, replace(plain, method=method, granularity=granularity, ramp=ramp))
        for method in methods for granularity in GRANULARITIES for mask, ramp in (("moving", RAMP), ("fixed", 0))
    ]  # fmt: skip
    found: list[dict[str, Any]] = []
    for method, mask, job in jobs:
        row: dict[str, Any] = {
            "architecture": arch, "method": method, "granularity": job.granularity, "mask": mask,
        }  # fmt: skip
        for path in PATHS:
            counted = count(job, pool, path, breakdown)
            row[path] = {
                "operators": sum(counted.operators.values()) / STEPS, "reads": sum(counted.reads.values()) / STEPS,
            }  # fmt: skip
            row[path]["ratio"] = row[path]["operators"] / (found or [row])[0][path]["operators"]
            if breakdown:
                _print_breakdown(f"{arch} {method} {job.granularity} {mask}, {path}", counted)
        found.append(row)
        _print(row)
    return found


def _print(row: dict[str, Any]) -> None:
    name = f"{row['architecture']:10} {row['method']:10} {row['granularity'] or '-':8} {row['mask'] or '-':7}"
    figures = (f"{row[p]['operators']:9.1f} {row[p]['ratio']:6.2f} {row[p]['reads']:6.2f}" for p in PATHS)
    print(name, *figures, sep="  ", flush=True)


def _print_breakdown(title: str, counted: Dispatched) -> None:
    print(f"\n{title}, per step")
    for kind, numbers in (("operator", counted.operators), ("read", counted.reads), ("line", counted.lines)):
        for name, number in numbers.most_common():
            print(f"  {kind:8} {number / STEPS:8.2f}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--full", action="store_true", help="networks of full width")
    parser.add_argument("--breakdown", action="store_true", help="also by operator and by line of the package")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "dispatch.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':40}  {'cpu: operators, ratio, reads':23}  accelerator: the same")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for arch in args.arch:
            results += rows_of(arch, Path(folder), args.methods, args.full, args.breakdown)
    earlier = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.exists() else []
    rows = [row for row in earlier if row["architecture"] not in args.arch] + results
    document = {"torch": torch.__version__, "steps": STEPS, "upper_every": K, "full_width": args.full, "rows": rows}
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
