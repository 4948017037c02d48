"""From a plan of a batch to the batch: its images read, changed and normalised, the rest sent along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host, sent_together
from fairprune_cli.data.batches.batch import Batch, Known
from fairprune_cli.data.batches.pixels import Augmentation, Normaliser, gathered
from fairprune_cli.data.batches.uploads import Uploads
from fairprune_cli.data.images.mapped import refuse_cut_short
from fairprune_cli.data.manifest.load import Transform

Device = torch.device | str


class Decoded(Protocol):
    """The N images of a manifest, as an `ImageSet` has them."""

    @property
    def pixels(self) -> np.ndarray: ...
    @property
    def places(self) -> np.ndarray | None: ...
    @property
    def transform(self) -> Transform: ...
    def resident(self, device: torch.device) -> Tensor | None: ...


class Chosen(Protocol):
    """The n images that batches are made of, as a `Pool` has them."""

    rows: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int: ...
    @property
    def images(self) -> Decoded: ...
    @property
    def identity(self) -> int: ...


class BatchPlan(NamedTuple):
    """Which images a batch is to have, and how."""

    positions: np.ndarray  # int64 [B], 0..n-1
    change: Augmentation | None = None
    weights: np.ndarray | None = None  # float32 [B]


class Begun(NamedTuple):
    """A batch whose images are on their way to the device, where they take a way."""

    plan: BatchPlan
    rows: np.ndarray  # int64 [B], in the manifest
    places: np.ndarray  # int64 [B], among the decoded images
    mine: slice  # which of its images are formed
    upload: Future[Any] | None


class Former:
    """Makes batches of what was planned.

    On the CPU images are gathered from the memory map. On a device they are there already, as uint8, where they fit;
    else they are uploaded batch by batch. Everything else of a batch goes over in one copy.
    """

    def __init__(self, pool: Chosen, device: torch.device, channels_last: bool) -> None:
        self.pool = pool
        self.device = device
        self.share: Callable[[int], slice] | None = None  # which of a batch's images to form; all where None
        self._pixels = np.asarray(pool.images.pixels)  # a plain view: a memory map is slower to index
        self._resident = pool.images.resident(device)
        self._normalise = Normaliser(pool.images.transform, device, channels_last=channels_last)
        there = on_host(device) or self._resident is not None
        self._uploads = None if there else Uploads(self._pixels, device)

    @property
    def uploads(self) -> bool:
        """Whether images take their time to the device, so that it pays to begin a batch ahead."""
        return self._uploads is not None

    def begin(self, plan: BatchPlan) -> Begun:
        """Set out for the images of a batch."""
        rows, places = self.pool.rows[plan.positions], self.pool.places[plan.positions]
        mine = slice(None) if self.share is None else self.share(len(rows))
        return Begun(plan, rows, places, mine, None if self._uploads is None else self._uploads.start(places[mine]))

    def finish(self, begun: Begun) -> Batch:
        """The batch, as soon as its images have been read."""
        plan, rows, places, mine, _ = begun
        labels, groups = self.pool.labels[plan.positions], self.pool.groups[plan.positions]
        table = [labels, groups, rows, *([] if plan.weights is None else [plan.weights])]
        change = [] if plan.change is None else plan.change.part(mine).sources(self.pool.images.transform.shape)
        # Where all images are decoded their places are their rows, and go over once.
        apart = [] if self.pool.images.places is None else [places]
        there = sent_together([*table, *apart, *change], self.device)
        located = there[len(table)] if apart else there[2]
        raw = self._raw(begun, located[mine], there[len(table) + len(apart) :])
        return Batch(
            self._normalise(raw), there[0], there[1], there[2],
            None if plan.weights is None else there[3], Known(labels, groups, plan.weights),
        )  # fmt: skip

    def _raw(self, begun: Begun, places: Tensor, change: Sequence[Tensor]) -> Tensor:
        """The images at these places among the decoded ones, changed, uint8 [b, C, H, W] on the device."""
        if self._resident is not None:
            return _picked(self._resident, places, change)
        if self._uploads is not None and begun.upload is not None:
            raw = self._uploads.arrived(begun.upload)
            return _picked(raw, torch.arange(len(raw), device=self.device), change) if change else raw
        refuse_cut_short(self._pixels)
        raw = torch.from_numpy(np.take(self._pixels, begun.places[begun.mine], axis=0))
        return gathered(raw, *change) if change else raw

    def each(self, plans: Iterable[BatchPlan]) -> Iterator[Batch]:
        """The batches in the order of their plans, one always begun ahead of the one that is handed out."""
        before: Begun | None = None
        for plan in plans:
            begun = self.begin(plan)
            if before is not None:
                yield self.finish(before)
            before = begun
        if before is not None:
            yield self.finish(before)


def _picked(images: Tensor, rows: Tensor, change: Sequence[Tensor]) -> Tensor:
    """Some of the images, their rows and columns (if any: y [b, H], x [b, W], int64) taken from others; quick on GPUs.

    The result has its channels last in memory where `images` have.
    """
    lines = images.permute(0, 2, 3, 1)
    if change:
        y, x = change
        picked = lines[rows[:, None, None], y[:, :, None], x[:, None, :]]
    else:
        picked = lines.index_select(0, rows)
    return picked.permute(0, 3, 1, 2)
