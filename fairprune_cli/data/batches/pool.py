"""Images as batches: decoded once into a cache, then drawn, augmented and normalised a batch at a time.

manifest -> `load_images` -> `ImageSet.pool(rows)` -> `Pool.batches` (in order) or `Pool.sampler` (endless).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.parallel import Progress
from fairprune_cli.data.batches.batch import Batch
from fairprune_cli.data.batches.form import BatchPlan, Device, Former
from fairprune_cli.data.batches.sampler import Sampler
from fairprune_cli.data.batches.shuffles import checksum
from fairprune_cli.data.images.cache import Cache
from fairprune_cli.data.images.mapped import refuse_cut_short
from fairprune_cli.data.manifest.load import Grouping, Manifest, Transform

RESIDENT_SHARE = 0.4  # of a GPU's free memory that decoded images may take
_UPLOAD = 4096


def fits_on_device(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images may live on the device: a GPU that has them free, and as much again and more."""
    if device.type != "cuda":
        return False  # in main memory they are already
    free, _ = torch.cuda.mem_get_info(device)
    return size <= RESIDENT_SHARE * free


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The N images of a manifest, all of them decoded or some.

    Attributes:
        pixels: uint8 [N, C, H, W] of all, or [n, C, H, W] of some, a read-only memory map.
        places: of some, int64 [N], where each stands in `pixels`, -1 where it was not decoded; None of all.
    """

    pixels: np.ndarray
    labels: np.ndarray  # int64 [N], or [N, T] of several tasks
    groups: np.ndarray  # int64 [N, A], a column per grouping
    groupings: tuple[Grouping, ...]
    manifest: Manifest
    transform: Transform
    digest: str = ""  # of all pixels; "" where they do not come from a cache
    places: np.ndarray | None = None
    _resident: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)  # also of `regrouped`

    def located(self, rows: np.ndarray) -> np.ndarray:
        """Where the images at these positions of the manifest stand in `pixels`, int64 [n].

        Raises:
            IndexError: one of them was not decoded.
        """
        if self.places is None:
            return rows
        found = self.places[rows]
        if len(found) and found.min() < 0:
            raise IndexError("an image that was not decoded is asked for")
        return found

    def pixels_of(self, row: int) -> np.ndarray:
        """The image at a position of the manifest, uint8 [C, H, W]."""
        refuse_cut_short(self.pixels)
        return np.asarray(self.pixels[self.located(np.array([row]))[0]])

    def resident(self, device: torch.device) -> Tensor | None:
        """The pixels on the device, moved there once; None where they do not fit beside a model.

        Returns:
            As `pixels`, the channels last in memory.
        """
        found = self._resident.get(device)
        if found is None and fits_on_device(device, self.pixels.nbytes):
            last = torch.channels_last
            found = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device, memory_format=last)
            for start in range(0, len(self.pixels), _UPLOAD):
                refuse_cut_short(self.pixels)
                part = np.array(self.pixels[start : start + _UPLOAD])
                found[start : start + len(part)] = torch.from_numpy(part).to(device)
            self._resident[device] = found
        return found

    def regrouped(self, groupings: Sequence[Grouping]) -> ImageSet:
        """The same images with a column of groups per grouping."""
        return replace(self, groups=_columns(groupings, len(self.manifest)), groupings=tuple(groupings))

    def of_task(self, task: int) -> ImageSet:
        """The same images with the labels of one task alone, by its number."""
        return replace(self, labels=self.manifest.tasks[task].labels)

    def pool(self, rows: np.ndarray) -> Pool:
        """The images at these positions of the manifest (int64 [n]), in this order."""
        return Pool(self, rows)


def load_images(
    manifest: Manifest,
    attributes: Sequence[str],
    *,
    transform: Transform | None = None,
    progress: Progress | None = None,
    rows: np.ndarray | None = None,
) -> ImageSet:
    """Decode the images, or take them from the cache where an earlier call left them.

    Args:
        attributes: names for `manifest.grouping`, intersections such as `gender*age` included.
        transform: instead of the manifest's, as that of the model.
        progress: called with (images done, images in all) while decoding.
        rows: int64 [n], distinct, the only ones that are wanted: the others are not decoded.

    Raises:
        FairpruneError: unknown attributes, or images that cannot be decoded (all of them, with file and row);
            exit code 3 when the cache cannot be written.
    """
    transform = transform or manifest.transform
    groupings = tuple(manifest.grouping(name) for name in attributes)
    groups = _columns(groupings, len(manifest))
    cache = Cache(manifest, transform.shape)
    places = None
    # What was pruned here has left all images, and serves an audit of some.
    pixels = None if rows is None else cache.kept()
    if pixels is None:
        if rows is not None:
            cache = Cache(manifest.at(rows), transform.shape)
            places = np.full(len(manifest), -1, dtype=np.int64)
            places[rows] = np.arange(len(rows))
        pixels = cache.pixels(progress)
    tasks = manifest.tasks
    labels = np.stack([task.labels for task in tasks], 1) if len(tasks) > 1 else manifest.labels
    return ImageSet(pixels, labels, groups, groupings, manifest, transform, cache.digest, places)


def _columns(groupings: Sequence[Grouping], count: int) -> np.ndarray:
    """Groups of all images, int64 [count, A], a column per grouping."""
    columns = [grouping.index for grouping in groupings]
    return np.stack(columns, axis=1) if columns else np.empty((count, 0), dtype=np.int64)


class Pool:
    """Some images of an `ImageSet`: labels int64 [n] (of T tasks [n, T]), groups int64 [n, A].

    Attributes:
        rows: int64 [n], in the manifest. places: int64 [n], in the set's `pixels`.
    """

    def __init__(self, images: ImageSet, rows: np.ndarray) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(images.labels)):
            raise IndexError(f"rows must lie in 0..{len(images.labels) - 1}")
        self.images = images
        self.rows = rows
        self.places = images.located(rows)
        self.labels = images.labels[rows]
        self.groups = images.groups[rows]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def identity(self) -> int:
        """A checksum of which images these are."""
        return checksum(self.rows)

    def of_task(self, task: int) -> Pool:
        """The same images with the labels of one task alone, by its number."""
        return self.images.of_task(task).pool(self.rows)

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
        starts = range(turn[0] * size, len(self), turn[1] * size)
        yield from form.each(BatchPlan(np.arange(start, min(start + size, len(self)))) for start in starts)

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
