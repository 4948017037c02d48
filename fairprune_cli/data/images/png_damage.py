"""PNG files that hold fewer rows than they say: Pillow leaves the others black and says nothing."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type (PNG specification, table 11.1)
_PIECE = 1 << 20


def png_damage(data: bytes) -> str:
    """What is wrong with the pixel data of a PNG that is not interlaced: how many of its rows are there; "" for all."""
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        return ""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if interlaced or colour not in _CHANNELS:
        return ""
    row = 1 + -(-width * bits * _CHANNELS[colour] // 8)
    rows = _inflated(data, row * height) // row
    return "" if rows >= height else f"has {rows:,} of its {height:,} rows"


def _inflated(data: bytes, most: int) -> int:
    """Bytes that the image data unfolds to, counted up to `most`."""
    work = zlib.decompressobj()
    count, at = 0, 8
    while at + 12 <= len(data) and count < most:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            left = data[at + 8 : at + 8 + length]
            while left and count < most:
                try:
                    count += len(work.decompress(left, _PIECE))
                except zlib.error:
                    return count
                left = work.unconsumed_tail
        at += 12 + length
    return count
