"""Damage inside a JPEG's data, which decoders pass over: the picture ends before its data does, or after.

A Huffman-coded scan has no checksum; a changed byte mostly shifts everything behind it, so that the picture needs fewer
or more bytes than there are. libjpeg then warns ("extraneous bytes before marker", "premature end of data segment") and
makes up what is missing, and Pillow swallows its warnings. From how many bytes it completes the picture shows the same:
a sound scan needs its last byte, and nothing after it. Shifts of less than 9 bytes stay unseen, since decoders look as
far ahead; so does damage inside scans of progressive files, of which only the end of the file is looked at, and
whether there are all the scans that a picture needs.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from PIL import Image

# Markers (ITU T.81, table B.1): frames of Huffman-coded scans that follow one another, and all others.
_FRAMES = frozenset({0xC0, 0xC1})
_OTHER_FRAMES = frozenset({0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_PROGRESSIVE = 0xC2
_DRI, _SOS, _EOI, _RESTARTS = 0xDD, 0xDA, 0xD9, range(0xD0, 0xD8)
_BEHIND_A_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_BLOCK, _EIGHTH, _WIDEST = 8, 8, 65500
_AHEAD = 9  # bytes
_FILLER = b"\xff\x00" * _AHEAD  # ones: no code word
_ENDS_EARLY = "its picture is complete before its data ends"
_ENDS_LATE = "its data ends before its picture is complete"


@dataclass(frozen=True)
class _Scan:
    """The one scan of a JPEG: its header up to the data, and the data, parted where it restarts.

    Attributes:
        height_at: position of the height in `header`, the width behind it. size: width and height in pixels.
        unit: width and height of what is coded together, in pixels. interval: units between restarts, 0 for none.
        markers: numbers of the restarts, 0..7.
    """

    header: bytes
    height_at: int
    size: tuple[int, int]
    components: int
    unit: tuple[int, int]
    interval: int
    parts: tuple[bytes, ...]
    markers: tuple[int, ...]


def jpeg_damage(data: bytes) -> str | None:
    """What is wrong inside the data of a JPEG, "" where all is well; None where this cannot be told."""
    scan = _only_scan(data) if data[:2] == b"\xff\xd8" and hasattr(Image, "_getdecoder") else None
    if scan is None:
        return _ENDS_LATE if data[:2] == b"\xff\xd8" and _lacks_scans(data) else None
    across, down = (-(-side // unit) for side, unit in zip(scan.size, scan.unit, strict=True))
    units = across * down
    if not scan.interval:
        return _ends(scan, scan.header, scan.size, scan.parts[0])
    wanted = -(-units // scan.interval)
    if len(scan.parts) != wanted or any(mark != i % 8 for i, mark in enumerate(scan.markers)):
        return f"{len(scan.markers):,} restart markers, not all in their order, where {wanted - 1:,} belong"
    for i, part in enumerate(scan.parts):
        # What lies between two restarts is a picture of its own, one unit high.
        size = min(scan.interval, units - i * scan.interval) * scan.unit[0], scan.unit[1]
        if size[0] > _WIDEST:
            return None
        header = scan.header[: scan.height_at] + struct.pack(">HH", size[1], size[0])
        if fault := _ends(scan, header + scan.header[scan.height_at + 4 :], size, part):
            return fault
    return ""


def _ends(scan: _Scan, header: bytes, size: tuple[int, int], part: bytes) -> str:
    """Whether a picture of this width and height takes all of its data and no more."""
    mode = _MODES[scan.components]
    image = Image.new(mode, (-(-size[0] // _EIGHTH), -(-size[1] // _EIGHTH)))
    # What Pillow offers in public takes whole files alone.
    decoder = Image._getdecoder(mode, "jpeg", (mode, ""), (_EIGHTH, 0))  # noqa: SLF001
    decoder.setimage(image.im, (0, 0, *image.size))
    last = 2 if part.endswith(b"\xff\x00") else 1
    begun = header + part[:-last]
    done, _ = decoder.decode(begun)
    if done < 0:
        return _ENDS_EARLY
    done, _ = decoder.decode(begun[done:] + part[-last:] + _FILLER)
    return "" if done < 0 else _ENDS_LATE


def _only_scan(data: bytes) -> _Scan | None:
    """The scan of a JPEG that has one, Huffman-coded, with 8 bits; None for others and where markers are amiss."""
    at, interval, frame = 2, 0, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        body = data[at + 4 : at + 2 + length]
        if marker in _OTHER_FRAMES or marker == _EOI or len(body) != length - 2:
            return None
        if marker in _FRAMES:
            frame = (at + 5, body)
        elif marker == _DRI and length == 4:
            interval = int(struct.unpack(">H", body)[0])
        elif marker == _SOS:
            return None if frame is None or not body else _scan(data, at + 2 + length, body[0], frame, interval)
        at += 2 + length
    return None


def _lacks_scans(data: bytes) -> bool:
    """Whether a progressive JPEG ends before each component has its average values, some detail, and all their bits.

    An encoder writes averages and details in scans of their own, the lowest bits last (ITU T.81, G.1.1.1); a file that
    was cut and closed lacks some of them.
    """
    at, bits = 2, dict[int, dict[int, int]]()  # of each component and coefficient, those that are still to come
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _EOI:
            break
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _PROGRESSIVE and len(body) > 5 and len(body) == 6 + 3 * body[5]:
            bits = {component: {} for component in body[6::3]}
        elif marker == _SOS:
            if not body or len(body) != 4 + 2 * body[0]:
                break  # cut within the header of a scan
            begin, end, position = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                if component in bits:  # of a progressive frame
                    bits[component].update(dict.fromkeys(range(begin, min(end, _BLOCK**2) + 1), position & 15))
            found = _BEHIND_A_SCAN.search(data, at)
            if found is None:
                return False  # without an end; decoding says so
            at = found.start()
    return any(0 not in left or len(left) < 2 or any(left.values()) for left in bits.values())


def _scan(data: bytes, start: int, scanned: int, frame: tuple[int, bytes], interval: int) -> _Scan | None:
    """The scan whose data begins at `start` and has `scanned` components; frame: where its height stands, its body."""
    height_at, body = frame
    if len(body) < 6 or len(body) != 6 + 3 * body[5] or body[0] != 8:
        return None
    height, width = struct.unpack_from(">HH", body, 1)
    factors = [divmod(body[7 + 3 * i], 16) for i in range(body[5])]
    if scanned != len(factors) or scanned not in _MODES or not height or not width or (0 in map(min, factors)):
        return None
    # A single component is coded block by block, whatever its factors are.
    most = (max(h for h, _ in factors), max(v for _, v in factors)) if scanned > 1 else (1, 1)
    parts, markers = [], []
    begin = at = start
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return None  # without an end; decoding says so
        marker = data[at + 1]
        if marker == 0:
            at += 2
        elif marker == 0xFF:
            at += 1
        else:
            parts.append(data[begin:at].rstrip(b"\xff"))
            if marker not in _RESTARTS:
                break  # mostly the end of the image
            markers.append(marker - _RESTARTS[0])
            begin = at = at + 2
    if not all(parts) or (markers and not interval):
        return None
    unit = (_BLOCK * most[0], _BLOCK * most[1])
    return _Scan(data[:start], height_at, (width, height), scanned, unit, interval, tuple(parts), tuple(markers))
