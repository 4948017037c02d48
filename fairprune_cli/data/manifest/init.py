"""A first manifest for data that has none: what `fairprune data init` writes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.build import build_manifest
from fairprune_cli.data.manifest.guess import guess, quoted


def init_manifest(path: Path, *, name: str | None = None, out: Path | None = None) -> str:
    """YAML text of a first manifest for a table, a folder with a table, or class folders.

    Guesses are marked with comments; an attribute with which the manifest would not load is left as a comment
    that says why.

    Args:
        name: of the data set; the name of its folder when None.
        out: file that the text will be written to, which its paths are relative to; when None
            `manifest.yaml` beside the table, or in the folder.

    Raises:
        FairpruneError: nothing is recognised, or the data has faults of its own.
    """
    path = Path(path)
    found = guess(path, None if out is None else Path(out).parent)
    sides = []
    for image in found.sample[:20]:
        with contextlib.suppress(Exception), Image.open(image) as opened:
            sides.append(min(opened.size))
    size = min(max(8 * round(float(np.median(sides)) / 8), 32), 224) if sides else 64
    title = name or (path if path.is_dir() else path.parent).absolute().name or "data"
    head = ["version: 1", f"name: {quoted(title)}", *found.lines]
    tail = [
        "transform:  # must be what the model was trained with",
        f"  size: {size}",
        "  mean: [0.5, 0.5, 0.5]",
        "  std: [0.25, 0.25, 0.25]",
    ]

    def text(attributes: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> str:
        lines = ["attributes:  # the groups to be fair to: keep those that matter"] if attributes else []
        lines += [f"  {quoted(attribute)}: {value}" for attribute, value in attributes]
        return "\n".join([*head, *lines, *notes, *tail]) + "\n"

    where = out or found.base / "manifest.yaml"
    kept, notes = list(found.attributes), []
    if not _loads(text(kept), where) and _loads(text([]), where):
        kept = [item for item in kept if _loads(text([item]), where)]
        notes = [
            f"# left out, as a group has no test image or a value does not fit: {quoted(attribute)}: {value}"
            for attribute, value in found.attributes
            if (attribute, value) not in kept
        ]
    build_manifest(text(kept, notes).encode(), where)
    return text(kept, notes)


def _loads(text: str, where: Path) -> bool:
    try:
        build_manifest(text.encode(), where)
    except FairpruneError:
        return False
    return True
