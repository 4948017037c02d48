"""Images in tar shards beside the same images as files: throughput, and memory at two sizes of the data set.

    python benchmarks/shards.py [--counts 20000 200000] [--rounds 7] [--work DIR] [--out benchmarks/results/shards.json]

Throughput is that of a first run, its cache empty: manifest, hashes and decoding; and of `data check`. Files and shards
take turns, each in a process of its own, and a ratio is the median over the rounds of the files' time over the shards'.
Memory is the largest anonymous resident set (RssAnon) that is seen, fifty times a second, while a command runs: the
pages of the mapped cache, which the system takes back when it needs them, are not in it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image

from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.images.pillow import decoding_threads

SIDE, SIZE, PER_SHARD = 64, 32, 1000
FIRST_RUN = """
import sys, time
from pathlib import Path
import fairprune_cli.data.batches.pool as pool
from fairprune_cli.data.manifest.load import load_manifest
start, cpu = time.perf_counter(), time.process_time()
images = pool.load_images(load_manifest(Path(sys.argv[1])), ['sex'])
print(time.perf_counter() - start, time.process_time() - cpu, images.digest)
"""
CHECK = """
import sys, time
from pathlib import Path
from fairprune_cli.data.checks.check import check_data
start, cpu = time.perf_counter(), time.process_time()
checked = check_data(Path(sys.argv[1]))
print(time.perf_counter() - start, time.process_time() - cpu, checked.images, checked.count('error'))
"""
WORK = {"a first run": FIRST_RUN, "`data check`": CHECK}


def image(n: int) -> bytes:
    """A JPEG that no other number has."""
    rng = np.random.default_rng(n)
    ramp = np.linspace(60, 190, SIDE)[None, :, None] + np.linspace(-40, 40, SIDE)[:, None, None]
    pixels = ramp + rng.integers(-40, 40, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=75)
    return stream.getvalue()


def write(folder: Path, count: int, files: bool) -> None:
    """`count` images in shards and, if asked for, as files, with a Parquet table; nothing when they are there."""
    if (folder / "shards.yaml").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(-(-count // PER_SHARD)):
        with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as archive:
            for n in range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, count)):
                data, member = image(n), tarfile.TarInfo(f"{n:06d}.jpg")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                if files:
                    path = folder / "images" / f"{n // 1000:03d}" / f"{n:06d}.jpg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
    numbers = range(count)
    columns = {
        "y": [("no", "yes")[n % 2] for n in numbers], "sex": ["mf"[n // 2 % 2] for n in numbers],
        "part": [("train", "val", "test")[max(n // 3 % 10 - 7, 0)] for n in numbers],
    }  # fmt: skip
    places = {"shards": [f"{n:06d}" for n in numbers], "files": [f"{n // 1000:03d}/{n:06d}.jpg" for n in numbers]}
    where = {"shards": f"shards: train-{{0000..{-(-count // PER_SHARD) - 1:04d}}}.tar", "files": "images: images"}
    for kind in ("files", "shards") if files else ("shards",):
        parquet.write_table(arrow.table({"file": places[kind], **columns}), folder / f"{kind}.parquet")
        (folder / f"{kind}.yaml").write_text(
            f"version: 1\nname: large\ntable: {kind}.parquet\n{where[kind]}\n"
            "columns: {image: file, label: y, split: part}\nclasses: [no, yes]\nattributes: {sex: {column: sex}}\n"
            f"transform: {{size: {SIZE}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\n"
        )


def timed(code: str, manifest: Path) -> tuple[float, float, str]:
    """Seconds of wall time and of processor time of a piece of work with an empty cache, and what it found."""
    with tempfile.TemporaryDirectory(dir=manifest.parent) as cache:
        env = {**os.environ, "FAIRPRUNE_CACHE": cache}
        ran = subprocess.run(
            [sys.executable, "-c", code, str(manifest)], env=env, check=True, capture_output=True, text=True
        )
    wall, cpu, *found = ran.stdout.split()
    return float(wall), float(cpu), " ".join(found)


def throughput(folder: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for name, code in WORK.items():
        seconds: dict[str, list[tuple[float, float]]] = {"files": [], "shards": []}
        found = set()
        for n in range(rounds + 1):
            for kind in ("files", "shards") if n % 2 else ("shards", "files"):
                *took, what = timed(code, folder / f"{kind}.yaml")
                found.add(what)
                if n:  # the first round fills the system's page cache
                    seconds[kind].append((took[0], took[1]))
        assert len(found) == 1, f"files and shards differ: {found}"
        row: dict[str, Any] = {"work": name, "images": count}
        for at, clock in enumerate(("wall", "processor")):
            pairs = list(zip(seconds["files"], seconds["shards"], strict=True))
            ratios = sorted(files[at] / shards[at] for files, shards in pairs)
            row[clock] = {
                "files": count / statistics.median(one[at] for one in seconds["files"]),
                "shards": count / statistics.median(one[at] for one in seconds["shards"]),
                "ratio": statistics.median(ratios), "ratios": ratios,
            }  # fmt: skip
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    return rows


def watched(arguments: list[str], cache: Path) -> dict[str, Any]:
    """Run a command; its seconds and the most anonymous memory that it had, in MB."""
    env = {**os.environ, "FAIRPRUNE_CACHE": str(cache)}
    start, most = time.perf_counter(), 0
    with subprocess.Popen(
        [sys.executable, "-m", "fairprune_cli", *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as ran:
        while ran.poll() is None:
            lines = Path(f"/proc/{ran.pid}/status").read_text().splitlines()
            most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
            time.sleep(0.02)
        assert ran.stderr is not None
        if ran.returncode:
            raise SystemExit(f"{arguments}: {ran.stderr.read().decode()}")
    return {"MB": most / 1024, "seconds": time.perf_counter() - start}


def memory(folder: Path, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        data = ["--data", str(folder / "shards.yaml")]
        cache = Path(temporary) / "cache"
        commands = {
            "`data stats`, which reads the shards": ["data", "stats", *data],
            "`data check`": ["data", "check", *data, "--quiet"],
            "`train`": [
                "train", "--arch", "resnet10-w16", "--epochs", "1", "--out", f"{temporary}/m.pt", *data, "--quiet",
            ],
        }  # fmt: skip
        found: dict[str, Any] = {"images": count}
        for name, arguments in commands.items():
            found[name] = watched(arguments, cache)
            print(count, name, found[name], file=sys.stderr, flush=True)
        return found


def table(document: dict[str, Any]) -> str:
    lines = [
        "# Images in shards\n",
        f"{document['machine']}; JPEGs of {SIDE} x {SIDE} pixels, {PER_SHARD:,} in a shard, decoded to {SIZE}.\n",
        "Images per second, and the ratio of shards to files (median of the rounds, least and most in brackets):\n",
        "| work | images | files | shards | ratio, wall time | ratio, processor time |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in document["throughput"]:
        ratios = [
            f"{row[clock]['ratio']:.2f} ({row[clock]['ratios'][0]:.2f} to {row[clock]['ratios'][-1]:.2f})"
            for clock in ("wall", "processor")
        ]
        rates = f"{row['wall']['files']:,.0f} | {row['wall']['shards']:,.0f}"
        lines.append(f"| {row['work']} | {row['images']:,} | {rates} | {' | '.join(ratios)} |")
    columns = document["memory"]
    sizes = [f"{one['images']:,} images" for one in columns]
    lines += [
        "\nAnonymous memory at most, MB (seconds in brackets):\n",
        f"| command | {' | '.join(sizes)} | bytes for each further image |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name in list(columns[0])[1:]:
        cells = [f"{one[name]['MB']:,.0f} ({one[name]['seconds']:,.0f})" for one in columns]
        images = columns[-1]["images"] - columns[0]["images"]
        more = (columns[-1][name]["MB"] - columns[0][name]["MB"]) * 2**20 / images if images else 0
        lines.append(f"| {name} | {' | '.join(cells)} | {more:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 200_000], help="images of the data sets")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, help="folder that keeps the data sets [a temporary one]")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "shards.json")
    args = parser.parse_args()
    temporary = Path(tempfile.mkdtemp())
    try:
        folders = {count: (args.work or temporary) / str(count) for count in args.counts}
        for count, folder in folders.items():
            write(folder, count, files=count == args.counts[0])
        threads = decoding_threads()
        document = {
            "machine": f"{threads} cores ({platform.machine()}), {threads} decoding threads",
            "throughput": throughput(folders[args.counts[0]], args.counts[0], args.rounds),
            "memory": [memory(folder, count) for count, folder in folders.items()],
        }
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    text = table(document)
    print(text)
    atomic_write_text(args.out, json.dumps(document, indent=2) + "\n")
    atomic_write_text(args.out.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
