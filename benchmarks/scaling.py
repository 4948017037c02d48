"""What a step of pruning costs against the number of images, of parameters and of groups; and the audit's intervals.

    python benchmarks/scaling.py [--only images parameters groups audit samplers] [--cycles 8] [--smoke]

Steps are those that `fairprune prune` makes by default (adaptive batches, constraint, records of the run included)
while the mask moves, on one thread by its own clock, rows taking turns in one process. A figure is the least of the
cycles, a ratio the median over cycles of paired ratios. Memory is that of a process of its own, without the pages of
decoded images. Prints tables and writes results/scaling.json, part by part.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _jobs import (
    CLASSES,
    Job,
    Key,
    group_work_of,
    in_turn,
    machine,
    pixels_file,
    pool_over,
    private_bytes,
    step_of,
    trainer_of,
)

from fairprune_cli.audit import simultaneous
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler

CYCLE = 5  # lower steps after which an upper step and a move of the mask have come once
WARM = 4  # cycles that are not counted: until then memory is still asked for anew at every step
ROWS = (2_000, 8_000, 32_000, 128_000)
ARCHITECTURES = ("resnet10-w16", "resnet10", "resnet18", "resnet34", "resnet50")
ATTRIBUTES = ((2,), (4,), (8,), (16,), (32,), (64,), (2, 2), (2, 2, 2), (2, 2, 2, 2))
AUDITED = ((2,), (4,), (8,), (16,), (32,), (64,), (2, 2, 4), (4, 4, 16), (8, 8, 64))
MILLION = ((2,), (64,), (16, 16, 16))
RESULT = Path(__file__).parent / "results" / "scaling.json"

Row = dict[str, Any]


def warmed(steps: Mapping[Key, Callable[[], None]], cycles: int) -> dict[Key, list[float]]:
    """Seconds per step in each cycle, after some that are not counted."""
    for step in steps.values():
        for _ in range(WARM * CYCLE):
            step()
    return in_turn(steps, cycles, CYCLE)


def ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(seconds, base, strict=True))


def show(title: str, rows: Sequence[Row]) -> None:
    print(f"\n{title}")
    widths = {key: max(len(key), *(len(_cell(row[key])) for row in rows)) for key in rows[0]}
    print("  ".join(f"{key:>{width}}" for key, width in widths.items()))
    for row in rows:
        print("  ".join(f"{_cell(row[key]):>{width}}" for key, width in widths.items()), flush=True)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def elsewhere(target: Callable[..., None], *arguments: Any) -> Any:
    """What `target` puts into the queue that it is given first, in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    answers = context.Queue()
    process = context.Process(target=target, args=(answers, *arguments))
    process.start()
    answer = answers.get(timeout=600)
    process.join()
    return answer


# --- images -------------------------------------------------------------------------------------------------------


def memory_of(answers: Any, folder: str, job: Job) -> None:
    torch.set_num_threads(1)
    trainer = trainer_of(job, pool_over(pixels_file(Path(folder), job.rows, job.size), job.attributes))
    for _ in range(CYCLE + 1):
        trainer.step()
    stream = io.BytesIO()
    memory = private_bytes()
    torch.save(trainer.state_dict(), stream)
    answers.put((memory, stream.tell()))


def images(folder: Path, cycles: int, smoke: bool) -> list[Row]:
    job = Job(arch="resnet10-w16", size=32) if smoke else Job()
    counts = ROWS[:2] if smoke else ROWS
    pixels_file(folder, max(counts), job.size)
    steps, made = {}, {}
    for count in counts:
        pool = pool_over(pixels_file(folder, count, job.size), job.attributes)
        began = time.perf_counter()
        steps[count] = step_of(job, pool)
        made[count] = time.perf_counter() - began
    seconds = warmed(steps, cycles)
    rows = []
    for count in counts:
        memory, state = elsewhere(memory_of, str(folder), replace(job, rows=count))
        rows.append({
            "images": count, "seconds per step": min(seconds[count]),
            "times the fewest": ratio(seconds[count], seconds[counts[0]]),
            "ms per image and epoch": 1000 * min(seconds[count]) / job.batch, "seconds to set up": made[count],
            "memory MB": memory / 1e6, "state MB": state / 1e6,
        })  # fmt: skip
    return rows


# --- parameters ---------------------------------------------------------------------------------------------------


def parameters(folder: Path, cycles: int, smoke: bool) -> list[Row]:
    rows = []
    for arch in ARCHITECTURES[:1] if smoke else ARCHITECTURES:
        job = Job(arch=arch, size=32 if smoke else 48, batch=64, rows=2_000)
        pool = pool_over(pixels_file(folder, job.rows, job.size), job.attributes)
        jobs = {granularity: replace(job, granularity=granularity) for granularity in ("", "weight", "channel")}
        seconds = warmed({key: step_of(each, pool) for key, each in jobs.items()}, max(cycles // 2, 1))
        count = sum(p.numel() for p in trainer_of(job, pool).model.parameters())
        row: Row = {"network": arch, "parameters": count, "fine-tuning s": min(seconds[""])}
        for granularity in ("weight", "channel"):
            row[f"{granularity} s"] = min(seconds[granularity])
            row[f"{granularity}, times"] = ratio(seconds[granularity], seconds[""])
        rows.append(row | {"passes, times": 1 + 1 / CYCLE})
    return rows


# --- groups -------------------------------------------------------------------------------------------------------


def groups(folder: Path, cycles: int, smoke: bool) -> list[Row]:
    """The whole step, and that part of it which depends on groups, by itself: there little noise is in the way."""
    job = Job(arch="resnet10-w16", size=32) if smoke else Job()
    pixels = pixels_file(folder, job.rows, job.size)
    jobs = {counts: (replace(job, attributes=counts), pool_over(pixels, counts)) for counts in ATTRIBUTES}
    little = warmed({counts: group_work_of(*each) for counts, each in jobs.items()}, 30)
    seconds = warmed({counts: step_of(*each) for counts, each in jobs.items()}, cycles)
    base = ATTRIBUTES[0]
    return [
        {
            "groups": " + ".join(map(str, counts)), "seconds per step": min(seconds[counts]),
            "times 2 groups": ratio(seconds[counts], seconds[base]),
            "work of groups ms": 1000 * min(little[counts]),
            "more, % of a step": 100 * (min(little[counts]) - min(little[base])) / min(seconds[base]),
        }
        for counts in ATTRIBUTES
    ]  # fmt: skip


# --- the audit's intervals ----------------------------------------------------------------------------------------


def audited(counts: Sequence[int], classes: int, images: int = 100_000) -> AuditResult:
    """An audit of a dense and a pruned model with random answers, about 85 % of them right."""
    rng, models = np.random.default_rng(0), ("dense", "pruned")
    labels = rng.integers(0, classes, images)
    said = {m: np.where(rng.random(images) < 0.85, labels, rng.integers(0, classes, images)) for m in models}
    right = {m: (said[m] == labels).astype(int) for m in models}

    def tables(group: np.ndarray, count: int, one: np.ndarray, other: np.ndarray, size: int) -> np.ndarray:
        flat = (group * size + one) * size + other
        return np.bincount(flat, minlength=count * size * size).reshape(count, size, size)

    columns = {f"a{a}": (rng.integers(0, count, images), count) for a, count in enumerate(counts)}
    nothing = np.zeros(images, dtype=int)
    return AuditResult(
        tuple(map(str, range(classes))),
        {name: tuple(map(str, range(count))) for name, (_, count) in columns.items()},
        {m: tables(nothing, 1, labels, said[m], classes)[0] for m in models},
        {m: {name: tables(*column, labels, said[m], classes) for name, column in columns.items()} for m in models},
        {"pruned": tables(nothing, 1, right["dense"], right["pruned"], 2)[0]},
        {"pruned": {name: tables(*column, right["dense"], right["pruned"], 2) for name, column in columns.items()}},
        dict.fromkeys(columns, 0),
    )


def audit(folder: Path, cycles: int, smoke: bool) -> list[Row]:
    """Seconds until every figure of a report has its interval: the first time, and with the noise drawn already."""
    rows = []
    for classes in (CLASSES, 10):
        for counts in AUDITED[:3] if smoke else AUDITED:
            result = audited(counts, classes)
            simultaneous.noise.cache_clear()
            taken = []
            for _ in range(2):
                began = time.perf_counter()
                result.figures()
                taken.append(time.perf_counter() - began)
            # The last attribute of several is the intersection of those before it.
            label = (
                " + ".join(map(str, counts[:-1])) + f" + {counts[-1]} of both" if len(counts) > 1 else str(counts[0])
            )
            rows.append({"groups": label, "classes": classes, "seconds": taken[0], "seconds again": taken[1]})
    return rows


# --- samplers over a million images -------------------------------------------------------------------------------


def sampler_of(answers: Any, folder: str, kind: str, rows: int, counts: tuple[int, ...]) -> None:
    torch.set_num_threads(1)
    pixels = np.memmap(Path(folder) / "empty.u8", dtype=np.uint8, mode="r", shape=(rows, 3, 8, 8))
    before = private_bytes()
    began = time.perf_counter()
    pool = pool_over(pixels, counts)
    held, started = private_bytes(), time.perf_counter()
    sampler = _sampler(kind, pool)
    sampler.next()
    ready = time.perf_counter()
    for _ in range(200):
        sampler.next()
    ended, stream = time.perf_counter(), io.BytesIO()
    torch.save(sampler.state_dict(), stream)
    written = time.perf_counter()
    _sampler(kind, pool).load_state_dict(torch.load(io.BytesIO(stream.getvalue()), weights_only=True))
    answers.put({
        "seconds to set up": ready - started, "ms per batch": 5 * (ended - ready), "state kB": stream.tell() / 1e3,
        "ms to save": 1000 * (written - ended), "seconds to continue": time.perf_counter() - written,
        "bytes per image, pool": (held - before) / rows, "bytes per image, all": (private_bytes() - before) / rows,
        "pool s": started - began,
    })  # fmt: skip


def _sampler(kind: str, pool: Pool) -> EndlessBatches:
    if kind == "plain":
        return pool.sampler(128, "cpu", 0, False)
    return StratifiedSampler(pool, 128, "cpu", 0, False, Strata.even)


def samplers(folder: Path, cycles: int, smoke: bool) -> list[Row]:
    rows: list[Row] = []
    for count in (10_000,) if smoke else (10_000, 1_000_000):
        with open(folder / "empty.u8", "wb") as stream:
            stream.truncate(count * 3 * 8 * 8)
        for counts in MILLION:
            for kind in ("plain", "stratified"):
                found = elsewhere(sampler_of, str(folder), kind, count, counts)
                rows.append({"images": count, "groups": " x ".join(map(str, counts)), "sampler": kind} | found)
    return rows


PARTS = {"images": images, "parameters": parameters, "groups": groups, "audit": audit, "samplers": samplers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cycles", type=int, default=8, help="of five steps each")
    parser.add_argument("--smoke", action="store_true", help="small networks and few images, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fairprune_cli.run.prune"])  # imports torch once
    with tempfile.TemporaryDirectory() as temporary:
        for part in args.only:
            began = time.perf_counter()
            rows = PARTS[part](Path(temporary), args.cycles, args.smoke)
            show(f"{part} ({time.perf_counter() - began:.0f} s)", rows)
            document = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
            document[part] = {
                "machine": machine(), "torch": torch.__version__, "smoke": args.smoke, "cycles": args.cycles,
                "rows": rows,
            }  # fmt: skip
            atomic_write_text(args.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
