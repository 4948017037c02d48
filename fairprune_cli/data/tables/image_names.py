"""Which files are images: the formats that are opened, their suffixes, and how the files begin."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache

# Formats by Pillow's names, with the suffixes that their files go by. None of them starts another program (EPS runs
# Ghostscript) or asks a library that was registered at run time (BUFR, GRIB, HDF5, WMF).
_SUFFIXES = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "pjpeg", "pjp", "mpo"),
    "PNG": ("png", "apng"),
    "WEBP": ("webp",),
    "BMP": ("bmp",),
    "DIB": ("dib",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm", "pfm"),
    "AVIF": ("avif", "avifs"),
    "JPEG2000": ("jp2", "j2k", "jpc", "jpf", "jpx", "j2c"),
    "TGA": ("tga", "icb", "vda", "vst"),
    "PCX": ("pcx",),
    "SGI": ("sgi", "rgb", "rgba", "bw"),
    "ICO": ("ico",),
    "QOI": ("qoi",),
}
_OPTIONAL = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000", "JPEG": "jpg"}
# How files of these formats begin: at which byte, and with what.
_BEGINNINGS = (
    (0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"GIF87a"), (0, b"GIF89a"), (0, b"BM"), (0, b"II*\0"),
    (0, b"MM\0*"), (8, b"WEBP"), (4, b"ftypavif"), (4, b"ftypavis"), (0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51"),
    (0, b"qoif"), *((0, b"P%d%c" % (kind, space)) for kind in range(1, 7) for space in b"\n\r\t "),
)  # fmt: skip
_HEAD = 16
_NAMED = 4


@cache
def image_formats() -> tuple[str, ...]:
    """Names of the formats that are opened, as Pillow calls them: those that this Pillow was built with."""
    from PIL import features

    return tuple(name for name in _SUFFIXES if name not in _OPTIONAL or features.check(_OPTIONAL[name]))


@cache
def image_suffixes() -> tuple[str, ...]:
    """Suffixes of images that can be opened, in lower case and with their dot."""
    return tuple(f".{suffix}" for name in image_formats() for suffix in _SUFFIXES[name])


def is_image_name(name: str) -> bool:
    """Whether a file's name has the suffix of an image."""
    return name.lower().endswith(image_suffixes())


def is_image_file(folder: str, name: str) -> bool:
    """Whether a file is an image: by its suffix, or, where it has none (or a number), by how it begins."""
    if is_image_name(name):
        return True
    suffix = os.path.splitext(name)[1]
    if suffix and not suffix[1:].isdigit():
        return False
    path = os.path.join(folder, name)
    try:
        # What is no plain file, as a pipe, would be waited for.
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
    except (OSError, ValueError):
        return False
    return any(head[at : at + len(mark)] == mark for at, mark in _BEGINNINGS)


def listed_suffixes(left_out: Counter[str]) -> str:
    """How many files of which suffix, the most frequent first, as in "12 .heic, 3 .txt and 2 others"."""
    shown = sorted(left_out.items(), key=lambda one: (-one[1], one[0]))
    parts = [f"{n:,} {suffix or 'without a suffix'}" for suffix, n in shown[:_NAMED]]
    rest = sum(n for _, n in shown[_NAMED:])
    return ", ".join(parts) + (f" and {rest:,} others" if rest else "")
