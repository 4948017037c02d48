"""What happens to the pixels of a batch: random flips and shifts, and the model's normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fairprune_cli.data.manifest.find import Transform

SHIFT_SHARE = 0.075  # 3 pixels of 40


def normaliser(transform: Transform, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """What turns uint8 images [B, 3, S, S] into the model's input: (u / 255 - mean) / std, float32.

    In this order, which is torchvision's to the bit.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        for values in (transform.mean, transform.std)
    )
    return lambda raw: raw.to(torch.float32).div_(255).sub_(mean).div_(std)


class Augmentation(NamedTuple):
    """A flip (bool [B]) and a shift in pixels (int64 [B] each, -p..p) per image of a batch."""

    flip: Tensor
    down: Tensor
    right: Tensor

    @classmethod
    def draw(cls, count: int, size: int, generator: torch.Generator) -> Augmentation:
        """Flips with probability 1/2, shifts up to 7.5 % of `size` (rounded), uniform."""
        most = round(SHIFT_SHARE * size)
        flip = torch.rand(count, generator=generator) < 0.5
        shifts = torch.randint(-most, most + 1, (2, count), generator=generator)
        return cls(flip, shifts[0], shifts[1])

    def apply(self, images: Tensor) -> Tensor:
        """The changed images, of the same type and shape [B, C, S, S]; borders are mirrored."""
        count, channels, size, _ = images.shape
        flip, down, right = (part.to(images.device) for part in self)
        along = torch.arange(size, device=images.device)
        across = torch.where(flip[:, None], size - 1 - along, along)
        y = _mirrored(along - down[:, None], size)
        x = _mirrored(across - right[:, None], size)
        # One gather over flat pixel positions: four times as fast as slicing windows out of padded images.
        flat = (y[:, :, None] * size + x[:, None, :]).view(count, 1, size * size)
        flat = flat.expand(count, channels, size * size)
        return images.reshape(count, channels, size * size).gather(2, flat).view_as(images)


def _mirrored(position: Tensor, size: int) -> Tensor:
    """Positions outside 0..size-1 reflected at the border pixel, which is not repeated."""
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
