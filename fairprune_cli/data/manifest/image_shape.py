"""The shape of the images that a network takes: channels, height and width."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairprune_cli.core.errors import FairpruneError

SMALLEST_SIDE, LARGEST_SIDE = 8, 4096
Size = int | tuple[int, int]  # as manifests and model files write it: the side of a square, or height and width


@dataclass(frozen=True)
class ImageShape:
    """Images of `channels` (1 is grey, 3 is red, green and blue), `height` and `width` pixels."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, value: Shape) -> ImageShape:
        """The shape itself; a number is the side of square colour images."""
        return cls(3, value, value) if isinstance(value, int) else value

    @classmethod
    def sized(cls, channels: int, size: Size) -> ImageShape:
        """Channels, and the size as manifests write it."""
        height, width = (size, size) if isinstance(size, int) else size
        return cls(channels, height, width)

    @property
    def size(self) -> Size:
        """Height and width; one number where they are equal."""
        return self.height if self.height == self.width else (self.height, self.width)

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """As a tensor has them."""
        return self.channels, self.height, self.width

    def largest_part(self, height: float, width: float) -> tuple[float, float]:
        """Height and width of the largest part of an image that has this shape's proportions."""
        if width * self.height >= height * self.width:
            return height, height * self.width / self.height
        return width * self.height / self.width, width

    def within(self, side: int) -> ImageShape:
        """The same proportions with `side` pixels on the longer side."""
        longer = max(self.height, self.width)
        return ImageShape(
            self.channels, max(round(self.height * side / longer), 1), max(round(self.width * side / longer), 1)
        )

    @property
    def pixels(self) -> str:
        return f"{self.height}x{self.width}"

    def __str__(self) -> str:
        kind = {1: "grey images of", 3: "images of"}.get(self.channels, f"images of {self.channels} channels and")
        return f"{kind} {self.pixels} pixels"


Shape = ImageShape | int  # a number is the side of square colour images


def parse_size(text: str, where: str = "--size") -> Size:
    """The size that a flag gives: `64`, or `48x96` for 48 pixels high and 96 wide.

    Raises:
        FairpruneError: it is no size, or out of range.
    """
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX]\s*(\d{1,6}))?\s*", text)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in sides):
        raise FairpruneError(
            f"{text!r} is no size of an image from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels", where=where,
            hint="give 64, or 48x96 for height x width",
        )  # fmt: skip
    return ImageShape(3, sides[0], sides[-1]).size
