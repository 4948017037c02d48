"""The manifest of a run with the attributes that were asked for; torch is not needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.images.duplicates import parted
from fairprune_cli.data.manifest.attribute_names import refuse_unnamed_attribute
from fairprune_cli.data.manifest.load import SPLITS, Grouping, Manifest, find_manifest, load_manifest
from fairprune_cli.run.options import Settings


@dataclass(frozen=True)
class Data:
    """A manifest, the attributes asked for, as groupings of its images."""

    manifest: Manifest
    groupings: tuple[Grouping, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(g.name for g in self.groupings)

    def with_attributes(self, names: Sequence[str]) -> Data:
        """The same data with the named attributes beside those it has."""
        more = [self.manifest.grouping(name) for name in names if name not in self.attributes]
        return Data(self.manifest, (*self.groupings, *more)) if more else self

    def of_task(self, name: str) -> Data:
        """The same data with one task alone."""
        return Data(self.manifest.of_task(name), self.groupings)

    def rows(self, *splits: str) -> np.ndarray:
        """Rows of the manifest in any of the named splits, int64, ascending."""
        wanted = [SPLITS.index(name) for name in splits]
        return np.flatnonzero(np.isin(self.manifest.splits, wanted))

    def rows_to_audit(self, split: str) -> np.ndarray:
        """`rows` of the split.

        Raises:
            FairpruneError: it has no images.
        """
        rows = self.rows(split)
        if not len(rows):
            raise FairpruneError(f"the {split} split has no images", where=str(self.manifest.path),
                                 hint="give it images, or audit another one with --split")  # fmt: skip
        return rows


def open_data(
    settings: Settings, model: Path | None, terminal: Terminal, every: bool = False, split: str | None = None,
    images: bool = True,
) -> Data:  # fmt: skip
    """Find and check the manifest and the attributes; no image is opened.

    Args:
        every: take all attributes of the manifest when none is asked for; otherwise none asked for is an error
            unless the manifest has exactly one.
        split: the only one that is going to be looked at; all where None.
        images: whether they are going to be looked at; otherwise they need not be there.
    """
    found = find_manifest(None if settings.data is None else Path(settings.data), model, None)
    with terminal.eventual_progress("reading the data") as progress:
        manifest = load_manifest(found, progress, images, split)
    names: Sequence[str] = settings.attr
    if not names:
        names = tuple(manifest.attributes)
        if not every:
            refuse_unnamed_attribute(settings.attr, names)
    repeated = {name for name in names if list(names).count(name) > 1}
    if repeated:
        raise FairpruneError(f"{', '.join(sorted(repeated))} is given twice", where="--attr", hint="give it once")
    data = Data(manifest, tuple(manifest.grouping(name) for name in names))
    for text in manifest.warnings:
        terminal.warn(text, code="manifest")
    return data


def parted_data(data: Data, terminal: Terminal, split: str | None = None) -> Data:
    """The same data after a look into all images: none stands in two splits, unless the manifest allows that.

    It is the last of what is checked, as it reads every image.

    Args:
        split: as in `open_data`.
    """
    with terminal.progress("reading images", len(data.manifest)) as display:
        manifest = parted(data.manifest, split, lambda done, total: display.update(done, total=total))
        display.update(len(data.manifest), total=len(data.manifest))
    for text in manifest.warnings[len(data.manifest.warnings) :]:
        terminal.warn(text, code="manifest")
    return Data(manifest, tuple(manifest.grouping(name) for name in data.attributes))


def absent_combinations(data: Data, split: str) -> list[str]:
    """A sentence per intersection of which some combinations have no image in the split, or in the whole data."""
    found = []
    rows = data.rows(split)
    for grouping in data.groupings:
        names = [data.manifest.attributes[part].groups for part in grouping.name.split("*")]
        seen = {grouping.groups[g] for g in np.unique(grouping.index[rows]) if g >= 0}
        absent = [name for name in map("*".join, itertools.product(*names)) if name not in seen]
        if absent:
            found.append(f"{grouping.name}: no image of {', '.join(absent)}; nothing is said of them.")
    return found
