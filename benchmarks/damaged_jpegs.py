"""How much of the damage inside JPEGs is found, against libjpeg's own warnings, and whether sound files are left alone.

    python benchmarks/damaged_jpegs.py [--photographs FOLDER]

Drawn JPEGs (one scan, some with restart markers) have bytes overwritten, cut out or put in. libjpeg's words are those
that torchcodec lets it write on stderr. Prints a table: what libjpeg says, and how often damage was found.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from fairprune_cli.data.images.decode import decode
from fairprune_cli.data.images.decoder_words import decoder_words
from fairprune_cli.data.images.jpeg_damage import jpeg_damage
from fairprune_cli.data.images.pillow import ImageFault

IMAGES, SIDE = 1500, 300


def drawn(random: np.random.Generator) -> bytes:
    width, height = (int(side) for side in random.integers(16, SIDE, 2))
    step = int(random.integers(1, 12))
    pixels = random.integers(0, 256, (height // step + 1, width // step + 1, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    restarts = {"restart_marker_rows": 1} if random.random() < 0.2 else {}
    stream = io.BytesIO()
    image.save(
        stream, "JPEG", quality=int(random.integers(40, 96)), subsampling=int(random.integers(3)), **restarts
    )  # fmt: skip
    return stream.getvalue()


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    start = content.index(b"\xff\xda") + 14
    count = int(random.choice([1, 4, 40, 200]))
    at = int(random.integers(start, max(start + 1, len(content) - 2 - count)))
    other = random.integers(0, 256, count, dtype=np.uint8).tobytes()
    kinds = (
        content[:at] + other + content[at + count :], content[:at] + bytes(count) + content[at + count :],
        content[:at] + content[at + count :], content[:at] + other + content[at:],
    )  # fmt: skip
    return kinds[random.integers(4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of sound JPEGs")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    counts: Counter[tuple[str, str]] = Counter()
    with decoder_words(lambda data: decode(data, SIDE, checked=False)) as words:
        if words is None:
            raise SystemExit("libjpeg cannot be heard here")
        for _ in range(IMAGES):
            content = damaged(drawn(random), random)
            begun = words.now
            try:
                decode(content, SIDE, checked=False)
                said = " ".join(word for word in words.since(begun).split() if not word.isdigit())
            except ImageFault:
                said = "(not decoded)"
            found = jpeg_damage(content)
            counts[said or "(nothing)", "not told" if found is None else "damage" if found else "sound"] += 1
    for (said, found), n in sorted(counts.items()):
        print(f"{n:6,}  {found:9}  {said}")
    if given.photographs is not None:
        verdicts = Counter(bool(jpeg_damage(file.read_bytes())) for file in given.photographs.rglob("*.jpg"))
        print(f"photographs: {verdicts[True]:,} of {verdicts.total():,} are called damaged")


if __name__ == "__main__":
    main()
