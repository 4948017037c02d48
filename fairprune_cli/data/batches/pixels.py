"""What happens to the pixels of a batch: random flips and shifts, and the model's normalisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host
from fairprune_cli.data.manifest.find import Transform

SHIFT_SHARE = 0.075  # 3 pixels of 40
_LINE = 64  # bytes of a cache line


class Normaliser:
    """Turns uint8 images [B, 3, S, S] into the model's input: (u / 255 - mean) / std, float32.

    In this order, which is torchvision's to the bit, on every device.

    Args:
        channels_last: whether the result has this layout.
    """

    def __init__(
        self, transform: Transform, device: torch.device | str = "cpu", *, channels_last: bool = False
    ) -> None:
        self.channels_last = channels_last
        # Channel by channel in memory, a row of three numbers is too short to be worked on at once: so S times them.
        width = transform.size if channels_last else 1
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32).repeat(width).view(1, 1, width, 3).permute(0, 3, 1, 2).to(device)
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
    """A flip (bool [B]) and a shift in pixels (int64 [B] each, -p..p) per image of a batch."""

    flip: np.ndarray
    down: np.ndarray
    right: np.ndarray

    @classmethod
    def draw(cls, count: int, size: int, generator: torch.Generator) -> Augmentation:
        """Flips with probability 1/2, shifts up to 7.5 % of `size` (rounded), uniform."""
        most = round(SHIFT_SHARE * size)
        flip = torch.rand(count, generator=generator).numpy() < 0.5
        down, right = torch.randint(-most, most + 1, (2, count), generator=generator).numpy()
        return cls(flip, down, right)

    def part(self, which: slice) -> Augmentation:
        """That of some of the images."""
        return Augmentation(self.flip[which], self.down[which], self.right[which])

    def sources(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Which row and which column each row and column of a changed image comes from; borders are mirrored.

        Returns:
            int64 [B, size] each, 0..size-1.
        """
        along = np.arange(size)
        across = np.where(self.flip[:, None], size - 1 - along, along)
        return _mirrored(along - self.down[:, None], size), _mirrored(across - self.right[:, None], size)


def gathered(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Images whose rows and columns come from others, as `Augmentation.sources` says; quick on the CPU.

    Args:
        images: [B, C, S, S]; y, x: int64 [B, S].
    """
    count, channels, size, _ = images.shape
    # One gather over flat pixel positions: four times as fast as slicing windows out of padded images.
    flat = torch.add(x[:, None, :], y[:, :, None], alpha=size).view(count, 1, size * size)
    flat = flat.expand(count, channels, size * size)
    return images.reshape(count, channels, size * size).gather(2, flat).view_as(images)


def _mirrored(position: np.ndarray, size: int) -> np.ndarray:
    """Positions outside 0..size-1 reflected at the border pixel, which is not repeated."""
    position = np.abs(position)
    return np.where(position >= size, 2 * (size - 1) - position, position)
