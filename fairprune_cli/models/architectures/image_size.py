"""Networks with an entry per place in the image, as transformers have them, are of one image size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError

_PLACES = re.compile(r"(^|\.)(pos_embed|pos_embedding|position_embeddings?|positional_embedding)(\.weight)?$")
_TOKENS = (1, 0, 2)  # that are no places: of the class, and of the distillation


class OtherImageSize(FairpruneError):
    """A checkpoint of an architecture, for images of another size than the architecture is built for."""


def own_size(model: nn.Module) -> int | None:
    """Edge of the images of a network that takes no others, as torchvision and timm tell it; None where they do not."""
    told = getattr(model, "default_cfg", None)
    if isinstance(told, Mapping) and told.get("fixed_input_size"):
        return int(told["input_size"][-1])
    size = getattr(model, "image_size", None)
    return size if isinstance(size, int) else None


def refuse_other_image_size(model: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors with another number of places than the architecture has.

    Args:
        model: the architecture, called `name`; state: tensors by its names.

    Raises:
        OtherImageSize: the message has both sizes, in pixels.
    """
    whole = own_size(model)
    for key, built in model.state_dict().items():
        given = state.get(key)
        if given is None or not _PLACES.search(key) or not given.ndim == built.ndim in (2, 3):
            continue
        here, there = given.shape[-2], built.shape[-2]
        sides = next((sides for extra in _TOKENS if (sides := _sides(here - extra, there - extra))), None)
        if here == there or sides is None or whole is None:
            continue
        one = whole * sides[0] // sides[1]
        raise OtherImageSize(
            f"it is of a {name} for images of {one}x{one} pixels, and {name} is built for {whole}x{whole}: {key} has "
            f"{here} places there, and {there} here",
            hint=f"name a function that builds it for {one} pixels (timm: img_size={one}, torchvision: "
            f"image_size={one}) with --arch package.module:factory",
        )


def _sides(*places: int) -> list[int] | None:
    """Edges of the squares of so many places; None where they are none."""
    edges = [math.isqrt(max(n, 0)) for n in places]
    return edges if all(edge and edge * edge == n for edge, n in zip(edges, places, strict=True)) else None
