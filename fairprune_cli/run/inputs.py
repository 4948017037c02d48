"""What a run reads, checked before anything is computed: the model, the manifest, the images, the attributes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fairprune_cli.core.device import choose_device
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet, Pool, load_images
from fairprune_cli.data.batches.split import split_rows
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import (
    Manifest,
    Transform,
    find_manifest,
    load_manifest,
    transform_in_manifest,
)
from fairprune_cli.data.manifest.task import Task, outputs_for, with_heads
from fairprune_cli.models.checkpoint.class_names import check_class_names
from fairprune_cli.models.checkpoint.in_memory import InMemory, load_in_memory
from fairprune_cli.models.checkpoint.load import LoadedModel, load_usable
from fairprune_cli.models.graphs.load import is_graph, load_graph
from fairprune_cli.models.graphs.network import GraphNetwork
from fairprune_cli.models.graphs.onnx_file import SUFFIX as ONNX
from fairprune_cli.models.inference import refuse_other_channels
from fairprune_cli.models.read_out import ReadOut, attach
from fairprune_cli.models.score_search import find_scores
from fairprune_cli.models.soundness import refuse_without_scores
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Settings


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
    structure: nn.Module | None = None, graphs: bool = False, in_memory: InMemory | None = None,
) -> LoadedModel:  # fmt: skip
    """Load a model, find the scores of the manifest's tasks in what it gives, and hang that read-out on it.

    The model keeps its own input transform where its file names one, and its file's word on where the scores stand
    counts where the manifest says nothing.

    Args:
        structure: a network to build the model's file on, where the settings name no architecture.
        graphs: whether a graph will do, which is run as it is: an ONNX file, or, unless the settings name an
            architecture to load its weights into, a program of torch.export.
        in_memory: the model itself, which `path` is then only the name of.

    Raises:
        FairpruneError: it cannot be loaded, or does not give what the manifest's classes ask for.
    """
    wanted = max((max(task.head.outputs or (len(task.classes) - 1,)) + 1 for task in manifest.tasks), default=None)
    if in_memory is not None:
        loaded = load_in_memory(in_memory, str(path), outputs_for(manifest.tasks))
    elif graphs and is_graph(path) and (settings.arch is None or path.suffix.lower() == ONNX):
        loaded = load_graph(path, choose_device(settings.device))
    else:
        loaded = load_usable(path, settings.arch or structure, trust, settings.weights, wanted)
    for warning in loaded.warnings:
        terminal.warn(warning["text"], code=warning["code"])
    told = loaded.metadata.get("tasks", ())
    tasks = with_heads(manifest.tasks, told)
    from_manifest = settings.classes_from == "manifest"
    for text in check_class_names(loaded.class_names, told, tasks, str(path), from_manifest):
        terminal.warn(text, code="classes")
    own = Transform.from_dict(loaded.transform, str(path)) if loaded.transform else manifest.transform
    if isinstance(loaded.model, GraphNetwork):
        loaded.model.accept(own, str(path if loaded.transform else manifest.path))
        refuse_without_scores(loaded.model, own.shape, str(path))  # what other files hold is looked at as it is read
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
    wanted = len(data.manifest) if rows is None else len(rows)
    with terminal.progress("decoding", wanted) as display:
        images = load_images(
            data.manifest, data.attributes, transform=transform, rows=rows,
            progress=lambda done, total: display.update(done),
        )  # fmt: skip
        if display.done < wanted:
            display.update(wanted)  # they were in the cache
    return images


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
    audit = data.rows_to_audit(settings.split)
    upper, rest = split_rows(data.manifest, val, settings.upper_share, settings.seed, data.groupings)
    rows = PruningRows(np.sort(np.concatenate([data.rows("train"), rest])), upper, audit)
    for name, found in (("lower", rows.lower), ("upper", rows.upper)):
        if not len(found):
            raise FairpruneError(
                f"no images are left for the {name} part", where=str(data.manifest.path), hint="give larger splits"
            )
    return rows
