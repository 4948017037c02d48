"""Speed and memory of the data path: decoding, the cache, `data check`, and an epoch over many images.

    python benchmarks/data.py [--count 200000] [--out benchmarks/results/data.json] [--work DIR]

Rates are images per second of processor time, summed over the threads, best of several rounds in turn: other work on
the machine cannot help one side and hurt the other. Limits are what a loop over the library alone reaches on as many
threads. Seconds of the large data set are processor time as well; the JSON file has wall time beside them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchcodec.decoders import decode_jpeg
from torchvision.transforms.v2 import functional

from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.parallel import decoding_threads
from fairprune_cli.data.images.decode import decode
from fairprune_cli.data.images.pillow import open_image
from fairprune_cli.data.tables.image_names import image_formats

SIZE, BATCH, ROUNDS = 64, 128, 7


def drawn(rng: np.random.Generator, width: int, height: int, quality: int) -> bytes:
    """A JPEG of about the bytes per pixel of a photograph: soft shapes with some noise."""
    y, x = np.mgrid[0:height, 0:width]
    f = rng.random(6)
    waves = [127 + 90 * np.sin(x * f[k] / 10 + y * f[k + 3] / 12) + rng.normal(0, 6, x.shape) for k in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def rates(works: dict[str, Callable[[bytes], Any]], items: list[bytes], threads: int) -> dict[str, float]:
    """Items per second of processor time, best of the rounds, in chunks on a pool as the cache builds them."""
    chunks = [items[start : start + 32] for start in range(0, len(items), 32)]
    best = dict.fromkeys(works, 0.0)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.process_time()
                list(pool.map(lambda chunk, work=work: [work(item) for item in chunk] and None, chunks))
                best[name] = max(best[name], len(items) / (time.process_time() - start))
    return best


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data), formats=image_formats()).convert("RGB"))


def pillow_resized(data: bytes) -> np.ndarray:
    return np.asarray(open_image(io.BytesIO(data), SIZE))


def torchcodec(data: bytes) -> torch.Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def torchcodec_resized(data: bytes) -> torch.Tensor:
    pixels = torchcodec(data)
    side = min(pixels.shape[1:])
    return functional.resize(functional.center_crop(pixels, [side, side]), [SIZE, SIZE], antialias=True)


def decoding(threads: int) -> list[dict[str, Any]]:
    rows = []
    rng = np.random.default_rng(0)
    for width, height, count in ((178, 218, 512), (80, 80, 1024), (1280, 960, 32)):
        items = [drawn(rng, width, height, 90) for _ in range(min(count, 64))] * max(1, count // 64)
        works: dict[str, Callable[[bytes], Any]] = {
            "pillow": pillow, "torchcodec": torchcodec, "pillow, scaled": pillow_resized,
            "torchcodec, scaled": torchcodec_resized, "fairprune": lambda data: decode(data, SIZE),
        }  # fmt: skip
        figures = rates(works, items, threads)
        better = max(figures["pillow, scaled"], figures["torchcodec, scaled"])
        rows.append({"image": f"{width}x{height}", **figures, "of the better": figures["fairprune"] / better})
    return rows


def batches() -> dict[str, float]:
    """Images per second of normalised batches: from the memory-mapped cache, and from a tensor in memory."""
    from fairprune_cli.data.batches.pool import ImageSet, Pool
    from fairprune_cli.data.manifest.transform import Transform

    count = 20_000
    mean, std = (torch.full((1, 3, 1, 1), value) for value in (0.5, 0.25))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.u8"
        np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8).tofile(path)
        pixels = np.memmap(path, dtype=np.uint8, mode="r", shape=(count, 3, SIZE, SIZE))
        held = torch.from_numpy(np.array(pixels))
        labels = np.arange(count) % 2
        transform = Transform(SIZE, (0.5,) * 3, (0.25,) * 3)
        groups = np.zeros((count, 1), dtype=np.int64)
        images = ImageSet(pixels, labels, groups, (), None, transform)  # type: ignore[arg-type]
        sampler = Pool(images, np.arange(count)).sampler(BATCH, "cpu", 0, False)
        steps = sampler.batches_per_pass
        all_labels = torch.from_numpy(labels)

        def cached() -> None:
            for _ in range(steps):
                sampler.next()

        def in_memory() -> None:
            order = torch.randperm(count)
            for start in range(0, steps * BATCH, BATCH):
                rows = order[start : start + BATCH]
                batch = held.index_select(0, rows).to(torch.float32).div_(255).sub_(mean).div_(std)
                assert len(batch) == len(all_labels[rows])

        figures = {}
        for name, work in (("cached", cached), ("in memory", in_memory)) * ROUNDS:
            start = time.process_time()
            work()
            figures[name] = max(figures.get(name, 0.0), steps * BATCH / (time.process_time() - start))
    return {**figures, "ratio": figures["cached"] / figures["in memory"]}


def write_large(folder: Path, count: int) -> None:
    """`count` distinct JPEGs of 64 x 64 with a table; nothing when they are there."""
    if (folder / "manifest.yaml").exists():
        return
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 190, SIZE)[None, :, None] + np.linspace(-40, 40, SIZE)[:, None, None]
    lines = ["file,y,sex,age,part,who"]
    for i in range(count):
        name = f"{i // 1000:03d}/{i:06d}.jpg"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = ramp + rng.integers(-40, 40, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=75)
        part = ("train", "val", "test")[max(i // 3 % 10 - 7, 0)]
        lines.append(f"{name},{('no', 'yes')[i % 2]},{'mf'[i // 2 % 2]},{i % 90},{part},p{i // 3}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "manifest.yaml").write_text(
        "version: 1\nname: large\ntable: table.csv\nimages: images\n"
        "columns: {image: file, label: y, split: part, person: who}\nclasses: [no, yes]\n"
        "attributes: {sex: {column: sex}, age: {column: age, bins: [0, 30, 60, 120]}}\n"
        f"transform: {{size: {SIZE}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\n"
    )


# Each runs in a process of its own, so that memory is its own. RssAnon leaves out the pages of the mapped file, which
# the system takes back when it needs them.
_HEAD = """
import json, sys, time
from pathlib import Path
def memory(what):
    line = next(l for l in open('/proc/self/status') if l.startswith(what))
    return int(line.split()[1]) / 1024
path, start, cpu = Path(sys.argv[1]), time.perf_counter(), time.process_time()
"""
_TAIL = """
figures |= {'wall seconds': time.perf_counter() - start, 'seconds': time.process_time() - cpu}
print(json.dumps(figures))
"""
_LOAD = """
from fairprune_cli.data.manifest.load import load_manifest
figures = {'images': len(load_manifest(path)), 'peak MB': memory('VmHWM')}
"""
_CHECK = """
from fairprune_cli.data.checks.check import check_data
checked = check_data(path / 'manifest.yaml')
figures = {'images': checked.images, 'errors': checked.count('error'), 'torch imported': 'torch' in sys.modules,
           'peak MB': memory('VmHWM')}
"""
_EPOCH = """
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.manifest.load import load_manifest
images = load_images(load_manifest(path), ['sex'])
import numpy as np
built = time.process_time() - cpu
sampler = images.pool(np.arange(len(images.labels))).sampler(128, 'cpu', 0, True)
sampler.next()
marks, start, cpu = [memory('RssAnon')], time.perf_counter(), time.process_time()
for step in range(sampler.batches_per_pass):
    sampler.next()
    if step % 100 == 99:
        marks.append(memory('RssAnon'))
figures = {'images': len(images.labels), 'decoding seconds': built, 'MB at the start': marks[0],
           'MB at most': max(marks), 'MB of pixels': images.pixels.nbytes / 1e6}
"""


LARGE = {"read the manifest": _LOAD, "`data check`": _CHECK, "decode, and an epoch of batches": _EPOCH}


def alone(code: str, folder: Path, cache: Path) -> dict[str, Any]:
    env = {**os.environ, "FAIRPRUNE_CACHE": str(cache)}
    ran = subprocess.run(
        [sys.executable, "-c", _HEAD + code + _TAIL, str(folder)], env=env, check=True, capture_output=True, text=True
    )
    figures: dict[str, Any] = json.loads(ran.stdout)
    return figures


def table(document: dict[str, Any]) -> str:
    lines = [
        "# The data path\n",
        f"{document['machine']}, {document['threads']} decoding threads, torch {torch.__version__}.\n",
        f"JPEGs decoded and scaled to {SIZE} pixels, images per second and core:\n",
        "| image | Pillow, decoding alone | torchcodec, decoding alone | Pillow, scaled | torchcodec, scaled | "
        "fairprune | of the better |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in document["decoding"]:
        figures = [f"{row[k]:,.0f}" for k in list(row)[1:-1]]
        lines.append(f"| {row['image']} | {' | '.join(figures)} | {row['of the better']:.2f} |")
    got = document["batches"]
    lines += [
        f"\nNormalised batches of {BATCH} at {SIZE} pixels, images per second and core: "
        f"{got['cached']:,.0f} from the cache, "
        f"{got['in memory']:,.0f} from a tensor in memory (ratio {got['ratio']:.2f}).\n",
        "Many small images; seconds are processor time:\n",
        "| what | images | seconds | memory, MB |", "|---|---|---|---|",
    ]  # fmt: skip
    for name in LARGE:
        row = document["large"][name]
        memory = f"{row['peak MB']:,.0f}" if "peak MB" in row else (
            f"{row['MB at the start']:,.0f} at the start of the epoch, {row['MB at most']:,.0f} at most, beside "
            f"{row['MB of pixels']:,.0f} mapped"
        )  # fmt: skip
        seconds = f"{row['seconds']:,.1f}"
        if "decoding seconds" in row:
            seconds = f"{row['decoding seconds']:,.1f} to decode, {row['seconds']:,.1f} for the epoch"
        lines.append(f"| {name} | {row['images']:,} | {seconds} | {memory} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000, help="images of the large data set")
    parser.add_argument("--work", type=Path, help="folder that keeps the large data set [a temporary one]")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "data.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threads = decoding_threads()
    document: dict[str, Any] = {
        "machine": f"{threads} cores ({platform.machine()}), no GPU", "threads": threads,
        "decoding": decoding(threads), "batches": batches(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary) / "large"
        write_large(folder, args.count)
        cache = Path(temporary) / "cache"
        document["large"] = {name: alone(code, folder, cache) for name, code in LARGE.items()}
    text = table(document)
    print(text)
    atomic_write_text(args.out, json.dumps(document, indent=2) + "\n")
    atomic_write_text(args.out.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
