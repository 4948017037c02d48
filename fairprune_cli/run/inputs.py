"""What a run reads, checked before anything is computed: the model, the manifest, the images, the attributes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet, Pool, load_images
from fairprune_cli.data.batches.split import split_rows
from fairprune_cli.data.images.duplicates import parted
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import (
    SPLITS,
    Grouping,
    Manifest,
    Transform,
    find_manifest,
    load_manifest,
    transform_in_manifest,
)
from fairprune_cli.data.manifest.task import Task, outputs_for, with_heads
from fairprune_cli.models.checkpoint.in_memory import InMemory, load_in_memory
from fairprune_cli.models.checkpoint.load import LoadedModel, check_class_names, load_usable
from fairprune_cli.models.inference import refuse_other_channels
from fairprune_cli.models.read_out import ReadOut, attach
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


def open_data(
    settings: Settings, model: Path | None, terminal: Terminal, every: bool = False, split: str | None = None
) -> Data:
    """Find and check the manifest, the attributes, and that no image stands in two splits.

    Args:
        every: take all attributes of the manifest when none is asked for; otherwise none asked for is an error
            unless the manifest has exactly one.
        split: the only one that is going to be looked at; all where None.
    """
    found = find_manifest(None if settings.data is None else Path(settings.data), model, None)
    with terminal.eventual_progress("reading the data") as progress:
        manifest = load_manifest(found, progress, split)
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
    for name in names:
        manifest.grouping(name)  # what is unknown is told before any image is read
    with terminal.progress("reading images", len(manifest)) as display:
        manifest = parted(manifest, split, lambda done, _: display.update(done))
        display.update(display.total)
    for text in manifest.warnings:
        terminal.warn(text, code="manifest")
    return Data(manifest, tuple(manifest.grouping(name) for name in names))


def manifest_if_any(given: str | None, model: Path) -> Manifest | None:
    """The manifest that was given, or one found where manifests are looked for whose images are here; None without."""
    if given is not None or os.environ.get("FAIRPRUNE_DATA"):
        return load_manifest(find_manifest(None if given is None else Path(given), model, None))
    try:
        return load_manifest(find_manifest(None, model, None))  # only with images that are here
    except FairpruneError:
        return None


def transform_if_any(given: str | None, model: Path) -> Transform | None:
    """The input transform of the same manifest, which needs no images; None where there is no manifest."""
    try:
        return transform_in_manifest(find_manifest(None if given is None else Path(given), model, None))
    except FairpruneError:
        if given is not None or os.environ.get("FAIRPRUNE_DATA"):
            raise
        return None


def open_model(
    path: Path, settings: Settings, manifest: Manifest, terminal: Terminal, trust: bool,
    structure: nn.Module | None = None, in_memory: InMemory | None = None,
) -> LoadedModel:  # fmt: skip
    """Load a model, find the scores of the manifest's tasks in what it gives, and hang that read-out on it.

    The model keeps its own input transform where its file names one, and its file's word on where the scores stand
    counts where the manifest says nothing.

    Args:
        structure: a network to build the model's file on, where the settings name no architecture.
        in_memory: the model itself, which `path` is then only the name of.

    Raises:
        FairpruneError: it cannot be loaded, or does not give what the manifest's classes ask for.
    """
    wanted = max((max(task.head.outputs or (len(task.classes) - 1,)) + 1 for task in manifest.tasks), default=None)
    if in_memory is not None:
        loaded = load_in_memory(in_memory, str(path), outputs_for(manifest.tasks))
    else:
        loaded = load_usable(path, settings.arch or structure, trust, settings.weights, wanted)
    for warning in loaded.warnings:
        terminal.warn(warning["text"], code=warning["code"])
    check_class_names(loaded, manifest.classes)
    tasks = with_heads(manifest.tasks, loaded.metadata.get("tasks", ()))
    own = Transform.from_dict(loaded.transform, str(path)) if loaded.transform else manifest.transform
    try:
        read_out = read_tasks(loaded.model, tasks, own.shape, terminal)
    except FairpruneError as error:
        raise FairpruneError(error.what, where=error.where or str(path), hint=error.hint, code=error.code) from error
    loaded.classes = loaded.classes or read_out.entries[0].width
    return loaded


def read_tasks(model: nn.Module, tasks: Sequence[Task], shape: ImageShape, terminal: Terminal) -> ReadOut:
    """Find where a network has the scores of the tasks, say what is noteworthy about it, and hang that read-out on it.

    Raises:
        FairpruneError: as `find_scores`.
    """
    found = find_scores(model, tasks, shape)
    for text in found.notes:
        terminal.note(text)
    for text in found.warnings:
        terminal.warn(text, code="probabilities")
    attach(model, found.read_out)
    return found.read_out


def transform_of(loaded: LoadedModel, manifest: Manifest, terminal: Terminal) -> Transform:
    """The model file's own input transform where it has one, else the manifest's."""
    if not loaded.transform:
        refuse_other_channels(loaded.model, manifest.transform.shape, str(manifest.path))
        return manifest.transform
    own = Transform.from_dict(loaded.transform, str(loaded.source))
    if own != manifest.transform:
        terminal.warn(
            f"the transform of {loaded.source} differs from the manifest's; the model's own is used", code="transform"
        )
    refuse_other_channels(loaded.model, own.shape, str(loaded.source))
    return own


def decoded_images(data: Data, transform: Transform, terminal: Terminal, rows: np.ndarray | None = None) -> ImageSet:
    """Decode the images once into the cache; a second run reads the cache.

    Args:
        rows: int64 [n], the only images that are wanted; all where None.
    """
    with terminal.progress("decoding", len(data.manifest) if rows is None else len(rows)) as display:
        images = load_images(
            data.manifest, data.attributes, transform=transform, rows=rows,
            progress=lambda done, total: display.update(done),
        )  # fmt: skip
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
class PruningRows:
    """Rows of the manifest, int64, ascending: disjoint ones for the two levels, and the split that is audited."""

    lower: np.ndarray
    upper: np.ndarray
    audit: np.ndarray

    def pools(self, images: ImageSet) -> PruningPools:
        """The decoded images of these rows."""
        return PruningPools(images.pool(self.lower), images.pool(self.upper), images.pool(self.audit))


@dataclass(frozen=True)
class PruningPools:
    """The images of `PruningRows`."""

    lower: Pool
    upper: Pool
    audit: Pool


def pruning_rows(data: Data, settings: Settings) -> PruningRows:
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
    rows = PruningRows(np.sort(np.concatenate([data.rows("train"), rest])), upper, data.rows(settings.split))
    for name, found in (("lower", rows.lower), ("upper", rows.upper)):
        if not len(found):
            raise FairpruneError(
                f"no images are left for the {name} part", where=str(data.manifest.path), hint="give larger splits"
            )
    if not len(rows.audit):
        raise FairpruneError(f"the {settings.split} split has no images", where=str(data.manifest.path),
                             hint="give it images, or audit another one with --split")  # fmt: skip
    return rows
