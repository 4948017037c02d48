"""Image files: decoded to colour or grey as a model needs them, and checked for damage."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.limits import DEFAULTS, figure, how_to_raise, limit
from fairprune_cli.data.images.depth import eight_bit, is_deep
from fairprune_cli.data.images.jpeg_damage import jpeg_damage
from fairprune_cli.data.images.png_damage import png_damage
from fairprune_cli.data.manifest.image_shape import SMALLEST_SIDE, ImageShape, Shape
from fairprune_cli.data.tables.image_names import image_formats

# Pillow speaks of "Corrupt EXIF data" and names no file; `verify_image` puts it in words.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageFault(Exception):
    """An image that cannot be used: `code` is one of missing, unreadable, truncated, damaged, too-small, too-large."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def open_image(
    path: str | Path | IO[bytes], shape: Shape | None = None, *, wanted: int | None = None, grey: bool = False
) -> Image.Image:
    """An image file as 8-bit RGB, or as grey (L), turned as its EXIF orientation says; scaled where a shape is given.

    Grey, CMYK, palette, 16-bit and 32-bit images are converted; transparency is dropped, as torchvision's image
    folders do. The largest part of the shape's proportions around the centre is scaled, bilinear with antialiasing.

    Args:
        shape: its height and width; one channel means grey.
        wanted: longer side that the caller is going to scale to; a JPEG far larger than that is decoded at a fraction,
            still at least twice the target. The shape's own when None.

    Raises:
        ImageFault: missing, not an image, truncated, damaged, or smaller than 8 pixels on a side.
    """
    if shape is not None:
        shape = ImageShape.of(shape)
        wanted, grey = max(shape.height, shape.width), shape.channels == 1
    data = read_image_file(path) if isinstance(path, (str, Path)) else path.read()
    with _faults(), _opened(data) as opened:
        image: Image.Image = opened
        _check_side(opened)
        refuse_damaged_jpeg(data)
        if wanted is not None:
            opened.draft(None, (2 * wanted, 2 * wanted))
        image = _upright(image)
        _refuse_missing_rows(opened, data)
        if image.mode != "L":
            image = _rgb(image).convert("L") if grey else _rgb(image)
        image = _resized(image, shape)  # grey is scaled before it is tripled
        return image if grey else _rgb(image)


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageFault: missing or unreadable.
    """
    try:
        return read_plain(path, "image_bytes")
    except FairpruneError as error:
        raise ImageFault("too-large", f"{error.what}: {error.hint}") from error
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except (OSError, ValueError) as error:
        raise ImageFault("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def data_uri(image: Image.Image) -> str:
    """The image as a JPEG inside a text, for pages of a single file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


@dataclass(frozen=True)
class VerifiedImage:
    """Width and height of an image that decodes to its end, and what is odd about it, a sentence each."""

    size: tuple[int, int]
    remarks: tuple[str, ...] = ()


def verify_image(data: bytes) -> VerifiedImage:
    """Decode an image file to its end; JPEGs at an eighth, which finds the same damage.

    Its remarks hold what Pillow warns of only within `heard_warnings`.

    Raises:
        ImageFault: as `open_image`.
    """
    said: list[str] = []
    dim = False
    _heard.said = said
    try:
        with _faults(), _opened(data) as opened:
            size = opened.size
            _check_side(opened)
            if not refuse_damaged_jpeg(data):
                opened.draft(None, (1, 1))
                opened.load()
                _refuse_missing_rows(opened, data)
                if is_deep(opened):
                    dim = eight_bit(opened)[1]
                elif opened.mode not in ("RGB", "L"):
                    _rgb(opened)
            orientation(opened)
    finally:
        _heard.said = None
    if dim:
        said.append("uses less than a sixteenth of the range of its numbers and comes out nearly black")
    return VerifiedImage(size, tuple(dict.fromkeys(said)))


class _Heard(threading.local):
    """What Pillow warns of in this thread; None while nobody asks."""

    said: list[str] | None = None


_heard = _Heard()


@contextlib.contextmanager
def heard_warnings() -> Iterator[None]:
    """Let `verify_image` hear what Pillow warns of, in all threads; for the main thread, around all of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if _heard.said is None:
                shown(message, category, *place)
            else:
                _heard.said.append(_sentence(str(message), category))

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _sentence(text: str, category: type[Warning]) -> str:
    if "exif" in text.lower():
        return "has damaged Exif data; how it is to be turned may be lost"
    if issubclass(category, Image.DecompressionBombWarning):
        return f"has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels"
    return f"is odd: {' '.join(text.split()).rstrip('.')}"


_one_large = threading.Lock()
_LARGE = 24_000_000  # pixels
_WIDE = ("JPEG2000", "WEBP", "AVIF")  # whose decoders take up to 36 bytes a pixel


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """An image whose pixels are not read yet; of large ones one at a time, as each takes hundreds of megabytes.

    Raises:
        ImageFault: it has more pixels than the limit `image_pixels`.
    """
    most = limit("image_pixels")
    if most > DEFAULTS["image_pixels"] and Image.MAX_IMAGE_PIXELS is not None:
        # or Pillow would refuse what FAIRPRUNE_LIMITS asks for
        Image.MAX_IMAGE_PIXELS = max(most, Image.MAX_IMAGE_PIXELS)
    with Image.open(io.BytesIO(data), formats=image_formats()) as image:
        pixels = image.width * image.height
        if pixels > most:
            raise _too_large(pixels)
        # Pillow has decoders in Python for rare forms, which take a microsecond and more for each pixel.
        if pixels > limit("slow_image_pixels") and any(part[0] in Image.DECODERS for part in image.tile):
            raise _too_large(pixels, "slow_image_pixels")
        if pixels > limit("wide_image_pixels") and image.format in _WIDE:
            raise _too_large(pixels, "wide_image_pixels")
        with _one_large if pixels > _LARGE else contextlib.nullcontext():
            yield image


def _too_large(pixels: int, name: str = "image_pixels") -> ImageFault:
    most = limit(name)
    form = "" if name == "image_pixels" else " in this form"
    text = f"has {figure(pixels)} pixels; at most {most:,} are read{form}: {how_to_raise(pixels, name)}"
    return ImageFault("too-large", text)


def refuse_damaged_jpeg(data: bytes) -> bool:
    """Whether the data of a JPEG was looked through to its end, and is sound; False where this cannot be told.

    Raises:
        ImageFault: it is damaged.
    """
    damage = jpeg_damage(data)
    if damage:
        raise ImageFault("damaged", f"is damaged: {damage}")
    return damage == ""


def _refuse_missing_rows(image: Image.Image, data: bytes) -> None:
    """A PNG whose last row was left empty may have been cut short."""
    last = (0, image.height - 1, image.width, image.height)
    if image.format == "PNG" and image.crop(last).getbbox(alpha_only=False) is None and (missing := png_damage(data)):
        raise ImageFault("damaged", f"is damaged: it {missing}")


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except ImageFault:
        raise
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        if isinstance(error, Image.DecompressionBombError):  # Pillow refuses what it does not even open
            raise _too_large(int(re.findall(r"\d+", str(error))[0])) from error
        if isinstance(error, UnidentifiedImageError):
            known = ", ".join(image_formats())
            raise ImageFault(
                "unreadable", f"cannot be decoded: no image in a format that is opened ({known})"
            ) from error
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        cut = any(word in text.lower() for word in ("truncated", "broken", "premature", "end of file", "eof"))
        if cut:
            raise ImageFault("truncated", f"is cut short or damaged: {text}") from error
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


def orientation(image: Image.Image) -> Image.Transpose | None:
    """How an image is to be turned, as its EXIF data says."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF: the pixels are still good
        return None


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    turn = orientation(image)
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if is_deep(image):
        image, _ = eight_bit(image)
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
