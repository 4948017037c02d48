"""From an image file to the bytes of the model's input, as fast as the libraries allow.

Ordinary JPEGs go through torchcodec, the successor of torchvision's decoder, which gives Pillow's pixels in half of its
time (benchmarks/decoders.py). All others, JPEGs far larger than needed, which Pillow decodes at a fraction, and those
whose orientation torchcodec would overlook go through Pillow; so does everything where torchcodec does not load, as
beside a torch of another release. Both are then cropped and scaled by the same kernel, torch's antialiased bilinear one
on bytes, which takes a quarter of the time of Pillow's. A file that torchcodec refuses is left to Pillow, whose verdict
is that of `data check`. Grey is made of colour as Pillow's `convert("L")` makes it, whoever decodes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fairprune_cli.data.images.pillow import open_image, read_image_file, refuse_damaged_jpeg
from fairprune_cli.data.manifest.image_shape import SMALLEST_SIDE, ImageShape, Shape

# JPEG markers without a length (ITU T.81, table B.1), and those of frames.
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})


def decode(data: bytes, shape: Shape, *, checked: bool = True) -> np.ndarray:
    """The image as uint8 [C, H, W]: the largest part of these proportions around the centre, scaled.

    Args:
        checked: look for damage in the data of JPEGs first, which takes half as long again; without it the caller
            listens to what libjpeg says.

    Raises:
        ImageFault: not an image, truncated, damaged, or smaller than 8 pixels on a side.
    """
    shape = ImageShape.of(shape)
    longer, grey = max(shape.height, shape.width), shape.channels == 1
    pixels = _torchcodec(data, longer, checked)
    if pixels is None:
        # Channels last, as Pillow has them: the kernel takes them so, and no copy is needed.
        pixels = _channels_first(open_image(io.BytesIO(data), wanted=longer, grey=grey))
    elif grey and len(pixels) == 3:
        pixels = _channels_first(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).convert("L"))
    return centred(pixels, shape).expand(shape.dimensions).contiguous().numpy()


def _channels_first(image: Image.Image) -> Tensor:
    """uint8 [C, H, W], the channels last in memory."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def decode_file(path: str, shape: Shape, *, checked: bool = True) -> np.ndarray:
    """As `decode`, of a file.

    Raises:
        ImageFault: also when the file is missing or cannot be read.
    """
    return decode(read_image_file(path), shape, checked=checked)


def jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and components of a baseline, extended or progressive 8-bit JPEG; None for anything else."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
        elif marker in _FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            return (width, height, components) if bits == 8 else None
        elif marker in _BARE:
            at += 2
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _turned_alike(data: bytes) -> bool:
    """Whether torchcodec turns a JPEG as Pillow does.

    It reads the first APP1 segment alone, so that it overlooks an orientation behind XMP, in XMP, or in Exif data that
    goes on in further segments, as a segment ends at 64 kB.
    """
    at, first, whole = 2, True, True
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):
            break
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == 0xE1:
            exif = data.startswith(b"Exif\0\0", at + 4)
            whole &= first or not exif
            whole &= exif or data.find(b"tiff:Orientation", at, end) < 0
            first = False
        at = end
    return whole


@cache
def jpeg_decoder() -> Callable[..., Tensor] | None:
    """torchcodec's decoder of JPEGs, None where it is not installed or does not load beside this torch."""
    try:
        from torchcodec.decoders import decode_jpeg
    except (ImportError, OSError, RuntimeError):
        return None
    return cast("Callable[..., Tensor]", decode_jpeg)


def decoder_version() -> str:
    """What decodes JPEGs, as a part of the names of what was decoded."""
    return "Pillow" if jpeg_decoder() is None else f"torchcodec {metadata.version('torchcodec')}"


def _torchcodec(data: bytes, wanted: int, checked: bool) -> Tensor | None:
    """The decoded file, uint8 [1 or 3, H, W], or None where Pillow is to decode it; wanted: as for `open_image`."""
    shape = jpeg_shape(data)
    if shape is None or shape[2] not in (1, 3) or not SMALLEST_SIDE <= min(shape[:2]) < 4 * wanted:
        return None
    if not _turned_alike(data) or (work := jpeg_decoder()) is None:
        return None
    if checked:
        refuse_damaged_jpeg(data)
    try:
        source = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return work(source, mode="GRAY" if shape[2] == 1 else "RGB")
    except RuntimeError:
        return None


def centred(pixels: Tensor, shape: Shape) -> Tensor:
    """The largest part of the shape's proportions around the centre, scaled: uint8 [C, h, w] to [C, H, W].

    Halves are rounded as torchvision rounds them.
    """
    shape = ImageShape.of(shape)
    height, width = pixels.shape[1:]
    wanted = shape.height, shape.width
    if (height, width) == wanted:
        return pixels
    high, wide = (max(round(side), 1) for side in shape.largest_part(height, width))
    top, left = round((height - high) / 2), round((width - wide) / 2)
    part = pixels[:, top : top + high, left : left + wide]
    if (high, wide) == wanted:
        return part
    return functional.interpolate(part[None], wanted, mode="bilinear", antialias=True)[0]
