"""What gpu.py measures: milliseconds per step and peak memory, pruning beside a plain loop, and 2:4 linear layers."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import semi_structured
import torch
from _jobs import Job, Plain, pixels_file, pool_over, trainer_of
from dispatch import largest_multiplier

from fairprune_cli.core.device import repeatable
from fairprune_cli.data.batches.pool import Pool

K = 5  # lower steps per upper step, the default
FLOORS = {"moving": 1 + 1 / K, "fixed": 1 + 1 / (3 * K)}  # passes of a bifp step; forward only is a third
WARM = 4 * K
MOVES = 4000  # lower steps over which the mask moves: all that are measured
PRECISIONS = ("bf16", "fp32")
PROFILED = 2 * K  # steps
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")  # and what else begins so, such as ...ExC


def jobs(small: bool, device: str) -> list[Job]:
    """The plain jobs, a network and a size each."""
    if small:
        return [
            Job(arch=f"_narrow:{name}", granularity="", batch=16, size=32, rows=320, device=device)
            for name in ("resnet18", "vit_b_16")
        ]
    return [
        Job(arch="resnet18", granularity="", batch=128, size=64, rows=8192, device=device),
        Job(arch="resnet50", granularity="", batch=64, size=224, rows=4096, device=device),
        Job(arch="vit_b_16", granularity="", batch=64, size=224, rows=4096, device=device),
    ]


@contextmanager
def arithmetic_of_a_user() -> Iterator[None]:
    """torch as it is out of the box, with cudnn.benchmark; afterwards the settings are what they were."""
    benchmark, deterministic = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.backends.cudnn.benchmark = True
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(deterministic, warn_only=warn)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(step: Callable[[], None], device: str, chunks: int, length: int) -> list[float]:
    """Milliseconds per step of each chunk, sorted."""
    taken = []
    for _ in range(chunks):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(length):
            step()
        synchronise(device)
        taken.append(1000 * (time.perf_counter() - began) / length)
    return sorted(taken)


def clear(device: str) -> int:
    """Give back what is not in use; bytes that still are, from which peaks are counted."""
    gc.collect()
    if device != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def measured(make: Callable[[], Callable[[], None]], device: str, small: bool) -> dict[str, Any]:
    """Time and peak memory of a step that `make` gives, after it has warmed up."""
    before = clear(device)
    began = time.perf_counter()
    step = make()
    for _ in range(WARM // 2 if small else WARM):
        step()
    synchronise(device)
    ready = time.perf_counter() - began
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = timed(step, device, *((2, K) if small else (5, 2 * K)))
    peak = torch.cuda.max_memory_allocated() - before if device == "cuda" else None
    row: dict[str, Any] = {
        "ms": median(times), "least": times[0], "largest": times[-1], "peak_bytes": peak, "seconds_to_warm_up": ready,
    }  # fmt: skip
    if device == "cuda":
        row |= profiled(step)
    return row


def profiled(step: Callable[[], None]) -> dict[str, float]:
    """What a step asks of the device: launches, waits, and milliseconds that it is at work."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(PROFILED):
            step()
    launches = waits = busy = 0.0
    for event in profile.key_averages():
        launches += event.count * event.key.startswith(LAUNCHES)
        waits += event.count * event.key.endswith("Synchronize")
        busy += getattr(event, "self_device_time_total", 0.0)
    # The profiler itself waits for the device once at the end.
    return {
        "launches": launches / PROFILED, "waits": max(waits - 1, 0) / PROFILED, "busy_ms": busy / 1000 / PROFILED
    }  # fmt: skip


def captured(job: Job, pool: Pool) -> Callable[[], None]:
    """The plain step as one CUDA graph; only the choice of the images stays outside."""
    plain = Plain(job, pool)
    chosen = plain.index.clone()

    def next_images() -> None:
        plain.draw()
        chosen.copy_(plain.index)
        plain.index = chosen

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            next_images()
            plain.learn()
    torch.cuda.current_stream().wait_stream(stream)
    plain.optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plain.learn()

    def step() -> None:
        next_images()
        graph.replay()

    return step


def pruning(job: Job, pool: Pool) -> Callable[[], None]:
    """A step of bifp under the settings of a run, with a multiplier above zero once it has warmed up."""
    device = torch.device(job.device)
    repeatable(device)
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True)  # as `strictly_repeatable` has it for a run of these networks
    trainer = trainer_of(job, pool)
    for _ in range(2 * K):
        trainer.step()
    if largest_multiplier(trainer) <= 0:
        raise AssertionError("no multiplier is above zero: the Lagrangian's term would not be measured")
    return trainer.step


def network_rows(
    plain: Job, pool: Pool, small: bool, left: Callable[[], float], say: Callable[[dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """The rows of a network in one number format; the first is the plain loop."""
    rows: list[dict[str, Any]] = []

    def row(name: str, granularity: str, mask: str, make: Callable[[], Callable[[], None]]) -> None:
        found: dict[str, Any] = {
            "network": plain.arch, "size": plain.size, "batch": plain.batch, "precision": plain.precision,
            "row": name, "granularity": granularity, "mask": mask,
        }  # fmt: skip
        if left() <= 0:
            found["skipped"] = "no time was left"
        else:
            try:
                found |= measured(make, plain.device, small)
            except Exception as error:
                found["failed"] = f"{type(error).__name__}: {error}"[:600]
        first = (rows or [found])[0]
        if "ms" in found and "ms" in first:
            found["ratio"] = found["ms"] / first["ms"]
            if found["peak_bytes"] and first["peak_bytes"]:
                found["memory_ratio"] = found["peak_bytes"] / first["peak_bytes"]
            if mask:
                found["over_floor"] = found["ratio"] / FLOORS[mask]
        rows.append(found)
        say(found)

    pool.images.resident(torch.device(plain.device))  # before anything is measured, for all rows
    with arithmetic_of_a_user():
        row("plain, eager", "", "", lambda: Plain(plain, pool).step)
        if plain.device == "cuda":
            row("plain, captured", "", "", lambda: captured(plain, pool))
    for granularity in ("weight", "channel"):
        for mask, ramp in (("moving", MOVES), ("fixed", 0)):
            job = replace(plain, granularity=granularity, ramp=ramp)
            row("bifp", granularity, mask, lambda job=job: pruning(job, pool))
    return rows


def made_measures(
    folder: Path, device: str, small: bool, left: Callable[[], float], say: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """All measures; what fails is recorded as such, and what there is no time for as well."""
    rows: list[dict[str, Any]] = []
    linear: dict[str, Any] = {}
    for precision in PRECISIONS:
        for job in jobs(small, device):
            pool = pool_over(pixels_file(folder, job.rows, job.size), (2,))
            rows += network_rows(replace(job, precision=precision), pool, small, left, say)
            del pool
            clear(device)
        linear = linear or linear_layers(left)  # before what takes longest
    return {"steps": rows, "linear_layers": linear}


def linear_layers(left: Callable[[], float]) -> dict[str, Any]:
    """Rows of linear layers in the pattern 2:4, or why there are none."""
    if (reason := semi_structured.missing()) or left() <= 0:
        return {"skipped": reason or "no time was left"}
    try:
        return {"rows": semi_structured.measured()}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:600]}
