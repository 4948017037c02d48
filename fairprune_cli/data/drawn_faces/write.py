"""The embedded data set: small procedural faces, drawn from a seed, the same bytes on every machine.

Label: is the face smiling. Most faces show it with the mouth. A minority (men, 15 %) wears a beard that hides
the mouth, so there only the eyelids tell: a smile pushes the lower lid up. In everybody else the lids move
for other reasons and say nothing. Hence two rules have to be learnt, one of them from few pictures, and a
network that runs out of capacity gives up the rare one first: the effect that fair pruning is about.

Every number is an integer and every random number is a raw word of PCG64, whose stream numpy guarantees:
last bits of sines, SIMD code, and builds of zlib cannot change a byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import ExitCode, FairpruneError, Problems
from fairprune_cli.core.files import read_plain, refuse_no_room
from fairprune_cli.core.signals import to_be_undone, uncut
from fairprune_cli.data.drawn_faces.draw import Ints, draw_faces, draw_integers

CLASSES = ("neutral", "smiling")
GENDERS = ("female", "male")
AGE_BINS = (0, 30, 60, 120)
MINORITY_PERCENT = 15
SIZES: Mapping[str, int] = {"train": 5000, "val": 4000, "test": 5000}
NAME = "procedural-faces"

_AGES = ((18, 29), (30, 59), (60, 85))  # years drawn inside each bin
_AGE_PERCENT = (35, 40, 25)


def encode_png(pixels: Ints) -> bytes:
    """PNG file of uint8 [height, width, 3] RGB.

    The image data is stored, not compressed: builds of zlib compress differently, stored blocks are the same
    everywhere, and the grain would hardly compress anyway.
    """
    height, width, _ = pixels.shape
    filtered = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each row opens with filter type 0, none
    filtered[:, 1:] = pixels.reshape(height, 3 * width)
    raw = filtered.tobytes()
    stream = b"\x78\x01"
    for start in range(0, len(raw), 65535):
        block = raw[start : start + 65535]
        last = start + 65535 >= len(raw)
        stream += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    stream += struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _people(n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Labels, genders, ages [n] in random order: exact shares, labels balanced in each gender and age bin."""
    men = (n * MINORITY_PERCENT + 50) // 100
    genders = (np.arange(n) >= n - men).astype(np.int64)
    place = np.concatenate([np.arange(n - men) * 100 // max(n - men, 1), np.arange(men) * 100 // max(men, 1)])
    bins = np.searchsorted(np.cumsum(_AGE_PERCENT), place, side="right")
    low, high = (np.array(edge)[bins] for edge in zip(*_AGES, strict=True))
    ages = low + (draw_integers(rng, n, 0, (1 << 31) - 1)[:, 0] * (high - low + 1) >> 31)
    order = np.argsort(draw_integers(rng, n, 0, (1 << 32) - 2)[:, 0], kind="stable")
    return (np.arange(n) % 2)[order], genders[order], ages[order]


def _draw_into(
    folder: Path, seed: int, sizes: Mapping[str, int], size: int, progress: Callable[[int, int], None] | None
) -> None:
    table = ["file,expression,gender,age,split"]
    total, done = sum(sizes.values()), 0
    for number, split in enumerate(SIZES):
        n = sizes.get(split, 0)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, number])))
        labels, genders, ages = _people(n, rng)
        (folder / "images" / split).mkdir(parents=True)
        for start in range(0, n, 200):  # the step is part of the format: it decides the order of the draws
            part = slice(start, start + 200)
            faces = draw_faces(labels[part], genders[part], ages[part], rng, size)
            for row, face in enumerate(faces, start):
                name = f"{split}/{row:05d}.png"
                (folder / "images" / name).write_bytes(encode_png(face))
                table.append(f"{name},{CLASSES[labels[row]]},{GENDERS[genders[row]]},{ages[row]},{split}")
            done += len(faces)
            if progress is not None:
                progress(done, total)
    (folder / "table.csv").write_bytes(("\n".join(table) + "\n").encode())
    manifest = f"""\
# Procedural faces, drawn by fairprune from seed {seed}. See fairprune_cli/data/drawn_faces/ for what they show.
version: 1
name: {NAME}
table: table.csv
images: images
columns: {{image: file, label: expression, split: split}}
classes: [{", ".join(CLASSES)}]
attributes:
  gender: {{column: gender, values: [{", ".join(GENDERS)}]}}
  age: {{column: age, bins: [{", ".join(map(str, AGE_BINS))}]}}
transform: {{size: {size}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
"""
    (folder / "manifest.yaml").write_bytes(manifest.encode())


_PARTS = ("images", "table.csv", "manifest.yaml")  # the manifest last: who finds it finds everything


def _swap(folder: Path, new: Path, aside: Path) -> None:
    """Move the parts of a new sample into `folder` and those of an older one aside; on failure, all back."""
    aside.mkdir()
    moves = [(folder / part, aside / part) for part in reversed(_PARTS) if (folder / part).exists()]
    moves += [(new / part, folder / part) for part in _PARTS]
    done = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            os.rename(target, source)
        raise


def _refuse(folder: Path, sizes: Mapping[str, int], size: int, force: bool) -> None:
    problems = Problems("embedded data set")
    for split, n in sizes.items():
        if split not in SIZES:
            problems.add(f"unknown split {split!r}; known: {', '.join(SIZES)}")
        elif n < 0:
            problems.add(f"{n} images asked for in split {split!r}; 0 or more can be drawn")
    if sum(max(n, 0) for n in sizes.values()) == 0:
        problems.add("no image asked for in any split")
    if not 16 <= size <= 256:
        problems.add(f"pictures of {size} pixels; 16 to 256 can be drawn")
    problems.raise_if_any()
    if os.path.lexists(folder) and not folder.is_dir():
        raise FairpruneError("is not a folder", where=str(folder), hint="name a new or an empty folder")
    refuse_no_room(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise FairpruneError("the folder is not empty", where=str(folder), hint="name another folder or use --force")
    manifest = folder / "manifest.yaml"
    ours = manifest.is_file() and f"name: {NAME}\n" in read_plain(manifest, "yaml_bytes").decode("utf-8", "replace")
    if not ours and any((folder / part).exists() for part in _PARTS):
        raise FairpruneError(
            "holds other data than an embedded sample, which is never overwritten",
            where=str(folder),
            hint="name another folder",
        )


def write_sample(
    folder: Path,
    *,
    seed: int = 0,
    sizes: Mapping[str, int] = SIZES,
    size: int = 40,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> Path:
    """Draw the data set into `folder`: images/<split>/<number>.png, table.csv, manifest.yaml.

    Args:
        folder: new or empty, unless `force`.
        seed: 0 or more; the same seed gives the same bytes everywhere.
        sizes: images per split (train, val, test); a split left out gets none.
        size: width and height in pixels, 16 to 256.
        progress: called with (images drawn, images in all) every 200 images.
        force: replace a sample that this function wrote before; other files in the folder stay untouched.

    Returns:
        Path of the manifest.

    Raises:
        FairpruneError: impossible sizes, a folder that holds something else, or a disk that cannot be
            written. The folder is then as it was.
    """
    folder = Path(folder)
    try:
        _refuse(folder, sizes, size, force)
        parent = folder.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        with to_be_undone(), contextlib.ExitStack() as stack:
            with uncut():
                scratch = Path(tempfile.mkdtemp(prefix=f".{folder.resolve().name}.", suffix=".tmp", dir=parent))
                stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            new = scratch / "new"
            new.mkdir()
            _draw_into(new, seed, sizes, size, progress)
            with uncut():
                if folder.exists():
                    _swap(folder, new, scratch / "replaced")
                else:
                    os.rename(new, folder)
    except OSError as error:
        raise FairpruneError(
            f"cannot write the embedded data set: {error.strerror or error}",
            where=str(folder),
            hint="check that the folder can be written and that the disk has room (about 120 MB)",
            code=ExitCode.RUNTIME,
        ) from error
    return folder / "manifest.yaml"
