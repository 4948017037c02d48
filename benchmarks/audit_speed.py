"""What an audit costs beside the forward passes it consists of, and whether its memory grows with the images.

    python benchmarks/audit_speed.py [--images 1024] [--rounds 7] [--out benchmarks/results/audit_speed.json]

`ratio` is the throughput of the audit over that of a bare loop of forward passes on the same cached images: median over
rounds in which both run one after the other, in CPU time of one thread. Memory is the peak of a process that audits so
many images of a memory map, without the pages of that map.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from fairprune_cli.audit.counts import audit_models
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.models.architectures import build

BATCH = 128
CLASSES = ("neutral", "smiling")
CASES = (("resnet10-w16", 40, 1), ("resnet10-w16", 40, 2), ("resnet10", 64, 1), ("mobilenet_v2", 64, 1))


@dataclass(frozen=True)
class Row:
    architecture: str
    pixels: int
    models: int
    attributes: int
    bare: float  # images per second of CPU time
    audit: float
    ratio: float


def pool_of(pixels: np.ndarray, attributes: int) -> tuple[Pool, list[Any]]:
    """A pool over the pixels with random labels and groups; the first attribute has 2 groups, the next 3, and so on."""
    rng, n = np.random.default_rng(0), len(pixels)
    sizes = range(2, 2 + attributes)
    columns = [rng.integers(-1, size, n) for size in sizes]
    groups = np.stack(columns, 1) if columns else np.empty((n, 0), np.int64)
    named = [SimpleNamespace(name=f"a{s}", groups=tuple(f"g{i}" for i in range(s))) for s in sizes]
    transform = SimpleNamespace(size=pixels.shape[2], mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    images: Any = SimpleNamespace(
        pixels=pixels, labels=rng.integers(0, 2, n), groups=groups, groupings=tuple(named), manifest=None,
        transform=transform, resident=lambda _: None,
    )  # fmt: skip
    return Pool(images, np.arange(n)), named


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one thread, which other programs on the machine disturb less than wall time."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(architecture: str, side: int, models: int, n: int, rounds: int, attributes: int = 3) -> Row:
    pixels = np.random.default_rng(1).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    pool, named = pool_of(pixels, attributes)
    names = ("dense", "pruned")[:models]
    nets: dict[str, nn.Module] = {name: build(architecture, len(CLASSES)).eval() for name in names}

    def bare() -> None:
        with torch.inference_mode():
            for batch in pool.batches(BATCH, "cpu"):
                for net in nets.values():
                    net(batch.images)

    def audit() -> None:
        audit_models(nets, pool, named, CLASSES, "cpu", batch_size=BATCH)

    bare()
    audit()
    times = []
    for i in range(rounds):  # whoever comes second finds warmer caches, so they take turns
        first, second = (bare, audit) if i % 2 else (audit, bare)
        one, other = seconds(first), seconds(second)
        times.append((one, other) if i % 2 else (other, one))
    bare_time, audit_time = (statistics.median(part) for part in zip(*times, strict=True))
    ratio = statistics.median(b / a for b, a in times)
    return Row(architecture, side, models, attributes, n / bare_time, n / audit_time, ratio)


def _peak(path: str, n: int, answer: Any) -> None:
    torch.set_num_threads(1)
    pixels = np.memmap(path, np.uint8, "r", shape=(n, 3, 40, 40))
    pool, named = pool_of(pixels, 3)
    audit_models({"dense": build("resnet10-w16", 2)}, pool, named, CLASSES, "cpu", batch_size=BATCH)
    answer.put(private_bytes())


def private_bytes() -> int:
    """Peak memory of this process without pages of files, which the system can drop at any time."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * (peak - int(status["RssFile"].split()[0]))


def memory(counts: list[int]) -> dict[str, int]:
    """Peak bytes by number of images, each in a process of its own."""
    found: dict[str, int] = {}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels"
        rng = np.random.default_rng(2)
        with open(path, "wb") as stream:
            for _ in range(max(counts) // 1000 + 1):
                stream.write(rng.integers(0, 256, (1000, 3, 40, 40), dtype=np.uint8).tobytes())
        for n in counts:
            answer = context.Queue()
            process = context.Process(target=_peak, args=(str(path), n, answer))
            process.start()
            found[str(n)] = answer.get()
            process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "audit_speed.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'architecture':16}{'pixels':>8}{'models':>8}{'bare/s':>10}{'audit/s':>10}{'ratio':>8}")
    rows = []
    for architecture, side, models in CASES:
        row = measured(architecture, side, models, options.images, options.rounds)
        rows.append(row)
        print(f"{architecture:16}{side:8}{models:8}{row.bare:10.0f}{row.audit:10.0f}{row.ratio:8.3f}", flush=True)
    peaks = memory([1000, 10_000])
    for n, peak in peaks.items():
        print(f"{int(n):8} images: {peak / 1e6:8.1f} MB at the peak")
    document = {
        "machine": f"{platform.system()} {platform.machine()}, 1 CPU thread",
        "torch": torch.__version__,
        "images": options.images, "rounds": options.rounds, "least_ratio": min(row.ratio for row in rows),
        "peak_bytes": peaks, "rows": [asdict(row) for row in rows],
    }  # fmt: skip
    atomic_write_text(options.out, json.dumps(document, indent=1) + "\n")
    print(f"audit at {document['least_ratio']:.3f} of bare forward passes or better; written to {options.out}")


if __name__ == "__main__":
    main()
