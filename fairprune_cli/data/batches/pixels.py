"""What happens to the pixels of a batch: random flips and shifts, and the model's normalisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host
from fairprune_cli.data.manifest.image_shape import ImageShape, Shape
from fairprune_cli.data.manifest.load import Transform

SHIFT_SHARE = 0.075  # 3 pixels of 40
_LINE = 64  # bytes of a cache line


class Normaliser:
    """Turns uint8 images [B, C, H, W] into the model's input: (u / 255 - mean) / std, float32.

    In this order, which is torchvision's to the bit, on every device.

    Args:
        channels_last: whether the result has this layout.
    """

    def __init__(
        self, transform: Transform, device: torch.device | str = "cpu", *, channels_last: bool = False
    ) -> None:
        self.channels_last = channels_last
        # Channel by channel in memory, a row of three numbers is too short to be worked on at once: so W times them.
        width = transform.shape.width if channels_last else 1
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32).repeat(width).view(1, 1, width, -1).permute(0, 3, 1, 2).to(device)
            for values in (transform.mean, transform.std)
        )
        # CUDA divides by a number of the host by multiplying with its reciprocal, which rounds otherwise.
        self._most = torch.tensor(255.0, device=device)

    def __call__(self, images: Tensor) -> Tensor:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        if on_host(self._most):
            scaled = self._scaled(images.numpy())
        else:
            scaled = torch.div(images.contiguous(memory_format=layout), self._most)
        return scaled.sub_(self._mean).div_(self._std)

    def _scaled(self, images: np.ndarray) -> Tensor:
        """u / 255 in the wanted layout, in numpy's memory: it comes in large pages, which torch's does not."""
        count, channels, *side = images.shape
        if self.channels_last:
            result = _aligned((count, *side, channels)).transpose(0, 3, 1, 2)
            for channel in range(channels):  # a fraction of the time that a copy of all of them takes
                np.divide(images[:, channel], np.float32(255), out=result[:, channel])
            return torch.from_numpy(result)
        result = _aligned(images.shape)
        result[...] = images
        return torch.from_numpy(result).div_(255)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array as torch would place it, since where it starts may decide how sums over it are rounded."""
    count = int(np.prod(shape))
    memory = np.empty(count + _LINE // 4, dtype=np.float32)
    start = -memory.ctypes.data % _LINE // 4
    return memory[start : start + count].reshape(shape)


class Augmentation(NamedTuple):
    """A flip (bool [B]) and a shift in pixels (int64 [B] each, -p..p along each side) per image of a batch."""

    flip: np.ndarray
    down: np.ndarray
    right: np.ndarray

    @classmethod
    def draw(cls, count: int, shape: Shape, generator: torch.Generator) -> Augmentation:
        """Flips with probability 1/2, shifts up to 7.5 % of the side (rounded), uniform."""
        _, *sides = ImageShape.of(shape).dimensions
        most = [round(SHIFT_SHARE * side) for side in sides]
        flip = torch.rand(count, generator=generator).numpy() < 0.5
        if most[0] == most[1]:  # one draw for both
            down, right = torch.randint(-most[0], most[0] + 1, (2, count), generator=generator).numpy()
        else:
            down, right = (torch.randint(-m, m + 1, (count,), generator=generator).numpy() for m in most)
        return cls(flip, down, right)

    def part(self, which: slice) -> Augmentation:
        """That of some of the images."""
        return Augmentation(self.flip[which], self.down[which], self.right[which])

    def sources(self, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Which row and which column each row and column of a changed image comes from; borders are mirrored.

        Returns:
            int64 [B, H], 0..H-1, and int64 [B, W], 0..W-1.
        """
        _, height, width = ImageShape.of(shape).dimensions
        down, along = np.arange(height), np.arange(width)
        across = np.where(self.flip[:, None], width - 1 - along, along)
        return _mirrored(down - self.down[:, None], height), _mirrored(across - self.right[:, None], width)


def gathered(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Images whose rows and columns come from others, as `Augmentation.sources` says; quick on the CPU.

    Args:
        images: [B, C, H, W]; y: int64 [B, H]; x: int64 [B, W].
    """
    count, channels, height, width = images.shape
    # One gather over flat pixel positions: four times as fast as slicing windows out of padded images.
    flat = torch.add(x[:, None, :], y[:, :, None], alpha=width).view(count, 1, height * width)
    flat = flat.expand(count, channels, height * width)
    return images.reshape(count, channels, height * width).gather(2, flat).view_as(images)


def _mirrored(position: np.ndarray, size: int) -> np.ndarray:
    """Positions outside 0..size-1 reflected at the border pixel, which is not repeated."""
    position = np.abs(position)
    return np.where(position >= size, 2 * (size - 1) - position, position)
