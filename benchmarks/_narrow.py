"""Networks with the layers of torchvision's and a quarter of their widths: the same operators in less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vision_transformer import VisionTransformer

DIVISOR = 4


class NarrowResNet(ResNet):
    """A ResNet of these blocks per stage."""

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], num_classes: int) -> None:
        super().__init__(block, list(layers), num_classes)
        stem = 64 // DIVISOR
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem)
        self.fc = nn.Linear(512 // DIVISOR * block.expansion, num_classes)

    def _make_layer(self, block: Any, planes: int, *args: Any, **named: Any) -> nn.Sequential:
        if planes == 64:  # the first stage follows the stem
            self.inplanes //= DIVISOR
        return super()._make_layer(block, planes // DIVISOR, *args, **named)


def resnet18(num_classes: int) -> nn.Module:
    return NarrowResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet50(num_classes: int) -> nn.Module:
    return NarrowResNet(Bottleneck, (3, 4, 6, 3), num_classes)


def vit_b_16(num_classes: int) -> nn.Module:
    """For images of 32 pixels."""
    return VisionTransformer(32, 16, 12, 12, 768 // DIVISOR, 3072 // DIVISOR, num_classes=num_classes)


NAMES = ("resnet18", "resnet50", "vit_b_16")
