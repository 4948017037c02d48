"""Pictures of the images that a group lost through pruning: right in the dense model, wrong in the other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairprune_cli.audit import changed_images
from fairprune_cli.audit.figures import Example, Examples

if TYPE_CHECKING:
    from fairprune_cli.audit.counts import NamedGroups

SIDE = 96  # largest side of an embedded picture, in pixels


class Pictures(changed_images.Images, Protocol):
    """Where the pictures come from: uint8 [C, H, W] by row, and the rows' file names."""

    def pixels_of(self, row: int) -> np.ndarray: ...


def lost_examples(
    changed: changed_images.ChangedImages, groupings: Sequence[NamedGroups], most: int, images: Pictures,
    classes: Sequence[str],
) -> Examples:  # fmt: skip
    """At most `most` of each group's lost images with their pictures; the dense model's class is the true one."""
    lost: dict[tuple[str, str, str], tuple[Example, ...]] = {}
    pictures: dict[str, str] = {}
    for model in changed.found:
        for attribute, group, found in changed.by_group(model, groupings, images.groups, most, lost=True):
            shown = []
            for image in found:
                row = int(image["row"])
                file = str(images.manifest.files[row])
                pictures.setdefault(file, picture(images.pixels_of(row)))
                label, predicted = (classes[image[key]] for key in ("label", "predicted"))
                shown.append(Example(file, label, predicted, float(image["before"]), float(image["after"])))
            lost[model, attribute, group] = tuple(shown)
    return Examples(most, str(images.manifest.root), lost, pictures)


def picture(pixels: np.ndarray) -> str:
    """A data URI of the image, uint8 [C, H, W], at most `SIDE` pixels a side."""
    from PIL import Image

    from fairprune_cli.data.images.pillow import data_uri
    from fairprune_cli.data.manifest.image_shape import ImageShape

    image = Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))
    shape = ImageShape(len(pixels), image.height, image.width)
    if max(image.size) > SIDE:
        shape = shape.within(SIDE)
        image = image.resize((shape.width, shape.height), Image.Resampling.LANCZOS)
    return data_uri(image)
