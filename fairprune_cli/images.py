"""Image files: decoded to RGB as a model needs them, and checked for damage and duplicates."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image

from fairprune_cli.manifest_data import Manifest
from fairprune_cli.spec import SMALLEST_SIDE
from fairprune_cli.tables import SPLITS

Progress = Callable[[int, int], None]
_T = TypeVar("_T")


class ImageFault(Exception):
    """An image that cannot be used: `code` is one of missing, unreadable, truncated, too-small."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def open_image(path: str | Path | IO[bytes], size: int | None = None) -> Image.Image:
    """An image file as 8-bit RGB, turned as its EXIF orientation says; with `size`, size x size pixels.

    Grey, CMYK, palette and 16-bit images are converted; transparency is dropped, as torchvision's image
    folders do. The shorter side is scaled to `size` (bilinear with antialiasing) and the centre is taken.

    Raises:
        ImageFault: missing, not an image, truncated, or smaller than 8 pixels on a side.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if min(image.size) < SMALLEST_SIDE:
                width, height = image.size
                raise ImageFault(
                    "too-small", f"is {width}x{height} pixels; {SMALLEST_SIDE}x{SMALLEST_SIDE} is the least"
                )
            if size is not None:
                # JPEGs far larger than needed are decoded at a fraction, still at least twice the target.
                opened.draft(None, (2 * size, 2 * size))
            image = _upright(image)
            # Grey is scaled before it is tripled.
            return _rgb(_resized(image, size)) if image.mode == "L" else _resized(_rgb(image), size)
    except ImageFault:
        raise
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        cut = any(word in text.lower() for word in ("truncated", "broken", "premature", "end of file", "eof"))
        if cut:
            raise ImageFault("truncated", f"is cut short or damaged: {text}") from error
        if "cannot identify" in text:
            text = "not an image that Pillow knows"
        raise ImageFault("unreadable", f"cannot be decoded: {text}") from error


# How to undo each EXIF orientation (Exif 2.32, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF: the pixels are still good
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ImageFault("unreadable", "has floating-point values; save it with 8 or 16 bits")
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _resized(image: Image.Image, size: int | None) -> Image.Image:
    width, height = image.size
    if size is None or (width, height) == (size, size):
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def decoding_threads() -> int:
    """Threads for decoding: one per core that this process may use, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def chunked(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@dataclass(frozen=True)
class Finding:
    """Something wrong with an image: a code for programs, what it is in words, its file and table row."""

    code: str
    text: str
    file: str
    row: int  # 0 where no table names the image


def check_images(manifest: Manifest, progress: Progress | None = None) -> list[Finding]:
    """Decode every image; report missing, unreadable, truncated and too small ones, and exact duplicates.

    Codes: missing, unreadable, truncated, too-small, duplicate (same bytes within a split),
    duplicate-across-splits, label-conflict (same bytes, another label).

    Args:
        progress: called with (images done, images in all).
    """

    def look(i: int) -> tuple[bytes, Finding | None]:
        path = os.path.join(manifest.root, manifest.files[i])
        try:
            data = Path(path).read_bytes()
            open_image(io.BytesIO(data))
            return hashlib.sha256(data).digest(), None
        except ImageFault as fault:
            return b"", _finding(manifest, i, fault.code, fault.text)
        except FileNotFoundError:
            return b"", _finding(manifest, i, "missing", "does not exist")
        except OSError as error:
            return b"", _finding(manifest, i, "unreadable", f"cannot be read: {error.strerror or error}")

    findings: list[Finding] = []
    first: dict[bytes, int] = {}
    with ThreadPoolExecutor(decoding_threads()) as threads:
        for positions in chunked(range(len(manifest)), 512):
            for i, (digest, finding) in zip(positions, threads.map(look, positions), strict=True):
                if finding is not None:
                    findings.append(finding)
                    continue
                earlier = first.setdefault(digest, i)
                if earlier != i:
                    findings.append(_duplicate(manifest, i, earlier))
            if progress is not None:
                progress(positions[-1] + 1, len(manifest))
    return findings


def _finding(manifest: Manifest, i: int, code: str, text: str) -> Finding:
    return Finding(code, text, manifest.files[i], int(manifest.rows[i]))


def _duplicate(manifest: Manifest, i: int, earlier: int) -> Finding:
    other = f"the same bytes as {manifest.files[earlier]!r} ({manifest.where(earlier)})"
    if manifest.splits[i] != manifest.splits[earlier]:
        splits = f"in {SPLITS[manifest.splits[earlier]]} and in {SPLITS[manifest.splits[i]]}"
        return _finding(manifest, i, "duplicate-across-splits", f"has {other}, {splits}")
    if manifest.labels[i] != manifest.labels[earlier]:
        return _finding(manifest, i, "label-conflict", f"has {other}, with another label")
    return _finding(manifest, i, "duplicate", f"has {other}, in the same split")
