"""Images with 16 or 32 bits a pixel, brought to 8 by the range that their values can have."""

from __future__ import annotations

from typing import cast

import numpy as np
from PIL import Image

# TIFF 6.0: BitsPerSample, MaxSampleValue, SampleFormat (1 without a sign, 2 with), SMaxSampleValue.
_BITS, _HIGHEST, _FORMAT, _HIGHEST_OF_FORMAT = 258, 281, 339, 341
_WORD = 65535
_DIM = 16
_ROWS = 256  # that are brought to 8 bits at a time


def is_deep(image: Image.Image) -> bool:
    """Whether it is grey with whole numbers beyond 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def eight_bit(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in mode L, and whether it uses so little of its range that it comes out nearly black.

    The range is what the file says (TIFF's MaxSampleValue), else that of its numbers: 0..65535 of 16 bits, 0..32767
    where they have a sign; of 32 bits that of 16 where no value is larger, as programs widen 16-bit images. Pillow's
    own conversion clips at 255.
    """
    tags = getattr(image, "tag_v2", {})
    bits, signed = _first(tags, _BITS, 16 if image.mode != "I" else 0), _first(tags, _FORMAT, 1) == 2
    unsigned = bits == 32 and not signed  # which Pillow keeps in numbers with a sign

    def part(rows: range) -> np.ndarray:
        values = np.asarray(image.crop((0, rows[0], image.width, rows[-1] + 1)))
        return np.clip((values.view(np.uint32) if unsigned else values).astype(np.int64), 0, None)

    # A part at a time: whole numbers of 64 bits take four times the memory of the image.
    parts = [range(start, min(start + _ROWS, image.height)) for start in range(0, image.height, _ROWS)]
    highest = max(int(part(rows).max(initial=0)) for rows in parts)
    top = _first(tags, _HIGHEST, 0) or _first(tags, _HIGHEST_OF_FORMAT, 0)
    if not 0 < top <= 2**32 or top < highest:
        top = (2**31 if signed else 2**32) - 1 if bits == 32 and highest > _WORD else _WORD
        top = _WORD >> 1 if bits == 16 and signed else top
    # Full ranges as torchvision has it: the highest 8 bits.
    full = (top + 1) & top == 0
    scaled = np.empty((image.height, image.width), np.uint8)
    for rows in parts:
        numbers = np.minimum(part(rows), top)
        scaled[rows[0] : rows[-1] + 1] = numbers * 256 // (top + 1) if full else (numbers * 255 + top // 2) // top
    return Image.fromarray(scaled), 0 < highest < (top + 1) // _DIM


def _first(tags: object, tag: int, default: int) -> int:
    """A tag's whole number, of the first of several."""
    value = cast("dict[int, object]", tags).get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, (int, float)) and np.isfinite(value) else default
