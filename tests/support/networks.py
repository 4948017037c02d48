"""Small members of every family of architectures, with statistics and scales unlike those of fresh ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from fairprune_cli.models import architectures
from fairprune_cli.models.architectures.attention import with_free_heads


class FlattensMaps(nn.Module):
    """As VGG: every channel of the last map becomes several inputs of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3)),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(12 * 6, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class Inception(nn.Module):
    """Branches that are concatenated, one of them twice, then summed with a grouped branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1, bias=False)
        self.a, self.b = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 10, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(22)
        self.grouped = nn.Conv2d(22, 44, 3, padding=1, groups=11)
        self.mixed, self.head = nn.Conv2d(44, 8, 1), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        a = self.a(x).relu()
        y = self.norm(torch.cat([a, self.b(x), a], 1)).relu()
        y = self.mixed(self.grouped(y).relu()) + x
        return self.head(y.relu().mean((2, 3)))


def _efficientnet(classes: int) -> nn.Module:
    config = partial(MBConvConfig, width_mult=1.0, depth_mult=1.0)
    return EfficientNet([config(1, 3, 1, 16, 8, 1), config(4, 3, 2, 8, 16, 2)], 0.0, num_classes=classes)


def _mobilenet_v3(classes: int) -> nn.Module:
    config = partial(InvertedResidualConfig, dilation=1, width_mult=1.0)
    blocks = [config(8, 3, 16, 8, True, "RE", 2), config(8, 5, 24, 8, True, "HS", 1)]
    return MobileNetV3(blocks, 32, num_classes=classes)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet10-w16": lambda k: architectures.build("resnet10-w16", k),
    "bottlenecks": lambda k: ResNet(Bottleneck, [2, 1, 1, 1], num_classes=k, width_per_group=8),
    "resnext": lambda k: ResNet(Bottleneck, [1, 1, 1, 1], num_classes=k, groups=4, width_per_group=2),
    "mobilenet_v2": lambda k: architectures.build("mobilenet_v2", k),
    "mobilenet_v3": _mobilenet_v3,
    "efficientnet": _efficientnet,
    "densenet": lambda k: DenseNet(6, (2, 3), 8, bn_size=2, num_classes=k),
    "regnet": lambda k: RegNet(BlockParams.from_init_params(4, 16, 8.0, 2.0, 8, se_ratio=0.25), k),
    "shufflenet": lambda k: ShuffleNetV2([1, 1, 1], [8, 16, 24, 32, 40], k),
    "flattens": lambda _: FlattensMaps(),
    "inception": lambda _: Inception(),
    "convnext": lambda k: ConvNeXt([CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)], num_classes=k),
    "vit": lambda k: VisionTransformer(32, 8, 2, 4, 32, 48, num_classes=k, representation_size=24),
    "vit-tiny": lambda k: architectures.build("vit-tiny", k),
    "swin": lambda k: SwinTransformer([4, 4], 16, [1, 1], [2, 2], [2, 2], num_classes=k),
}
EXACT = [name for name in NETWORKS if name not in ("convnext", "vit-tiny")]  # whose streams layer norms read


def network(name: str, seed: int = 0) -> nn.Module:
    """In eval mode, three classes; norms are not the identity, as after training."""
    torch.manual_seed(seed)
    return unlike_fresh(with_free_heads(NETWORKS[name](3)), seed)


def unlike_fresh(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: torch.Tensor | None, low: float, high: float) -> None:
        if tensor is not None:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                draw(module.running_mean, -0.5, 0.5)
                draw(module.running_var, 0.5, 2.0)
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                draw(module.weight, 0.2, 1.5)
                draw(module.bias, -0.5, 0.5)
            if hasattr(module, "layer_scale"):
                draw(module.layer_scale, 0.2, 1.0)
            if isinstance(module, nn.Linear) and not module.weight.any():
                draw(module.weight, -0.2, 0.2)  # torchvision's vision transformers begin with a head of zeros
    return model.eval()


def shortcut(channels: int = 3) -> nn.Module:
    """A small residual network's shortcut, channels-last, with a head for two classes."""
    layers = nn.Conv2d(channels, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 2)).to(memory_format=torch.channels_last)
