"""Residual networks (He et al. 2016, arXiv:1512.03385), wide and grouped ones, torchvision's and two small ones.

All share torchvision's tensor names, so a checkpoint of one can be read wherever torchvision's is.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision.models import resnet18, resnet34, resnet50, resnext50_32x4d, wide_resnet50_2
from torchvision.models.resnet import BasicBlock, ResNet


def resnet10(num_classes: int) -> nn.Module:
    """One basic block per stage, widths 64 to 512: 4.9 million parameters."""
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)


class SmallImageResNet(ResNet):
    """A ResNet of basic blocks for images of about 32 to 64 pixels.

    The stem is a 3x3 convolution with stride 2 and no pooling, so that the first stage still sees half the
    image's resolution; torchvision's stem would leave a quarter.

    Args:
        blocks: number of basic blocks in each of the four stages.
        width: channels of the first stage; each later stage doubles them.
        num_classes: number of outputs.
    """

    def __init__(self, blocks: tuple[int, int, int, int], width: int, num_classes: int) -> None:
        # ResNet's own constructor fixes the widths, so only its parts are used: block builder and forward.
        nn.Module.__init__(self)
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        self.layer1 = self._make_layer(BasicBlock, width, blocks[0])
        self.layer2 = self._make_layer(BasicBlock, 2 * width, blocks[1], stride=2)
        self.layer3 = self._make_layer(BasicBlock, 4 * width, blocks[2], stride=2)
        self.layer4 = self._make_layer(BasicBlock, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet10_w16(num_classes: int) -> nn.Module:
    """`resnet10` with a quarter of the widths and the stem for small images: 0.3 million parameters."""
    return SmallImageResNet((1, 1, 1, 1), 16, num_classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet10": resnet10,
    "resnet10-w16": resnet10_w16,
    "resnet18": lambda num_classes: resnet18(num_classes=num_classes),
    "resnet34": lambda num_classes: resnet34(num_classes=num_classes),
    "resnet50": lambda num_classes: resnet50(num_classes=num_classes),
    "wide_resnet50_2": lambda num_classes: wide_resnet50_2(num_classes=num_classes),
    "resnext50_32x4d": lambda num_classes: resnext50_32x4d(num_classes=num_classes),
}
