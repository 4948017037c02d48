"""The drawing of procedural faces; write.py says what they show, and makes a data set of them.

Every number is an integer and every random number is a raw word of PCG64, whose stream numpy guarantees:
last bits of sines and SIMD code cannot change a byte.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[Any]]

_PX = 64  # curves are drawn in 64ths of a pixel of a 40-pixel picture
_MOUTH = ((-110, 58), (50, 270))  # rise of the mouth's corners, per class
_LID = ((66, 132), (-80, 66))  # how far the lower lid hangs below the eye, per class; bearded faces
_LID_OTHERS = (24, 100)  # the same in everybody else, whatever the label
_SKIN = np.array([(246, 215, 190), (233, 190, 158), (214, 162, 124), (178, 122, 86), (148, 100, 70), (112, 76, 54)])
_HAIR = np.array([(32, 26, 26), (62, 40, 28), (98, 62, 36), (142, 74, 40), (206, 164, 96), (172, 132, 84)])
_CIRCLE = np.array([math.isqrt(65536 - t * t) for t in range(257)], dtype=np.int64)


def draw_integers(rng: np.random.Generator, n: int, low: int, high: int) -> Ints:
    """Integers of low..high (both included), int64 [n, 1]; raw words only, see the top of the module."""
    words = np.asarray(rng.bit_generator.random_raw(n), dtype=np.uint64) >> np.uint64(32)
    return ((words * np.uint64(high - low + 1)) >> np.uint64(32)).astype(np.int64)[:, None] + low


def _arc(u: Ints, half_width: Ints | int) -> Ints:
    """256 sqrt(1 - (u / half_width)^2), 0 beyond: the height of a unit circle, in 256ths."""
    return _CIRCLE[np.minimum(np.abs(u) * 256 // half_width, 256)]


class _Canvas:
    """Pictures [3, n, size, size] that curves over the face's own coordinates are painted on.

    `u` [2, n, size] is the horizontal face coordinate of two sub-columns per pixel; a shape is the area
    between two curves `top` and `bottom` (same shape, downwards positive). Coverage is exact vertically and
    sampled twice horizontally, which is anti-aliasing enough.
    """

    def __init__(self, size: int, scale: Ints, x: Ints, y: Ints) -> None:
        n = len(scale)
        columns = np.arange(size, dtype=np.int64)[None, None, :] * _PX + np.array([16, 48])[:, None, None]
        self.scale, self.y = scale, y
        self.u = ((columns - x) * ((1 << 20) // scale)) >> 10
        self.rows = (np.arange(size, dtype=np.int16) * _PX)[None, :, None]
        self.pixels = np.zeros((3, n, size, size), dtype=np.int16)

    def cover(self, top: Ints | int, bottom: Ints | int) -> Ints:
        """Share of each pixel between the curves, int16 [n, size, size] in 0..128."""
        edges = []
        for curve in (top, bottom):
            on_canvas = self.y + ((np.broadcast_to(np.asarray(curve), self.u.shape) * self.scale) >> 10)
            edges.append(np.clip(on_canvas, -16000, 16000).astype(np.int16)[:, :, None, :])
        part = np.minimum(edges[1], self.rows + np.int16(_PX)) - np.maximum(edges[0], self.rows)
        np.maximum(part, 0, out=part)
        return part[0] + part[1]

    def blend(self, colour: Ints, cover: Ints, alpha: Ints | int = 128) -> None:
        """Lay `colour` [n, 3] (0..255) over the pictures, weighted by cover and alpha (both 0..128)."""
        weight = alpha if isinstance(alpha, int) else alpha.astype(np.int16)[:, :, None]
        if not (isinstance(weight, int) and weight == 128):
            cover = (cover * np.int16(weight) if isinstance(weight, int) else cover * weight) >> 7
        for plane, channel in zip(self.pixels, colour.astype(np.int16).T, strict=True):
            plane += ((channel[:, None, None] - plane) * cover + np.int16(64)) >> 7

    def paint(self, colour: Ints, top: Ints | int, bottom: Ints | int, alpha: Ints | int = 128) -> None:
        self.blend(colour, self.cover(top, bottom), alpha)


def _tint(colour: Ints, percent: int | Ints) -> Ints:
    """A darker or lighter shade of `colour` [n, 3]."""
    return np.clip(colour * percent // 100, 0, 255)


def draw_faces(labels: Ints, genders: Ints, ages: Ints, rng: np.random.Generator, size: int = 40) -> Ints:
    """Draw one face per entry.

    Args:
        labels: [n], 0 neutral or 1 smiling.
        genders: [n], 0 female or 1 male.
        ages: [n], years.
        rng: its bit generator must be PCG64 for the pictures to be reproducible.
        size: width and height in pixels, 16 to 256.

    Returns:
        uint8 [n, size, size, 3], RGB.
    """
    n = len(labels)

    def draw(low: int, high: int) -> Ints:
        return draw_integers(rng, n, low, high)

    def chance(percent: int) -> Ints:
        return draw(0, 99) < percent

    smiling, male, age = (np.asarray(a, dtype=np.int64)[:, None] for a in (labels, genders, ages))
    zoom = size * 1024 // 40
    scale = zoom * draw(102, 114) // 100
    canvas = _Canvas(size, scale, (20 * _PX + draw(-64, 64)) * zoom >> 10, (21 * _PX + draw(-48, 48)) * zoom >> 10)
    u = canvas.u
    turn, nod = draw(-44, 44), draw(-24, 24)
    tone = draw(0, 5 * 16 - 1)
    skin = (_SKIN[tone[:, 0] // 16] * (16 - tone % 16) + _SKIN[tone[:, 0] // 16 + 1] * (tone % 16)) // 16
    grey = np.clip((age - 38) * 3 + draw(-20, 20), 0, 100)
    dark_only = np.where(tone < 48, len(_HAIR), 3)  # fair hair goes with fair skin
    hair = _HAIR[(draw(0, 5) % dark_only)[:, 0]] * draw(85, 115) // 100
    hair = (hair * (100 - grey) + np.array([196, 196, 200]) * grey) // 100

    # background, neck, shoulders
    wall = draw(105, 200) + np.concatenate([draw(-36, 36), draw(-30, 30), draw(-30, 44)], axis=1)
    canvas.pixels[:] = wall.T.astype(np.int16)[:, :, None, None]
    spot = _arc(u - draw(-1300, 1300), draw(500, 1100)) * 3
    canvas.paint(_tint(wall, draw(84, 118)), draw(-900, 300) - spot, spot, 100)
    head, forehead, chin = draw(660, 740), draw(760, 830), draw(790, 880)
    ears = np.abs(u) - head - 16
    canvas.paint(_tint(skin, 88), 40 - (_arc(ears, 90) * 150 >> 8), 40 + (_arc(ears, 90) * 150 >> 8))
    long = np.where(male == 1, -160, np.where(chance(25), 260, draw(620, 1300)))
    volume = np.where(male == 1, draw(20, 60), draw(60, 190))
    crown = -((forehead + 50 + volume // 3) * _arc(u, head + volume) >> 8)
    locks = long + (_arc(u, head + volume) * 260 >> 8) - 200
    bald = (male == 1) & chance(22)
    canvas.paint(hair, crown, np.where(bald | (np.abs(u) >= head + volume), crown, np.maximum(crown, locks)))
    canvas.paint(_tint(skin, 80), 300, np.where(np.abs(u) < draw(250, 320), 1400, 300))
    cloth = np.concatenate([draw(30, 220), draw(30, 200), draw(40, 220)], axis=1)
    canvas.paint(cloth, 1500 - (_arc(u, draw(950, 1250)) * 520 >> 8), 2600)

    # head and the soft light on it
    skull, jaw = -(forehead * _arc(u, head) >> 8), chin * _arc(u, head) >> 8
    canvas.paint(skin, skull, jaw)
    canvas.paint(_tint(skin, 90), np.maximum(skull, jaw - 120 - (np.abs(u) >> 3)), jaw, 70)
    face = u - turn
    cheeks = np.abs(face) - 400
    blush = _arc(cheeks, 190) * 150 >> 8
    canvas.paint(skin * np.array([100, 72, 70]) // 100, 290 + nod - blush, 290 + nod + blush, draw(0, 44))

    # age: lines on the forehead and beside the nose
    lines = np.clip((age - 34) * 2 + draw(-16, 16), 0, 76)
    for at in (-470, -370):
        bow = at + nod + (face * face >> 12)
        canvas.paint(_tint(skin, 62), bow - 14, bow + np.where(np.abs(face) < 330, 18, -14), lines)
    fold = np.abs(np.abs(face) - 330) < 34
    canvas.paint(_tint(skin, 68), 260 + nod, np.where(fold, 420 + nod, 260 + nod), lines)

    # mouth: the cue of the many
    rise = np.where(smiling == 1, draw(*_MOUTH[1]), draw(*_MOUTH[0]))
    width, full, parted = draw(270, 370), draw(52, 84), np.where(chance(35), draw(10, 60), 0)
    along = np.clip(np.abs(face) * 256 // width, 0, 256)
    middle = 480 + nod + draw(-24, 24) + (rise * (18000 - along * along) >> 16)
    arc = _arc(face, width)
    lips = np.where(chance(45), np.array([168, 48, 58]), skin * np.array([80, 56, 54]) // 100)
    canvas.paint(lips, middle - (arc * full >> 8), middle + (arc * (full + parted) >> 8))
    canvas.paint(np.array([[244, 238, 230]]).repeat(n, 0), middle, middle + (arc * parted >> 8))
    canvas.paint(_tint(lips, 42), middle - 24, np.where(along < 256, middle + 24, middle - 24), 120)

    # beard: hides the mouth of the few
    edge = 330 + nod + np.maximum(np.abs(face) - draw(330, 400), 0) * draw(14, 20) // 10
    edge = np.where(np.abs(u) > head * 7 // 8, -60, edge - (np.maximum(np.abs(face) - 430, 0) * 3))
    edge = np.maximum(edge, skull)
    length = chin + draw(20, 130)
    fur = length * _arc(u, head + 24) >> 8
    beard = _tint(hair, draw(78, 96))
    canvas.paint(beard, edge, np.where(male == 1, np.maximum(fur, edge), edge))
    moustache = 356 + nod
    shadow = np.where((male == 1) & (np.abs(face) < 270), moustache + 120, moustache + 84)
    canvas.paint(_tint(beard, 62), moustache + 84, shadow, 100)

    # nose
    nose = _arc(face, draw(95, 150))
    canvas.paint(_tint(skin, 76), 270 + nod - (nose * 20 >> 8), 262 + nod + (nose * 70 >> 8), 100)
    canvas.paint(_tint(skin, 112), 40 + nod, np.where(np.abs(face + 12) < 36, 240 + nod, 40 + nod), 60)

    # eyes: the cue of the few; in everybody else the lids move whatever the label
    lower = np.where(male == 0, draw(*_LID_OTHERS), np.where(smiling == 1, draw(*_LID[1]), draw(*_LID[0])))
    upper, apart, across = draw(108, 146), draw(300, 330), draw(190, 222)
    eye, height = np.abs(face) - apart, -60 + nod
    lens = _arc(eye, across)
    lid, under = height - (lens * upper >> 8), height + (lens * lower >> 8)
    canvas.paint(np.array([[246, 244, 240]]).repeat(n, 0), lid, under)
    iris_at, radius = np.abs(face - draw(-36, 36)) - apart, draw(92, 112)
    palette = np.array([(70, 44, 28), (52, 88, 120), (70, 96, 58), (38, 28, 24)])
    iris, pupil = palette[draw(0, 3)[:, 0]], np.full((n, 3), 16)
    for shade, reach in ((iris, radius), (pupil, radius * 5 // 9)):
        ball = _arc(iris_at, reach) * reach >> 8
        start = np.maximum(lid, height - 12 - ball)
        canvas.paint(shade, start, np.maximum(start, np.minimum(under, height - 12 + ball)))
    inside = np.abs(eye) < across + 14
    canvas.paint(np.full((n, 3), 34), lid - 30, np.where(inside, lid + 14, lid - 30), 118)
    canvas.paint(_tint(skin, 58), under - 4, np.where(inside, under + 18, under - 4), draw(40, 84))
    pouch = under + 74
    canvas.paint(_tint(skin, 70), pouch, np.where(np.abs(eye) < 130, pouch + 22, pouch), lines)
    brow_at = -236 + nod + draw(-20, 20) + (eye * eye * draw(2, 9) >> 12) + eye * draw(-10, 10) // 100
    brow = _arc(eye, across + 40) * np.where(male == 1, draw(34, 50), draw(20, 34)) >> 8
    canvas.paint(_tint(hair, 72), brow_at - brow, brow_at + brow)

    # hair in front, glasses
    slant, line = draw(-28, 28), np.where(male == 1, draw(-660, -500), draw(-600, -400))
    sides = np.maximum(np.abs(u) - head * 3 // 4, 0) * np.where(male == 1, 3, 4)
    fringe = np.minimum(line + face * slant // 100 + sides, np.where(male == 1, 0, 500))
    fringe = np.where(bald, crown, np.clip(fringe, crown, np.maximum(jaw, crown)))
    canvas.paint(hair, crown, fringe)
    canvas.paint(
        _tint(hair, 125),
        crown + 90,
        np.where(np.abs(u + 200) < 300, np.minimum(crown + 150, fringe), crown),
        50,
    )
    frame = np.where(chance(20), 128, 0)
    outer, inner = _arc(eye, 250) * 200 >> 8, _arc(eye, 218) * 168 >> 8
    rim = canvas.cover(height - outer, height + outer) - canvas.cover(height - inner, height + inner)
    bridge = np.where(np.abs(face) < apart - 230, height + 12, height - 24)
    metal = np.array([(30, 30, 34), (120, 40, 36), (150, 130, 80)])[draw(0, 2)[:, 0]]
    canvas.blend(metal, np.minimum(rim + canvas.cover(height - 24, bridge), 128), frame)

    # light from one side, contrast (a little less with age), grain
    step = np.arange(size, dtype=np.int64) * 40 // size - 20
    light = (
        draw(236, 272)[:, :, None] + (draw(-24, 24) * step // 10)[:, None, :] + (draw(-16, 16) * step // 10)[:, :, None]
    )
    contrast = (draw(88, 104) - np.clip(age - 30, 0, 50) // 4)[:, :, None]
    grain = np.asarray(rng.bit_generator.random_raw(n * size * size // 8 + 1)).astype("<u8").view(np.uint8)
    grain = grain[: n * size * size].reshape(n, size, size)
    noise = ((grain & 15).astype(np.int32) + (grain >> 4) - 15) * draw(12, 56)[:, :, None].astype(np.int32) // 64
    gain = (light * contrast).astype(np.int32)
    out = np.empty((n, size, size, 3), dtype=np.uint8)
    for channel, plane in enumerate(canvas.pixels):
        value = ((plane.astype(np.int32) - 128) * gain // 25600) + 128 + noise
        out[..., channel] = np.clip(value, 0, 255)
    return out
