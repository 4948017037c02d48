"""What is opened and what is not, deep images, missing rows, and a sentence in place of raw warnings."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fairprune_cli.data.images.decode import decode
from fairprune_cli.data.images.pillow import ImageFault, heard_warnings, open_image, read_image_file, verify_image
from fairprune_cli.data.manifest.image_shape import ImageShape

SIDE = 40
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n0 0 moveto showpage\n%%EOF\n"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def tiff(bits: int, sample_format: int, values: np.ndarray, order: str = "<", highest: int = 0) -> bytes:
    """A grey TIFF of one strip (TIFF 6.0), with MaxSampleValue where `highest` is given."""
    data = values.tobytes()
    tags = [
        (256, 3, SIDE),
        (257, 3, SIDE),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 1),
        (278, 3, SIDE),
        (279, 4, len(data)),
    ]
    tags += [(339, 3, sample_format), *([(281, 3, highest)] if highest else [])]
    tags = sorted([*tags, (273, 4, 8 + 2 + 12 * (len(tags) + 1) + 4)])
    result = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, value in tags:
        result += struct.pack(f"{order}HHI", tag, kind, 1)
        result += struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    return result + bytes(4) + data


def png(width: int, height: int, rows: int, value: int = 90, colour: int = 2) -> bytes:
    """A PNG that says `height` and has `rows`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes([value]) * (width * {0: 1, 2: 3}[colour])
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    ("content", "top"),
    [
        (saved(Image.fromarray((RAMP * 65535).astype(np.uint16)), "PNG"), 65535),
        (saved(Image.fromarray((RAMP * 65535).astype(np.uint16)), "TIFF"), 65535),
        (tiff(16, 1, (RAMP * 65535).astype(">u2"), ">"), 65535),
        (tiff(16, 1, (RAMP * 4095).astype("<u2"), highest=4095), 4095),
        (tiff(16, 1, (RAMP * 1000).astype("<u2"), highest=1000), 1000),
        (tiff(16, 2, (RAMP * 32767).astype("<i2")), 32767),
        (tiff(32, 1, (RAMP * (2**32 - 1)).astype("<u4")), 2**32 - 1),
        (tiff(32, 2, (RAMP * (2**31 - 1)).astype("<i4")), 2**31 - 1),
        (tiff(32, 2, (RAMP * (2**31 - 1)).astype(">i4"), ">"), 2**31 - 1),
        (tiff(32, 2, (RAMP * 65535).astype("<i4")), 65535),  # a 16-bit image in wider numbers
        (b"P5 40 40 65535\n" + (RAMP * 65535).astype(">u2").tobytes(), 65535),
        (b"P5 40 40 4095\n" + (RAMP * 4095).astype(">u2").tobytes(), 4095),
    ],
    ids=["png16", "tiff16", "tiff16-mm", "tiff-12-of-16", "tiff-1000", "tiff16-signed", "tiff32", "tiff32-signed",
         "tiff32-mm", "tiff-16-in-32", "pgm16", "pgm12"],
)  # fmt: skip
def test_deep_images_are_scaled_by_their_range(content: bytes, top: int) -> None:
    pixels = decode(content, ImageShape(1, SIDE, SIDE))[0]
    assert np.abs(pixels.astype(float) - RAMP * 255).max() <= 1.01
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert verify_image(content).remarks == ()
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all(), top


def test_a_deep_image_that_comes_out_nearly_black_is_remarked_on() -> None:
    dim = saved(Image.fromarray((RAMP * 4000).astype(np.uint16)), "PNG")
    assert "nearly black" in verify_image(dim).remarks[0]
    assert verify_image(saved(Image.new("I;16", (20, 20)), "PNG")).remarks == ()  # black it is


@pytest.mark.parametrize(
    ("width", "height", "rows", "colour"), [(20, 9000, 3, 2), (20, 90, 89, 2), (31, 40, 0, 0), (31, 40, 20, 0)]
)
def test_a_png_with_fewer_rows_than_it_says_is_damaged(width: int, height: int, rows: int, colour: int) -> None:
    content = png(width, height, rows, colour=colour)
    for look in (verify_image, lambda data: decode(data, 16)):
        with pytest.raises(ImageFault, match=r"has|truncated") as caught:
            look(content)
        assert caught.value.code in ("damaged", "truncated")
    if rows:
        assert f"has {rows} of its {height:,} rows" in caught.value.text
    assert verify_image(png(width, height, height, colour=colour)).size == (width, height)
    assert verify_image(png(width, height, height, value=0, colour=colour)).size == (width, height)  # black


@pytest.mark.parametrize(
    "content", [EPS, b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, len(EPS), 0, 0, 0, 0) + b"\xff\xff" + EPS,
                b"GRIB" + bytes(40), b"BUFR" + bytes(40), b"\x89HDF\r\n\x1a\n" + bytes(40),
                b"\xd7\xcd\xc6\x9a\0\0" + bytes(40)],
    ids=["eps", "eps-binary", "grib", "bufr", "hdf5", "wmf"],
)  # fmt: skip
def test_what_would_start_another_program_is_not_opened(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "check_call", lambda *given, **_: started.append(given))
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: started.append(given))
    for look in (verify_image, lambda data: decode(data, 16), lambda data: open_image(io.BytesIO(data))):
        with pytest.raises(ImageFault, match=r"no image in a format that is opened \(JPEG, PNG"):
            look(content)
    assert started == []


def exif_jpeg(segments: list[bytes]) -> bytes:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8))
    content = saved(image.resize((64, 40), Image.Resampling.BICUBIC), "JPEG", quality=95)
    return content[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + content[2:]


def exif(at: int, orientation: int = 6, after: int = 0) -> list[bytes]:
    """Exif data whose directory stands at a byte, in as many segments as they need."""
    entry = struct.pack("<HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    data = b"II*\0" + struct.pack("<I", at) + bytes(at - 8) + entry + bytes(after)
    return [b"Exif\0\0" + data[i : i + 65000] for i in range(0, len(data), 65000)]


XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize(
    "segments",
    [
        exif(8), exif(8, after=140_000), exif(70_000), exif(64_995), exif(8, 3), exif(140_000, 8),
        [XMP + b"<x/>", *exif(8)], [XMP + b'<x xmlns:tiff="t" tiff:Orientation="6"/>'],
        [XMP + b'<x tiff:Orientation="3"/>', *exif(8, 1)], exif(8) + exif(8, 3),
    ],
    ids=["small", "long", "behind 64 kB", "across 64 kB", "upside down", "behind 128 kB", "behind XMP", "in XMP",
         "in both", "twice"],
)  # fmt: skip
def test_whoever_decodes_an_image_is_turned_alike(segments: list[bytes]) -> None:
    content = exif_jpeg(segments)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert upright is not None
    want = np.asarray(open_image(io.BytesIO(content)))
    assert want.shape[:2] == (upright.height, upright.width)
    shape = ImageShape(3, *want.shape[:2])
    assert np.abs(decode(content, shape).transpose(1, 2, 0).astype(int) - np.asarray(upright)).max() <= 3


def test_pillows_warnings_become_sentences_and_are_never_raw() -> None:
    content = exif_jpeg([exif(70_000)[0]])  # the directory is cut off
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("always")
        with heard_warnings():
            assert verify_image(content).remarks == ("has damaged Exif data; how it is to be turned may be lost",)
    assert raw == []


def test_nothing_of_pillow_reaches_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(exif_jpeg([exif(70_000)[0]]))
    code = (
        "import sys; from fairprune_cli.data.images.pillow import open_image; from PIL import Image\n"
        "Image.MAX_IMAGE_PIXELS = 2000; open_image(sys.argv[1]); print('read')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jpg")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("read\n", "")


def test_an_image_of_too_many_pixels_is_a_sentence_with_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(Image.new("RGB", (40, 40)), "PNG")
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "image_pixels=1500")
    for read in (verify_image, lambda data: open_image(io.BytesIO(data))):
        with pytest.raises(
            ImageFault, match=r"has 1,600 pixels; at most 1,500 are read: .*image_pixels=3000"
        ) as caught:
            read(content)
        assert caught.value.code == "too-large"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow's own bound is a half of what it refuses
    with pytest.raises(ImageFault, match="has 1,600 pixels; at most 1,500 are read"):
        verify_image(content)
    with heard_warnings():
        assert verify_image(saved(Image.new("RGB", (30, 30)), "PNG")).remarks == ("has more than 500 pixels",)


def test_the_option_raises_the_limit_of_pixels_beyond_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "image_pixels=200000000")
    assert verify_image(saved(Image.new("RGB", (40, 40)), "PNG")).size == (40, 40)


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.png", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ImageFault, match=r"1,099,511,627,776 image bytes; at most .*FAIRPRUNE_LIMITS=image_bytes="):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize(("form", "name"), [("QOI", "slow_image_pixels"), ("WEBP", "wide_image_pixels")])
def test_a_form_that_costs_more_has_fewer_pixels(form: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (1, 2, 3)).save(stream, form)
    verify_image(stream.getvalue())
    monkeypatch.setenv("FAIRPRUNE_LIMITS", f"{name}=1599")
    with pytest.raises(ImageFault, match=r"has 1,600 pixels; at most 1,599 are read in this form"):
        verify_image(stream.getvalue())
