"""What a run reads, checked before anything is computed: the model, the manifest, the images, the attributes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet, Pool, load_images
from fairprune_cli.data.batches.split import split_rows
from fairprune_cli.data.manifest.find import SPLITS, Grouping, Manifest, Transform, find_manifest, load_manifest
from fairprune_cli.data.manifest.task import with_heads
from fairprune_cli.models.checkpoint.load import LoadedModel, check_class_names, load_model
from fairprune_cli.models.read_out import attach
from fairprune_cli.models.score_search import find_scores
from fairprune_cli.run.options import Settings


@dataclass(frozen=True)
class Data:
    """A manifest, the attributes asked for, and (after `decode`) its images."""

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


def open_data(settings: Settings, model: Path | None, terminal: Terminal, every: bool = False) -> Data:
    """Find and check the manifest and the attributes.

    Args:
        every: take all attributes of the manifest when none is asked for; otherwise none asked for is an error
            unless the manifest has exactly one.
    """
    manifest = load_manifest(find_manifest(None if settings.data is None else Path(settings.data), model, None))
    for text in manifest.warnings:
        terminal.warn(text, code="manifest")
    names: Sequence[str] = settings.attr
    if not names:
        names = tuple(manifest.attributes)
        if len(names) > 1 and not every:
            raise FairpruneError(
                "no sensitive attribute was named", where="--attr",
                hint=f"give one or more of: {', '.join(names)}; a*b for an intersection",
            )  # fmt: skip
    repeated = {name for name in names if list(names).count(name) > 1}
    if repeated:
        raise FairpruneError(f"{', '.join(sorted(repeated))} is given twice", where="--attr", hint="give it once")
    return Data(manifest, tuple(manifest.grouping(name) for name in names))


def manifest_if_any(given: str | None, model: Path) -> Manifest | None:
    """The manifest that was given, or one found where manifests are looked for whose images are here; None without."""
    if given is not None or os.environ.get("FAIRPRUNE_DATA"):
        return load_manifest(find_manifest(None if given is None else Path(given), model, None))
    try:
        found = load_manifest(find_manifest(None, model, None))
    except FairpruneError:
        return None
    return found if len(found) and (found.images / found.files[0]).is_file() else None


def open_model(path: Path, settings: Settings, manifest: Manifest, terminal: Terminal, trust: bool) -> LoadedModel:
    """Load a model, find the scores of the manifest's tasks in what it gives, and hang that read-out on it.

    The model keeps its own input transform where its file names one, and its file's word on where the scores stand
    counts where the manifest says nothing.

    Raises:
        FairpruneError: it cannot be loaded, or does not give what the manifest's classes ask for.
    """
    loaded = load_model(path, settings.arch, trust)
    for warning in loaded.warnings:
        terminal.warn(warning["text"], code=warning["code"])
    check_class_names(loaded, manifest.classes)
    tasks = with_heads(manifest.tasks, loaded.metadata.get("tasks", ()))
    size = int((loaded.transform or {}).get("size") or manifest.transform.size)
    try:
        found = find_scores(loaded.model, tasks, size)
    except FairpruneError as error:
        raise FairpruneError(error.what, where=error.where or str(path), hint=error.hint, code=error.code) from error
    for text in found.notes:
        terminal.note(text)
    for text in found.warnings:
        terminal.warn(text, code="probabilities")
    attach(loaded.model, found.read_out)
    return loaded


def transform_of(loaded: LoadedModel, manifest: Manifest, terminal: Terminal) -> Transform:
    """The model file's own input transform where it has one, else the manifest's."""
    if not loaded.transform:
        return manifest.transform
    own = Transform.from_dict(loaded.transform, str(loaded.source))
    if own != manifest.transform:
        terminal.warn(
            f"the transform of {loaded.source} differs from the manifest's; the model's own is used", code="transform"
        )
    return own


def decoded_images(data: Data, transform: Transform, terminal: Terminal) -> ImageSet:
    """Decode the images once into the cache; a second run reads the cache."""
    with terminal.progress("decoding", len(data.manifest.files)) as display:
        images = load_images(
            data.manifest, data.attributes, transform=transform, progress=lambda done, total: display.update(done)
        )
        if display.done < display.total:
            display.update(display.total)  # they were in the cache
    return images


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


@dataclass(frozen=True)
class PruningPools:
    """Disjoint data of the two levels, and the split that is audited."""

    lower: Pool
    upper: Pool
    audit: Pool


def pruning_pools(data: Data, images: ImageSet, settings: Settings) -> PruningPools:
    """Divide the data: weight steps read train and a part of val, mask steps the rest of val, the audit its split.

    The upper part is data on which neither the dense model nor the weight steps were trained: only there is a group's
    accuracy worth what it says. (A dense model whose best epoch was picked on val has seen it that far.)

    Raises:
        FairpruneError: a split has too few images.
    """
    val = data.rows("val")
    if len(val) < 2:
        raise FairpruneError(
            f"the val split has {len(val)} images; mask steps and multipliers need images the weights never see",
            where=str(data.manifest.path), hint="give a val split",
        )  # fmt: skip
    upper, rest = split_rows(data.manifest, val, settings.upper_share, settings.seed, data.groupings)
    lower = np.sort(np.concatenate([data.rows("train"), rest]))
    audit = data.rows(settings.split)
    for name, rows in (("lower", lower), ("upper", upper), (settings.split, audit)):
        if not len(rows):
            raise FairpruneError(
                f"no images are left for the {name} part", where=str(data.manifest.path), hint="give larger splits"
            )
    return PruningPools(images.pool(lower), images.pool(upper), images.pool(audit))
