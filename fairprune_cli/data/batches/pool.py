"""Images as batches: decoded once into a cache, then drawn, augmented and normalised a batch at a time.

manifest -> `load_images` -> `ImageSet.pool(rows)` -> `Pool.batches` (in order) or `Pool.sampler` (endless).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pixels import Augmentation, normaliser
from fairprune_cli.data.batches.shuffles import Shuffles, checksum, restoring
from fairprune_cli.data.images.cache import Cache
from fairprune_cli.data.images.pillow import Progress
from fairprune_cli.data.manifest.find import Grouping, Manifest, Transform

RESIDENT_SHARE = 0.4  # of a GPU's free memory that decoded images may take
_UPLOAD = 4096

Device = torch.device | str


def fits_on_device(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images may live on the device: a GPU that has them free, and as much again and more."""
    if device.type != "cuda":
        return False  # in main memory they are already
    free, _ = torch.cuda.mem_get_info(device)
    return size <= RESIDENT_SHARE * free


class Known(NamedTuple):
    """What the host knows of a batch without asking the device for it."""

    labels: np.ndarray  # int64 [B]
    groups: np.ndarray  # int64 [B, A], -1 = in no group
    weights: np.ndarray | None = None  # float32 [B], what an image stands for; 1 each where None


class Batch(NamedTuple):
    """B images as the model sees them, S pixels a side."""

    images: Tensor  # float32 [B, 3, S, S], normalised
    labels: Tensor  # int64 [B]
    groups: Tensor  # int64 [B, A], -1 = in no group
    rows: Tensor  # int64 [B], position in the manifest
    weights: Tensor | None = None  # float32 [B], what an image stands for; 1 each where None
    known: Known | None = None  # the same on the host, where it came from there


def known_of(batch: Any) -> Known:
    """Labels, groups and weights of a batch on the host; asks the device where the batch does not have them there."""
    known: Known | None = getattr(batch, "known", None)
    if known is not None:
        return known
    weights: Tensor | None = getattr(batch, "weights", None)
    return Known(
        batch.labels.cpu().numpy(), batch.groups.cpu().numpy(), None if weights is None else weights.cpu().numpy()
    )


@dataclass(frozen=True, eq=False)
class ImageSet:
    """All N images of a manifest, decoded."""

    pixels: np.ndarray  # uint8 [N, 3, S, S], a read-only memory map
    labels: np.ndarray  # int64 [N]
    groups: np.ndarray  # int64 [N, A], a column per grouping
    groupings: tuple[Grouping, ...]
    manifest: Manifest
    transform: Transform
    digest: str = ""  # of all pixels; "" where they do not come from a cache
    _resident: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    def resident(self, device: torch.device) -> Tensor | None:
        """The pixels on the device, uint8 [N, 3, S, S], moved there once; None where they do not fit beside a model."""
        found = self._resident.get(device)
        if found is None and fits_on_device(device, self.pixels.nbytes):
            found = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(self.pixels), _UPLOAD):
                part = np.array(self.pixels[start : start + _UPLOAD])
                found[start : start + len(part)] = torch.from_numpy(part).to(device)
            self._resident[device] = found
        return found

    def regrouped(self, groupings: Sequence[Grouping]) -> ImageSet:
        """The same images with a column of groups per grouping."""
        return replace(self, groups=_columns(groupings, len(self.manifest)), groupings=tuple(groupings))

    def pool(self, rows: np.ndarray) -> Pool:
        """The images at these positions of the manifest (int64 [n]), in this order."""
        return Pool(self, rows)


def load_images(
    manifest: Manifest,
    attributes: Sequence[str],
    *,
    transform: Transform | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Decode the images, or take them from the cache where an earlier call left them.

    Args:
        attributes: names for `manifest.grouping`, intersections such as `gender*age` included.
        transform: instead of the manifest's, as that of the model.
        progress: called with (images done, images in all) while decoding.

    Raises:
        FairpruneError: unknown attributes, or images that cannot be decoded (all of them, with file and row);
            exit code 3 when the cache cannot be written.
    """
    transform = transform or manifest.transform
    groupings = tuple(manifest.grouping(name) for name in attributes)
    groups = _columns(groupings, len(manifest))
    cache = Cache(manifest, transform.size)
    pixels = cache.pixels(progress)
    return ImageSet(pixels, manifest.labels, groups, groupings, manifest, transform, cache.digest)


def _columns(groupings: Sequence[Grouping], count: int) -> np.ndarray:
    """Groups of all images, int64 [count, A], a column per grouping."""
    columns = [grouping.index for grouping in groupings]
    return np.stack(columns, axis=1) if columns else np.empty((count, 0), dtype=np.int64)


class Pool:
    """Some images of an `ImageSet`: labels int64 [n], groups int64 [n, A], rows int64 [n]."""

    def __init__(self, images: ImageSet, rows: np.ndarray) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(images.labels)):
            raise IndexError(f"rows must lie in 0..{len(images.labels) - 1}")
        self.images = images
        self.rows = rows
        self.labels = images.labels[rows]
        self.groups = images.groups[rows]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def identity(self) -> int:
        """A checksum of which images these are."""
        return checksum(self.rows)

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        return self.images.groupings

    def batches(
        self, size: int, device: Device, *, channels_last: bool = False, turn: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """All images once, in order, `size` at a time; the last batch may be smaller.

        Args:
            turn: (r, n) gives the batches r, r + n, r + 2 n, ... only, from 0.
        """
        form = Former(self, torch.device(device), channels_last)
        for start in range(turn[0] * size, len(self), turn[1] * size):
            yield form(np.arange(start, min(start + size, len(self))))

    def sampler(
        self,
        size: int,
        device: Device,
        seed: int,
        augment: bool,
        weights: np.ndarray | None = None,
        *,
        channels_last: bool = False,
    ) -> Sampler:
        """Endless batches in random order; see `Sampler`."""
        return Sampler(self, size, device, seed, augment, weights, channels_last=channels_last)


class Former:
    """Makes a `Batch` of positions in a pool: uint8 to the device, augmented there, then normalised."""

    def __init__(self, pool: Pool, device: torch.device, channels_last: bool) -> None:
        self.pool = pool
        self.device = device
        self.pixels = np.asarray(pool.images.pixels)  # a plain view: a memory map is slower to index
        self.resident = pool.images.resident(device)
        self.normalise = normaliser(pool.images.transform, device)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.share: Callable[[int], slice] | None = None  # which of a batch's images to form; all where None

    def __call__(self, positions: np.ndarray, change: Augmentation | None = None) -> Batch:
        rows = self.pool.rows[positions]
        at = self._move(rows)
        mine = slice(None) if self.share is None else self.share(len(rows))
        raw = self._move(np.take(self.pixels, rows[mine], axis=0)) if self.resident is None else self.resident[at[mine]]
        if change is not None:
            raw = Augmentation(*(part[mine] for part in change)).apply(raw)
        return Batch(
            self.normalise(raw).contiguous(memory_format=self.layout),
            self._move(self.pool.labels[positions]),
            self._move(self.pool.groups[positions]),
            at,
        )

    def _move(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


class Sampler:
    """Endless batches from a pool.

    Without weights: shuffled passes, each image once a pass; what does not fill a batch at the end of a pass
    is left out, unless the pool is smaller than a batch. With weights: independent draws with replacement, an
    image's chance proportional to its weight. Order and augmentation come from one generator, so the
    sequence depends on `seed` alone, and a restored sampler continues it exactly.

    Args:
        size: images per batch.
        seed: of the sampler's own generator.
        augment: random flips and shifts.
        weights: float [n], at least 0, in the order of the pool.

    Raises:
        FairpruneError: an empty pool.
        ValueError: weights of a wrong shape, negative, not finite or all zero; size below 1.
    """

    def __init__(
        self,
        pool: Pool,
        size: int,
        device: Device,
        seed: int,
        augment: bool,
        weights: np.ndarray | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        if not len(pool):
            raise FairpruneError("there are no images to draw from", hint="see `fairprune data stats`")
        if size < 1:
            raise ValueError("a batch has at least one image")
        self.pool = pool
        self.size = size if weights is not None else min(size, len(pool))
        self.augment = augment
        self._form = Former(pool, torch.device(device), channels_last)
        self._generator = torch.Generator().manual_seed(seed)
        self._shuffles = Shuffles([len(pool)])
        self._edges = None if weights is None else _cumulative(weights, len(pool))

    def divide(self, share: Callable[[int], slice]) -> None:
        """Form only the images of `share(batch size)`; labels, groups, rows and weights stay those of all."""
        self._form.share = share

    @property
    def batches_per_pass(self) -> int:
        """Batches in which about every image is seen once."""
        return max(1, len(self.pool) // self.size)

    def next(self) -> Batch:
        positions = self._draw()
        change = None
        if self.augment:
            side = self.pool.images.transform.size
            change = Augmentation.draw(len(positions), side, self._generator)
        return self._form(positions, change)

    def _draw(self) -> np.ndarray:
        if self._edges is not None:
            at = torch.rand(self.size, generator=self._generator, dtype=torch.float64) * self._edges[-1]
            # The edge right of the point; the last one with any weight, should rounding reach the end.
            last = int(torch.searchsorted(self._edges, self._edges[-1]))
            drawn: np.ndarray = torch.searchsorted(self._edges, at, right=True).clamp_(max=last).numpy()
            return drawn
        if self._shuffles.left(0) < self.size:
            self._shuffles.begin(0, self._generator)
        return self._shuffles.take(0, self.size)

    def state_dict(self) -> dict[str, Any]:
        """All that decides the coming batches: tensors and plain numbers, safe for weights-only loading."""
        return {
            "generator": self._generator.get_state(),
            "shuffles": self._shuffles.state_dict(),
            "size": self.size,
            "pool": self._identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the sampler that gave `state` stood.

        Raises:
            FairpruneError: the state belongs to other images, another batch size, or is damaged.
        """
        with restoring(state, self.size, self._identity):
            generator = torch.Generator()
            generator.set_state(state["generator"])
            self._shuffles.load_state_dict(state["shuffles"])
            self._generator = generator

    @cached_property
    def _identity(self) -> int:
        return self.pool.identity if self._edges is None else checksum(self._edges.numpy(), self.pool.identity)


def _cumulative(weights: np.ndarray, count: int) -> Tensor:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (count,):
        raise ValueError(f"expected {count} weights, found shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise ValueError("weights must be finite, at least 0 and not all 0")
    return torch.from_numpy(np.cumsum(weights))
