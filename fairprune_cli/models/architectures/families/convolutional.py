"""Other convolutional networks of torchvision, a member of each family: any other member works the same way."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fairprune_cli.models.architectures.torchvision_models import build_torchvision

_NAMES = (
    "vgg11_bn", "densenet121", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x0_5", "swin_t",
)  # fmt: skip


def _builder(name: str) -> Callable[[int], nn.Module]:
    return lambda num_classes: build_torchvision(name, num_classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {name: _builder(name) for name in _NAMES}
