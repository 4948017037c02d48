"""Shapes of images and the transform that names them, as manifests, model files and flags write them."""

from __future__ import annotations

import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape, parse_size
from fairprune_cli.data.manifest.transform import Transform

COLOUR = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_a_number_is_the_side_of_square_colour_images() -> None:
    assert ImageShape.of(40) == ImageShape(3, 40, 40)
    assert ImageShape.of(ImageShape(1, 8, 9)) == ImageShape(1, 8, 9)


def test_words() -> None:
    assert str(ImageShape(3, 64, 64)) == "images of 64x64 pixels"
    assert str(ImageShape(1, 48, 96)) == "grey images of 48x96 pixels"
    assert str(ImageShape(4, 8, 8)) == "images of 4 channels and 8x8 pixels"


@pytest.mark.parametrize(
    ("shape", "image", "part"),
    [
        (ImageShape(3, 16, 16), (30, 50), (30, 30)), (ImageShape(3, 16, 16), (50, 30), (30, 30)),
        (ImageShape(1, 48, 96), (60, 110), (55, 110)), (ImageShape(1, 48, 96), (60, 200), (60, 120)),
        (ImageShape(3, 30, 10), (90, 90), (90, 30)), (ImageShape(3, 30, 10), (90, 12), (36, 12)),
    ],
)  # fmt: skip
def test_the_largest_part_touches_two_borders(shape: ImageShape, image: tuple[int, int], part: tuple[int, int]) -> None:
    assert shape.largest_part(*image) == part


def test_within_keeps_the_proportions() -> None:
    assert ImageShape(1, 48, 96).within(56) == ImageShape(1, 28, 56)
    assert ImageShape(3, 4000, 8).within(56) == ImageShape(3, 56, 1)


@pytest.mark.parametrize(
    ("text", "size"), [("64", 64), ("48x96", (48, 96)), (" 48 X 96 ", (48, 96)), ("32x32", 32), ("4096", 4096)]
)
def test_sizes_of_flags(text: str, size: int | tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "7", "4097", "8x7", "64x", "x64", "64x64x3", "6.4", "-64", "sixty", "64,64"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(FairpruneError, match="is no size of an image") as caught:
        parse_size(text)
    assert (caught.value.where, caught.value.code) == ("--size", 2)


def test_a_transform_writes_what_it_was_given() -> None:
    square = Transform(64, *COLOUR)
    assert square.to_dict() == {"size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    assert Transform((64, 64), *COLOUR) == square
    grey = Transform((48, 96), (0.5,), (0.25,))
    assert grey.to_dict() == {"size": [48, 96], "mean": [0.5], "std": [0.25]}
    assert grey.shape == ImageShape(1, 48, 96)
    for transform in (square, grey):
        assert Transform.from_dict(transform.to_dict()) == transform
