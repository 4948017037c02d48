"""A picture of a data set: some images of each group and label, in one file (PNG, SVG or HTML)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_bytes
from fairprune_cli.data.images.pillow import ImageFault, data_uri, open_image
from fairprune_cli.data.images.stored import stored_image
from fairprune_cli.data.manifest.manifest import Manifest
from fairprune_cli.data.tables.partition import random_keys

KINDS = (".png", ".svg", ".html")
SIDE, GAP, EACH = 56, 4, 6
_LINE, _LEFT, _MARGIN, _FONT = 20, 150, 16, 13
_MOST_GROUPS = 40
_INK, _SOFT, _PAPER, _BLANK = "#1a1a1a", "#6b6b6b", "#ffffff", "#eeeeee"
Mark = tuple[float, float, str, str]  # x, y of the top, text, colour


@dataclass(frozen=True)
class SampleGallery:
    """Texts and thumbnails with their places, in pixels; `faulty` are the files that could not be decoded."""

    width: int
    height: int
    texts: tuple[Mark, ...]
    images: tuple[tuple[int, int, Image.Image | None], ...]
    faulty: tuple[str, ...]


def draw(manifest: Manifest, split: str, attributes: Sequence[str] | None = None) -> SampleGallery:
    """Up to six images of every combination of group and label in a split, drawn by name from the seed 0.

    They are shown as the model sees them: grey where it sees grey, in the proportions of its input.

    Args:
        attributes: names for `Manifest.grouping`; all attributes when None. Without any, one row shows each label.
    """
    rows = manifest.rows_of(split)
    keys = random_keys([manifest.files[row] for row in rows], 0)
    rows = rows[np.argsort(keys, kind="stable")]
    names = list(manifest.attributes) if attributes is None else list(attributes)
    blocks: list[tuple[str, tuple[str, ...], np.ndarray]] = []
    for name in names:
        grouping = manifest.grouping(name)
        blocks.append((grouping.name, grouping.groups[:_MOST_GROUPS], grouping.index[rows]))
    if not blocks:
        blocks.append(("all", ("all",), np.zeros(len(rows), dtype=np.int64)))
    texts: list[Mark] = [(_MARGIN, _MARGIN, f"{manifest.name}: {split}, {len(rows):,} images", _INK)]
    images: list[tuple[int, int, Image.Image | None]] = []
    faulty: list[str] = []
    cell = EACH * (SIDE + GAP) + 3 * GAP
    y = _MARGIN + 2 * _LINE
    for title, groups, index in blocks:
        texts.append((_MARGIN, y, title, _INK))
        texts += [(_MARGIN + _LEFT + k * cell, y, _short(name, 44), _INK) for k, name in enumerate(manifest.classes)]
        y += _LINE + GAP
        for g, group in enumerate(groups):
            texts.append((_MARGIN, y + SIDE // 2 - _FONT, _short(group, 20), _INK))
            for k in range(len(manifest.classes)):
                held = rows[(index == g) & (manifest.labels[rows] == k)]
                x = _MARGIN + _LEFT + k * cell
                texts.append((x, y + SIDE + 1, f"{len(held):,} images", _SOFT))
                for n, row in enumerate(held[:EACH]):
                    images.append((x + n * (SIDE + GAP), y, _thumbnail(manifest, int(row), faulty)))
            y += SIDE + _LINE + GAP
        y += _LINE
    width = 2 * _MARGIN + _LEFT + cell * len(manifest.classes)
    return SampleGallery(width, y, tuple(texts), tuple(images), tuple(faulty))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _thumbnail(manifest: Manifest, row: int, faulty: list[str]) -> Image.Image | None:
    try:
        return open_image(io.BytesIO(stored_image(manifest, row)), manifest.transform.shape.within(SIDE))
    except ImageFault:
        faulty.append(manifest.files[row])
        return None


def write_gallery(gallery: SampleGallery, path: Path, title: str, force: bool = False) -> None:
    """Write the picture in the kind that the file's ending names.

    Raises:
        FairpruneError: another ending, or the file is there already.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise FairpruneError(
            f"{path.name!r} names no kind of picture", where="--out", hint=f"one of {', '.join(KINDS)}"
        )
    if path.exists() and not force:
        raise FairpruneError("already exists", where=str(path), hint="--force overwrites it")
    if kind == ".png":
        data = _png(gallery)
    else:
        data = (_svg(gallery) if kind == ".svg" else _html(gallery, title)).encode("utf-8")
    atomic_write_bytes(path, data)


def _png(gallery: SampleGallery) -> bytes:
    sheet = Image.new("RGB", (gallery.width, gallery.height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT)
    for x, y, text, colour in gallery.texts:
        pen.text((x, y), text, fill=colour, font=font)
    for left, top, image in gallery.images:
        sheet.paste(image if image is not None else Image.new("RGB", (SIDE, SIDE), _BLANK), (left, top))
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _svg(gallery: SampleGallery) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{gallery.width}" height="{gallery.height}" '
        f'viewBox="0 0 {gallery.width} {gallery.height}" font-family="sans-serif" font-size="{_FONT}">',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
    ]
    for x, y, text, colour in gallery.texts:
        parts.append(f'<text x="{x:g}" y="{y + _FONT:g}" fill="{colour}">{escape(_printable(text))}</text>')
    for left, top, image in gallery.images:
        width, height = (SIDE, SIDE) if image is None else image.size
        place = f'x="{left}" y="{top}" width="{width}" height="{height}"'
        if image is None:
            parts.append(f'<rect {place} fill="{_BLANK}"/>')
            continue
        parts.append(f'<image {place} href="{data_uri(image)}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _printable(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(mark if mark.isprintable() else "�" for mark in text)


def _html(gallery: SampleGallery, title: str) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{_svg(gallery)}</body>\n</html>\n'
