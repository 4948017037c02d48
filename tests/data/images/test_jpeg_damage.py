"""Damage inside a JPEG's data: libjpeg's own warnings, heard on stderr of another decoder, are the oracle."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fairprune_cli.data.images.decode import decode, jpeg_decoder
from fairprune_cli.data.images.jpeg_damage import jpeg_damage
from fairprune_cli.data.images.pillow import ImageFault, verify_image


def picture(random: np.random.Generator, width: int, height: int, channels: int = 3) -> Image.Image:
    step = int(random.integers(1, 12))
    pixels = random.integers(0, 256, (height // step + 1, width // step + 1, channels), dtype=np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert(
        {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    )
    return image.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def data_of(content: bytes) -> int:
    """Where the data of the only scan begins."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def changed(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes of the data overwritten, cut out or put in."""
    count = int(random.choice([1, 4, 40, 200]))
    start = data_of(content)
    at = int(random.integers(start, max(start + 1, len(content) - 2 - count)))
    result = bytearray(content)
    match random.integers(4):
        case 0:
            result[at : at + count] = random.integers(0, 256, count, dtype=np.uint8).tobytes()
        case 1:
            result[at : at + count] = bytes(count)
        case 2:
            del result[at : at + count]
        case _:
            result[at:at] = random.integers(0, 255, count, dtype=np.uint8).tobytes()
    return bytes(result)


def words(content: bytes) -> str | None:
    """What libjpeg says of a file; None where it cannot be decoded at all."""
    work = jpeg_decoder()
    assert work is not None
    with tempfile.TemporaryFile() as stream:
        kept = os.dup(2)
        os.dup2(stream.fileno(), 2)
        try:
            work(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode="RGB")
        except RuntimeError:
            return None
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        stream.seek(0)
        return stream.read().decode()


def test_sound_files_of_all_kinds_are_sound() -> None:
    random = np.random.default_rng(0)
    for i in range(150):
        width, height = map(int, random.integers(8, 200, 2))
        options: dict[str, Any] = {"quality": int(random.integers(1, 101)), "optimize": bool(i % 3 == 0)}
        channels = (3, 3, 1, 4)[i % 4]
        if channels == 3:
            options["subsampling"] = i % 3
        if i % 5 == 0:
            options["restart_marker_blocks"] = int(random.integers(1, 30))
        elif i % 5 == 1:
            options["restart_marker_rows"] = int(random.integers(1, 4))
        assert jpeg_damage(jpeg(picture(random, width, height, channels), **options)) == "", (width, height, options)


def test_what_libjpeg_warns_of_is_found_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    seen: Counter[tuple[bool, bool]] = Counter()
    for i in range(250):
        width, height = map(int, random.integers(40, 240, 2))
        options = {"restart_marker_rows": 1} if i % 5 == 0 else {}
        content = changed(jpeg(picture(random, width, height), quality=85, subsampling=i % 3, **options), random)
        said = words(content)
        if said is not None:
            seen[bool(said), bool(jpeg_damage(content))] += 1
    assert seen[False, True] == 0
    assert seen[False, False] >= 30
    assert seen[True, True] >= 100
    # A picture that ends less than nine bytes early or late.
    assert seen[True, False] <= 0.03 * seen[True, True]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (slice(0, 400), "its data ends before its picture is complete"),
        (slice(-400, None), "its data ends before its picture is complete"),
    ],
)
def test_a_run_and_the_check_refuse_it_alike(part: slice, text: str) -> None:
    content = jpeg(picture(np.random.default_rng(2), 120, 90), quality=90)
    start = data_of(content)
    data = bytearray(content[start:-2])
    del data[part]
    damaged = content[:start] + bytes(data) + content[-2:]
    for look in (verify_image, lambda part: decode(part, 32)):
        with pytest.raises(ImageFault, match=text) as caught:
            look(damaged)
        assert caught.value.code == "damaged"


def test_restarts_out_of_their_order_are_damage() -> None:
    content = jpeg(picture(np.random.default_rng(3), 64, 64), restart_marker_rows=1)
    start = data_of(content)
    first, second = content.index(b"\xff\xd0", start), content.index(b"\xff\xd1", start)
    swapped = content[:first] + b"\xff\xd1" + content[first + 2 : second] + b"\xff\xd0" + content[second + 2 :]
    assert "not all in their order" in str(jpeg_damage(swapped))
    missing = content[:first] + content[second:]
    assert "restart markers" in str(jpeg_damage(missing))


def test_bytes_behind_the_image_are_no_damage() -> None:
    content = jpeg(picture(np.random.default_rng(4), 64, 64))
    for behind in (b"\0" * 512, b"trailer", content):
        assert jpeg_damage(content + behind) == ""


def test_of_other_files_nothing_is_said() -> None:
    image = picture(np.random.default_rng(5), 64, 64)
    content = jpeg(image)
    for other in (b"", b"\xff\xd8", b"text", content[:100], content[:-2], jpeg(image, progressive=True)):
        assert jpeg_damage(other) is None
    for end in range(0, len(content), 7):
        assert jpeg_damage(content[:end]) is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_progressive_file_that_was_cut_and_closed_lacks_scans(mode: str, share: float) -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(1).normal(128, 90, (400, 64)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).convert(mode).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    assert jpeg_damage(content) is None
    assert jpeg_damage(content[: int(len(content) * share)] + b"\xff\xd9") == (
        "its data ends before its picture is complete"
    )


def test_scans_of_a_frame_that_is_not_progressive_are_no_matter_here() -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(2).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    cut = content[: len(content) // 3] + b"\xff\xd9"
    assert jpeg_damage(cut) is not None
    assert jpeg_damage(cut.replace(b"\xff\xc2", b"\xff\xc3", 1)) is None  # lossless, of which the rule says nothing
