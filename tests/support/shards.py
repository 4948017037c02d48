"""Tar shards as WebDataset writes them, beside the same images as files."""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.datasets import TRANSFORM, draw

COUNT, PER_SHARD = 12, 4
COLUMNS = "columns: {image: file, label: y, split: part}\nclasses: [a, b]\nattributes: {sex: {column: sex}}\n"
PATTERN = "train-{0000..0002}.tar"


def write_shard(path: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    """A shard with these files, each a name and its content, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def images(folder: Path, count: int = COUNT) -> list[tuple[str, bytes]]:
    """Drawn images, written as PNG files as well: names and bytes."""
    names = [f"faces/{n:05d}.png" for n in range(count)]
    for n, name in enumerate(names):
        draw(folder / name, n)
    return [(name, (folder / name).read_bytes()) for name in names]


def write_manifest(folder: Path, cells: Sequence[str], where: str, name: str = "manifest.yaml") -> Path:
    """A manifest and its CSV table, whose image column has these cells; `where` are lines that say where images lie."""
    rows = [
        f"{cell},{'ab'[n % 2]},{'mf'[n // 2 % 2]},{('train', 'val', 'test')[n // 4 % 3]}"
        for n, cell in enumerate(cells)
    ]
    path = folder / name
    path.with_suffix(".csv").write_text("\n".join(["file,y,sex,part", *rows]) + "\n")
    path.write_text(f"version: 1\nname: faces\ntable: {path.stem}.csv\n{where}\n{COLUMNS}{TRANSFORM}")
    return path


def sharded(folder: Path, cells: Sequence[str] | None = None, pattern: str = PATTERN) -> Path:
    """A manifest of 12 images in three shards, which are beside it as files too.

    Args:
        cells: of the table's image column; the images' names where None.
    """
    files = images(folder)
    for shard in range(COUNT // PER_SHARD):
        write_shard(folder / f"train-{shard:04d}.tar", files[shard * PER_SHARD : (shard + 1) * PER_SHARD])
    return write_manifest(folder, cells or [name for name, _ in files], f'shards: "{pattern}"')


def moved_into_shards(manifest: Path, shards: int = 2) -> Path:
    """Move images that are files beside the manifest into shards, from the last to the first; the manifest's path."""
    text, folder = manifest.read_text(), manifest.parent
    found = re.search(r"^table: (.+)$", text, re.M)
    assert found is not None
    with open(folder / found[1], newline="") as table:
        names = [row["file"] for row in csv.DictReader(table)][::-1]
    for shard in range(shards):
        write_shard(folder / f"s-{shard}.tar", [(name, (folder / name).read_bytes()) for name in names[shard::shards]])
    for name in names:
        (folder / name).unlink()
    manifest.write_text(text.replace(found[0], f"{found[0]}\nshards: s-{{0..{shards - 1}}}.tar"))
    return manifest
