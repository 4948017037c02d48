"""MobileNetV2 and V3 (Sandler et al. 2018, arXiv:1801.04381; Howard et al. 2019, arXiv:1905.02244), torchvision's."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "mobilenet_v2": lambda num_classes: mobilenet_v2(num_classes=num_classes),
    "mobilenet_v3_small": lambda num_classes: mobilenet_v3_small(num_classes=num_classes),
    "mobilenet_v3_large": lambda num_classes: mobilenet_v3_large(num_classes=num_classes),
}
