"""Image files: decoded to colour or grey as a model needs them, and checked for damage."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from fairprune_cli.data.manifest.image_shape import SMALLEST_SIDE, ImageShape, Shape


class ImageFault(Exception):
    """An image that cannot be used: `code` is one of missing, unreadable, truncated, too-small."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def open_image(
    path: str | Path | IO[bytes], shape: Shape | None = None, *, wanted: int | None = None, grey: bool = False
) -> Image.Image:
    """An image file as 8-bit RGB, or as grey (L), turned as its EXIF orientation says; scaled where a shape is given.

    Grey, CMYK, palette and 16-bit images are converted; transparency is dropped, as torchvision's image
    folders do. The largest part of the shape's proportions around the centre is scaled, bilinear with antialiasing.

    Args:
        shape: its height and width; one channel means grey.
        wanted: longer side that the caller is going to scale to; a JPEG far larger than that is decoded at a fraction,
            still at least twice the target. The shape's own when None.

    Raises:
        ImageFault: missing, not an image, truncated, or smaller than 8 pixels on a side.
    """
    if shape is not None:
        shape = ImageShape.of(shape)
        wanted, grey = max(shape.height, shape.width), shape.channels == 1
    with _faults(), Image.open(path) as opened:
        image: Image.Image = opened
        _check_side(opened)
        if wanted is not None:
            opened.draft(None, (2 * wanted, 2 * wanted))
        image = _upright(image)
        if image.mode != "L":
            image = _rgb(image).convert("L") if grey else _rgb(image)
        image = _resized(image, shape)  # grey is scaled before it is tripled
        return image if grey else _rgb(image)


def read_image_file(path: str) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageFault: missing or unreadable.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except (OSError, ValueError) as error:
        raise ImageFault("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def data_uri(image: Image.Image) -> str:
    """The image as a JPEG inside a text, for pages of a single file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def verify_image(data: bytes) -> tuple[int, int]:
    """Width and height of an image file that decodes to its end; JPEGs at an eighth, which finds the same damage.

    Raises:
        ImageFault: as `open_image`.
    """
    with _faults(), Image.open(io.BytesIO(data)) as opened:
        size = opened.size
        _check_side(opened)
        opened.draft(None, (1, 1))
        opened.load()
        if opened.mode not in ("RGB", "L"):
            _rgb(opened)
        return size


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except ImageFault:
        raise
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        cut = any(word in text.lower() for word in ("truncated", "broken", "premature", "end of file", "eof"))
        if cut:
            raise ImageFault("truncated", f"is cut short or damaged: {text}") from error
        if "cannot identify" in text:
            text = "not an image that Pillow knows"
        raise ImageFault("unreadable", f"cannot be decoded: {text}") from error


def _check_side(image: Image.Image) -> None:
    if min(image.size) < SMALLEST_SIDE:
        width, height = image.size
        raise ImageFault("too-small", f"is {width}x{height} pixels; {SMALLEST_SIDE}x{SMALLEST_SIDE} is the least")


# How to undo each EXIF orientation (Exif 2.32, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF: the pixels are still good
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ImageFault("unreadable", "has floating-point values; save it with 8 or 16 bits")
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _resized(image: Image.Image, shape: ImageShape | None) -> Image.Image:
    width, height = image.size
    if shape is None or (height, width) == (shape.height, shape.width):
        return image
    high, wide = shape.largest_part(height, width)
    left, top = (width - wide) / 2, (height - high) / 2
    return image.resize(
        (shape.width, shape.height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high)
    )
