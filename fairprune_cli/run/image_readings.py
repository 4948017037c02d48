"""Other ways to read images that networks are trained with, and what a network predicts under each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fairprune_cli.core.device import tf32
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pixels import Normaliser
from fairprune_cli.data.batches.pool import Pool, load_images
from fairprune_cli.data.images.mapped import refuse_cut_short
from fairprune_cli.data.manifest.image_shape import LARGEST_SIDE, SMALLEST_SIDE, ImageShape
from fairprune_cli.data.manifest.load import Manifest, Transform
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import scores_of_first

BATCH = 50
USUAL_SIDE = 224  # of networks for ImageNet
MOST_TIMES = 4  # by which a side is made longer: images of 16 times as many pixels take that much longer
SHARE_OF_CROP = 224 / 256  # of the image's side that their usual centre crop keeps
_BGR = [2, 1, 0]
_SWAP = "reverse the input channels of its first layer, weight[:, [2, 1, 0]], and save the model again"
_SCALED = {
    "ImageNet's mean and std": {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.449,), (0.226,))},
    "mean and std 0.5": {3: ((0.5,) * 3, (0.5,) * 3), 1: ((0.5,), (0.5,))},
    "values from 0 to 1 (mean 0, std 1)": {3: ((0.0,) * 3, (1.0,) * 3), 1: ((0.0,), (1.0,))},
    "values from 0 to 255": {3: ((0.0,) * 3, (1 / 255,) * 3), 1: ((0.0,), (1 / 255,))},
}


@dataclass(frozen=True)
class Reading:
    """A way to read images.

    Attributes:
        change: in words, "with ImageNet's mean and std"; mend: what to do where it is the right one.
        transform: size, mean and std; own: what of it differs from the one in use.
        blue_first: whether the channels come as blue, green, red; cropped: whether the middle of the image alone.
    """

    change: str
    mend: str
    transform: Transform
    own: tuple[str, ...] = ()
    blue_first: bool = False
    cropped: bool = False

    @property
    def decodes(self) -> bool:
        """Whether the images have to be decoded again for it."""
        return self.cropped or "size" in self.own


def readings(used: Transform, told: Transform) -> list[Reading]:
    """What is tried instead of the transform in use.

    Args:
        told: the manifest's, which is another one where the model's file names its own.
    """
    found: list[Reading] = []
    channels = used.shape.channels

    def scaled(words: str, mean: tuple[float, ...], std: tuple[float, ...], mend: str = "") -> None:
        new = Transform(used.size, mean, std)
        if all(new != one.transform for one in found) and new != used:
            found.append(Reading(f"with {words}", mend or _line(new), new, ("mean", "std")))

    if told != used and len(told.mean) == channels:
        scaled("the manifest's mean and std", told.mean, told.std, "take the transform out of the model's file")
    for words, values in _SCALED.items():
        if channels in values:
            scaled(words, *values[channels])
    if channels == 3:
        found.append(Reading("with blue as the first channel (BGR)", _SWAP, used, blue_first=True))
        caffe = Transform(used.size, (0.485, 0.456, 0.406), (1 / 255,) * 3)
        mend = f"{_SWAP}; and {_line(caffe)}"
        found.append(
            Reading("with blue as the first channel and 0 to 255 less ImageNet's mean", mend, caffe, blue_first=True)
        )
    for shape in _other_sizes(used.shape):
        new = replace(used, size=shape.size)
        found.append(Reading(f"with images of {shape.pixels} pixels", _line(new), new, ("size",)))
    mend = f"crop the images to the middle {SHARE_OF_CROP:.1%} of their sides, as its training did"
    found.append(Reading("with the middle of the images alone", mend, used, cropped=True))
    return found


def _line(transform: Transform) -> str:
    """Where to write a transform."""

    def listed(values: tuple[float, ...]) -> str:
        return f"[{', '.join(f'{value:.6g}' for value in values)}]"

    size = transform.size if isinstance(transform.size, int) else list(transform.size)
    line = f"transform: {{size: {size}, mean: {listed(transform.mean)}, std: {listed(transform.std)}}}"
    return f"write `{line}` in the manifest, and in the model's file where that names another"


def _other_sizes(shape: ImageShape) -> Iterator[ImageShape]:
    """The usual size for ImageNet, twice the size and half of it."""
    double = replace(shape, height=2 * shape.height, width=2 * shape.width)
    half = replace(shape, height=shape.height // 2, width=shape.width // 2)
    seen = {shape}
    for new in (shape.within(USUAL_SIDE), double, half):
        sides = new.height, new.width
        near = max(sides) <= MOST_TIMES * max(shape.height, shape.width)
        if near and new not in seen and min(sides) >= SMALLEST_SIDE and max(sides) <= min(2 * USUAL_SIDE, LARGEST_SIDE):
            seen.add(new)
            yield new


@dataclass(frozen=True)
class Sample:
    """Some images, and how to ask a network about them.

    Attributes:
        rows: int64 [n], in the manifest; pool: that has them, read as they are read now.
        tasks: how many classes each task has, of which `task` is asked for.
    """

    manifest: Manifest
    pool: Pool
    rows: np.ndarray
    tasks: Sequence[int]
    task: int
    device: torch.device

    def predictions(self, model: nn.Module, reading: Reading | None) -> np.ndarray | None:
        """What the model predicts, int64 [n]; None where it does not take images that are read so, or lacks memory.

        Args:
            reading: as the images are read now where None.
        """
        try:
            pixels = self._pixels(reading)
            normalise = Normaliser(self.pool.images.transform if reading is None else reading.transform, self.device)
            start = sum(self.tasks[: self.task])
            found = []
            with tf32(self.device, False), evaluating(model), torch.inference_mode():
                for part in torch.from_numpy(pixels).split(BATCH):
                    table = model(normalise(part.to(self.device)))
                    scores = scores_of_first(model, table, len(self.tasks))[:, start : start + self.tasks[self.task]]
                    found.append(scores.argmax(1).cpu().numpy())
            predicted = np.concatenate(found)
            return predicted if len(predicted) == len(pixels) else None  # one that views images as others has more
        except (FairpruneError, RuntimeError, ValueError, TypeError, AssertionError, IndexError):
            return None  # a network of one size may say so in any way

    def _pixels(self, reading: Reading | None) -> np.ndarray:
        """uint8 [n, C, H, W]."""
        images = self.pool.images
        shape = images.transform.shape
        wanted = shape if reading is None else reading.transform.shape
        if reading is not None and reading.cropped:
            wanted = ImageShape(shape.channels, round(shape.height / SHARE_OF_CROP), round(shape.width / SHARE_OF_CROP))
        if wanted != shape:
            other = replace(images.transform, size=wanted.size)
            images = load_images(self.manifest, (), transform=other, rows=self.rows)
        refuse_cut_short(images.pixels)
        pixels = np.asarray(images.pixels)[images.located(self.rows)]
        if reading is not None and reading.cropped:
            top, left = (wanted.height - shape.height) // 2, (wanted.width - shape.width) // 2
            pixels = pixels[:, :, top : top + shape.height, left : left + shape.width]
        if reading is not None and reading.blue_first:
            pixels = pixels[:, _BGR]
        return np.ascontiguousarray(pixels)
