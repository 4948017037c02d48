"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), torchvision's."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision.models import mobilenet_v2

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "mobilenet_v2": lambda num_classes: mobilenet_v2(num_classes=num_classes),
}
