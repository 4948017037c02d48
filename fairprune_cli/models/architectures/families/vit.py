"""Vision transformers (Dosovitskiy et al. 2021, arXiv:2010.11929): torchvision's and a small one.

`vit-tiny` is torchvision's VisionTransformer, with its tensor names, for images of 32 to 64 pixels or any other
multiple of 8. It begins with convolutions instead of cut-out patches, which lets it be trained by plain SGD in few
epochs (Xiao et al. 2021, arXiv:2106.14881).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision.models import vit_b_16
from torchvision.models.vision_transformer import ConvStemConfig, Encoder, VisionTransformer

from fairprune_cli.core.errors import FairpruneError


def resampled_positions(embedding: Tensor, tokens: Tensor) -> Tensor:
    """The embedding [1, 1 + g*g, e] of a class token and a square grid, resampled to as many tokens [B, 1 + h*h, e]."""
    if embedding.shape[1] == tokens.shape[1]:
        return embedding
    old, new = (round((n - 1) ** 0.5) for n in (embedding.shape[1], tokens.shape[1]))
    grid = embedding[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


fx.wrap("resampled_positions")


class AnySizeEncoder(Encoder):
    """torchvision's encoder for any number of tokens that make a square."""

    def forward(self, input: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(input + resampled_positions(self.pos_embedding, input))))


class SmallImageViT(VisionTransformer):
    """A vision transformer for square images of any size that its patches divide.

    Args:
        depth: number of blocks; width: of the tokens; heads: per block, of width // heads each; mlp: hidden width.
        num_classes: number of outputs.

    Positions are learned on a grid of 8 x 8 patches of 8 pixels, that of an image of 64, and resampled for others.
    """

    def __init__(self, depth: int, width: int, heads: int, mlp: int, num_classes: int) -> None:
        stem = [ConvStemConfig(width // part, 3, 2) for part in (4, 2, 1)]
        super().__init__(64, 8, depth, heads, width, mlp, num_classes=num_classes, conv_stem_configs=stem)
        # The base class builds an encoder that differs in its forward alone.
        self.encoder.__class__ = AnySizeEncoder

    def _process_input(self, x: Tensor) -> Tensor:
        divisible(x, self.patch_size)
        features: Tensor = self.conv_proj(x)
        return features.flatten(2).transpose(1, 2)


def divisible(images: Tensor, patch: int) -> None:
    """Raise a FairpruneError unless images [B, 3, S, S] are square and S is a multiple of the patch."""
    height, width = images.shape[-2:]
    if height != width or height % patch:
        raise FairpruneError(
            f"images of {height}x{width} pixels do not divide into square grids of {patch}x{patch}",
            hint="set `transform: {size: ...}` of the manifest to a multiple",
        )


fx.wrap("divisible")


def vit_tiny(num_classes: int) -> nn.Module:
    """Patches of 8, 4 blocks of width 96 with 6 heads of 16, hidden width 384: half a million parameters."""
    return SmallImageViT(4, 96, 6, 384, num_classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "vit-tiny": vit_tiny,
    "vit_b_16": lambda num_classes: vit_b_16(num_classes=num_classes),
}

LEARNING_RATES = {"vit-tiny": 0.02, "vit_b_16": 0.02}
"""SGD at 0.1 throws a transformer out of everything it could learn."""
