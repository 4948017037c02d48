"""Decoding of every kind of file, against torchvision's own transforms and Pillow, and of broken ones."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional

from fairprune_cli.data.images import decode as module
from fairprune_cli.data.images.decode import decode, decode_file, decoder_version, jpeg_decoder, jpeg_shape
from fairprune_cli.data.images.pillow import ImageFault, verify_image
from fairprune_cli.data.manifest.image_shape import ImageShape

pytestmark = pytest.mark.filterwarnings("error::DeprecationWarning")  # a decoder that is going to be taken away

SIZE = 16


def smooth(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft gradients, which JPEG and WebP keep to within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [40 + 170 * x / width, 40 + 170 * y / height, 200 - 100 * (x + y) / (width + height)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def expected(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """The centre square, resized as torchvision does it."""
    pixels = functional.pil_to_tensor(image.convert("RGB"))
    side = min(pixels.shape[1:])
    square = functional.center_crop(pixels, [side, side])
    return functional.resize(square, [size, size], antialias=True).numpy()


@pytest.mark.parametrize("shape", [(40, 40), (37, 50), (50, 37), (63, 20), (16, 16), (21, 16), (10, 12)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_it_is_torchvisions_crop_and_resize_to_the_bit(shape: tuple[int, int], kind: str) -> None:
    data = saved(smooth(*shape), kind)
    assert np.array_equal(decode(data, SIZE), expected(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(mode: str, progressive: bool) -> None:
    image = smooth(40, 44, mode)
    data = saved(image, "JPEG", quality=95, progressive=progressive)
    assert np.abs(decode(data, SIZE).astype(int) - expected(image)).max() <= 6


def test_without_torchcodec_the_pixels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jpeg_decoder() is not None
    assert decoder_version().startswith("torchcodec ")
    noise = np.random.default_rng(0).integers(0, 256, (52, 41, 3), dtype=np.uint8)
    files = [
        saved(Image.fromarray(noise).convert(mode), "JPEG", quality=quality, subsampling=subsampling)
        for mode, quality, subsampling in (("RGB", 85, 2), ("RGB", 95, 0), ("L", 85, 2))
    ]
    fast = [decode(data, SIZE) for data in files]
    monkeypatch.setattr(module, "jpeg_decoder", lambda: None)
    assert decoder_version() == "Pillow"
    for data, pixels in zip(files, fast, strict=True):
        assert np.array_equal(decode(data, SIZE), pixels)


def test_large_jpegs_are_decoded_at_a_fraction_and_look_the_same() -> None:
    image = smooth(400, 300)
    data = saved(image, "JPEG", quality=95)
    assert np.abs(decode(data, SIZE).astype(int) - expected(image)).max() <= 4


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "WEBP", {"lossless": True}), ("RGB", "WEBP", {"quality": 95}), ("L", "PNG", {}), ("RGB", "BMP", {}),
        ("RGBA", "PNG", {}), ("P", "PNG", {}), ("P", "GIF", {}), ("LA", "PNG", {}), ("CMYK", "TIFF", {}),
        ("RGB", "PPM", {}), ("RGB", "PNG", {"interlace": 1}),
    ],
)  # fmt: skip
def test_other_kinds(mode: str, kind: str, options: dict[str, object]) -> None:
    image = smooth(40, 44, "L").convert(mode) if mode in ("P", "LA") else smooth(40, 44, mode)
    data = saved(image, kind, **options)
    assert np.abs(decode(data, SIZE).astype(int) - expected(image)).max() <= 8


def test_sixteen_bits_keep_their_upper_eight() -> None:
    grey = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    data = saved(Image.fromarray(grey), "PNG")
    reference = expected(Image.fromarray((grey >> 8).astype(np.uint8)))
    assert np.array_equal(decode(data, SIZE), reference)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_undone(orientation: int, kind: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = saved(smooth(44, 30), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright is not None
    assert np.abs(decode(data, SIZE).astype(int) - expected(upright)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_cut_anywhere_is_a_fault_for_run_and_check_alike(kind: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    data = saved(noise, kind)
    for end in np.linspace(0, len(data) - 60, 25).astype(int):
        for look in (lambda part: decode(part, SIZE), verify_image):
            with pytest.raises(ImageFault) as caught:
                look(data[:end])
            assert caught.value.code in ("truncated", "unreadable")


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_is_a_fault_or_an_image_never_an_exception(kind: str, changes: list[tuple[float, int]]) -> None:
    content = bytearray(saved(smooth(24, 20), kind))
    for place, value in changes:
        content[min(int(place * len(content)), len(content) - 1)] = value
    pixels, code = np.zeros((3, SIZE, SIZE), dtype=np.uint8), ""
    try:
        pixels = decode(bytes(content), SIZE)
    except ImageFault as fault:
        code = fault.code
    assert code in ("", "unreadable", "truncated", "damaged", "too-small", "too-large")
    assert pixels.shape == (3, SIZE, SIZE)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(("data", "code"), [(b"", "unreadable"), (b"\xff\xd8", "unreadable"), (b"text", "unreadable")])
def test_no_image(data: bytes, code: str) -> None:
    with pytest.raises(ImageFault) as caught:
        decode(data, SIZE)
    assert caught.value.code == code


def test_too_small_and_missing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for kind in ("PNG", "JPEG"):
        with pytest.raises(ImageFault, match="is 7x30 pixels"):
            decode(saved(smooth(7, 30), kind), SIZE)
    with pytest.raises(ImageFault, match="does not exist"):
        decode_file(str(tmp_path / "gone.jpg"), SIZE)
    with pytest.raises(ImageFault, match="cannot be read"):
        decode_file(str(tmp_path), SIZE)


@pytest.mark.parametrize(("mode", "components"), [("RGB", 3), ("L", 1), ("CMYK", 4)])
def test_jpeg_shape(mode: str, components: int) -> None:
    for progressive in (False, True):
        data = saved(smooth(31, 17, mode), "JPEG", progressive=progressive, comment=b"c" * 300)
        assert jpeg_shape(data) == (31, 17, components)
    assert jpeg_shape(saved(smooth(31, 17), "PNG")) is None
    # A segment of length 0 must not hold it up.
    assert jpeg_shape(b"\xff\xd8\xff\xe0" + struct.pack(">H", 0) + b"\0" * 40) is None


def test_decoding_does_not_change_the_threads_of_torch() -> None:
    before = torch.get_num_threads()
    decode(saved(smooth(40, 40), "JPEG"), SIZE)
    assert torch.get_num_threads() == before


# --- grey, and sides of their own ------------------------------------------------------------------------------------


def grey(image: Image.Image) -> np.ndarray:
    """As Pillow makes it: the oracle of what a grey network is fed."""
    return np.asarray(image.convert("L"))[None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40), st.sampled_from([0, 1, 2]), st.booleans())
def test_grey_is_pillows_to_the_bit_whoever_decodes(
    seed: int, height: int, width: int, subsampling: int, fast: bool
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", quality=90, subsampling=subsampling)
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(module, "jpeg_decoder", lambda: None)
        found = decode(data, ImageShape(1, height, width))
    assert np.array_equal(found, grey(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"])
def test_grey_of_other_kinds(mode: str) -> None:
    image = smooth(24, 18)
    if mode == "I;16":
        data = saved(Image.fromarray(grey(image)[0].astype(np.uint16) * 256), "PNG")
        wanted = grey(image)
    else:
        image = image.convert(mode)
        data = saved(image, "PNG")
        wanted = grey(image.convert("RGB"))
    found = decode(data, ImageShape(1, 18, 24))
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


def test_grey_is_made_before_it_is_scaled() -> None:
    data = saved(smooth(50, 37), "PNG")
    pixels = torch.from_numpy(grey(Image.open(io.BytesIO(data))).copy())
    square = functional.center_crop(pixels, [37, 37])
    wanted = functional.resize(square, [SIZE, SIZE], antialias=True).numpy()
    assert np.array_equal(decode(data, ImageShape(1, SIZE, SIZE)), wanted)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(60, 96, slice(6, 54), slice(0, 96)), (48, 100, slice(0, 48), slice(2, 98)), (48, 96, slice(0, 48), slice(0, 96))],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_oblong_input_shows_the_largest_part_around_the_centre(
    channels: int, height: int, width: int, rows: slice, columns: slice
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = grey(image) if channels == 1 else pixels.transpose(2, 0, 1)
    assert np.array_equal(decode(saved(image, "PNG"), ImageShape(channels, 48, 96)), whole[:, rows, columns])


def test_an_oblong_input_is_scaled_by_one_factor() -> None:
    data = saved(smooth(130, 61), "PNG")
    part = functional.pil_to_tensor(Image.open(io.BytesIO(data)))[:, :, 4:126]  # 61 x 122 of 61 x 130
    wanted = functional.resize(part, [24, 48], antialias=True).numpy()
    assert np.array_equal(decode(data, ImageShape(3, 24, 48)), wanted)


def test_large_jpegs_keep_enough_pixels_for_the_longer_side() -> None:
    pixels = np.zeros((400, 400, 3), dtype=np.uint8)
    pixels[:, 150:] = 255  # an edge, which a fraction that is as high as the input, and half as wide, would blur
    data = saved(Image.fromarray(pixels), "JPEG", quality=95)
    part = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[:, 183:216]
    wanted = functional.resize(part, [8, 96], antialias=True).numpy()
    assert np.abs(decode(data, ImageShape(3, 8, 96)).astype(int) - wanted).max() <= 40
