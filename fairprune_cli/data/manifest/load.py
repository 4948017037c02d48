"""The manifest: which images there are, their labels, groups and splits; every mistake in it found at once.

A manifest is a YAML file beside the data. `load_manifest` checks it and the table or folder it names in full,
except for the images' content, which `check_images` looks at. Nothing here needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.parallel import Progress
from fairprune_cli.data.manifest.build import build_manifest, examine
from fairprune_cli.data.manifest.columns import AttributeSpec
from fairprune_cli.data.manifest.init import init_manifest
from fairprune_cli.data.manifest.manifest import Grouping, Manifest
from fairprune_cli.data.manifest.own_words import TABLES, check_outline, how_to_mend
from fairprune_cli.data.manifest.spec import transform_in
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.data.tables.table import SPLITS

__all__ = [
    "SPLITS",
    "AttributeSpec",
    "Grouping",
    "Manifest",
    "Transform",
    "check_manifest",
    "examine_manifest",
    "find_manifest",
    "init_manifest",
    "load_manifest",
    "transform_in_manifest",
]


def load_manifest(
    path: Path, progress: Progress | None = None, images: bool = True, split: str | None = None
) -> Manifest:
    """Read and check a manifest, its table or folder, and that every image exists inside the image root.

    Args:
        images: False where none is going to be looked at: those that a table names need not be there.
        split: the only one whose images are going to be opened: those of others may be missing, which is a warning,
            unless the images' content decides who is in which split.
        progress: called with (shards read, shards in all) where the images lie in shards, or with (0, images in all)
            now and then while files are read of which copies have to stay in one split.

    Raises:
        FairpruneError: lists every problem found, each with its line or row.
    """
    return build_manifest(*_read(path), progress, images, split)


def examine_manifest(path: Path, problems: Problems, progress: Progress | None = None) -> Manifest | None:
    """As `load_manifest`, but what is wrong goes to `problems`, and what can be read is returned all the same.

    Raises:
        FairpruneError: the file itself cannot be read.
    """
    data, path = _read(path)
    return examine(data, path, problems, progress)


def check_manifest(path: Path, attributes: Sequence[str] = (), every: bool = True) -> None:
    """Look at a manifest without reading a table or an image: see `own_words.check_outline`."""
    check_outline(*_read(path), attributes, every)


def transform_in_manifest(path: Path) -> Transform | None:
    """The input transform that a manifest names, whatever else it says and whether its table and images are here.

    Raises:
        FairpruneError: the file cannot be read, or its transform is at fault.
    """
    data, path = _read(path)
    problems = Problems(str(path))
    transform = transform_in(data.decode("utf-8-sig", "replace"), problems)
    problems.raise_if_any()
    return transform


def _read(path: Path) -> tuple[bytes, Path]:
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.yaml"
    try:
        return read_plain(path, "yaml_bytes"), path
    except FairpruneError as error:  # it is too large, as tables are
        error.hint = how_to_mend(path) if path.suffix.lower() in TABLES else error.hint
        raise
    except OSError as error:
        raise FairpruneError(
            f"the manifest cannot be read: {error.strerror or error}",
            where=str(path),
            hint="write one with `fairprune data init PATH`",
        ) from error


def find_manifest(explicit: Path | None, model: Path | None, configured: Path | None) -> Path:
    """The manifest to use: `explicit` (--data), else FAIRPRUNE_DATA, else `configured` (fairprune.yaml), else
    manifest.yaml beside the model, else manifest.yaml in the working directory. A folder stands for the
    manifest.yaml in it.

    Raises:
        FairpruneError: one of the first three names a file that is not there, or nothing is found.
    """
    variable = os.environ.get("FAIRPRUNE_DATA")
    named = [
        ("--data", explicit),
        ("FAIRPRUNE_DATA", Path(variable) if variable else None),
        ("`data:` in fairprune.yaml", configured),
    ]
    for source, path in named:
        if path is not None:
            found = path / "manifest.yaml" if path.is_dir() else path
            if not found.exists():
                raise FairpruneError(
                    "no such manifest", where=f"{source} = {path}",
                    hint="give the path of one, or write it with `fairprune data init PATH`",
                )  # fmt: skip
            return found
    beside = None
    if model is not None:
        beside = (model if model.is_dir() else model.parent) / "manifest.yaml"
    here = Path("manifest.yaml")
    for candidate in (beside, here):
        if candidate is not None and candidate.is_file():
            return candidate
    raise FairpruneError(
        [
            "no manifest found; looked at",
            "  1. the environment variable FAIRPRUNE_DATA (not set)",
            "  2. `data:` in fairprune.yaml of the working directory (not given)",
            f"  3. beside the model: {beside or 'no model is named'}",
            f"  4. the working directory: {here.absolute()}",
        ],
        hint="give --data MANIFEST, or write one with `fairprune data init PATH`",
    )
