"""Networks by their activations."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class PReLUNet(nn.Module):
    """A slope per channel, and one for all, as face networks have them."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.PReLU(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1)
        self.relu2 = nn.PReLU()
        self.conv3 = nn.Conv2d(32, 32, 3, 1, 1)
        self.relu3 = nn.PReLU(32)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        x = self.relu3(self.conv3(x)) + x
        return self.fc(x.mean(3).mean(2))


class MaxFeatureMap(nn.Module):
    """LightCNN: twice the channels, split in halves, the larger of the two goes on."""

    class Mfm(nn.Module):
        def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1, type=1):
            super().__init__()
            self.out_channels = out_channels
            if type == 1:
                self.filter = nn.Conv2d(in_channels, 2 * out_channels, kernel_size, stride, padding)
            else:
                self.filter = nn.Linear(in_channels, 2 * out_channels)

        def forward(self, x):
            x = self.filter(x)
            out = torch.split(x, self.out_channels, 1)
            return torch.max(out[0], out[1])

    def __init__(self, num_classes=2):
        super().__init__()
        self.features = nn.Sequential(
            self.Mfm(3, 16, 5, 1, 2), nn.MaxPool2d(2, 2, ceil_mode=True), self.Mfm(16, 24), nn.MaxPool2d(2, 2),
            self.Mfm(24, 32, 1, 1, 0), self.Mfm(32, 32), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.fc1 = self.Mfm(32, 32, type=0)
        self.fc2 = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        x = self.fc1(x)
        x = F.dropout(x, training=self.training)
        return self.fc2(x)


class MaxFeatureMapPlain(nn.Module):
    """The same idea with torch.chunk in one forward and no split of the last layers."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(16, 64, 3, 2, 1), nn.Conv2d(32, 64, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        for conv in (self.c1, self.c2, self.c3):
            a, b = conv(x).chunk(2, dim=1)
            x = torch.maximum(a, b)
        return self.fc(x.mean((2, 3)))


def every_activation(num_classes=2):
    """A convolution before each of torch's activations that keep zero, and of those that do not."""
    layers, width = [], 3
    for make in (
        nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.Tanh,
        nn.Softplus, nn.Sigmoid, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid, nn.Hardshrink, nn.Softshrink,
        nn.Tanhshrink, nn.RReLU,
    ):  # fmt: skip
        layers += [nn.Conv2d(width, 12, 3, 2 if width == 3 else 1, 1), nn.BatchNorm2d(12), make()]
        width = 12
    layers += [nn.Conv2d(12, 12, 1), nn.Threshold(0.1, 20.0)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, num_classes))


class InlineActivations(nn.Module):
    """Written where they are used: clamp, x * sigmoid(x), tanh(softplus), relu(x) ** 2, torch.where, slopes."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 16, 16, 3, 2 if i < 2 else 1, 1) for i in range(8))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        c = self.convs
        x = c[0](x).clamp(min=0)
        x = c[1](x)
        x = x * torch.sigmoid(x)
        x = c[2](x)
        x = x * torch.tanh(F.softplus(x))
        x = F.relu(c[3](x)) ** 2
        x = c[4](x)
        x = torch.where(x > 0, x, 0.1 * x)
        x = torch.clamp(c[5](x), -1.0, 1.0)
        x = c[6](x)
        x = x * F.relu6(x + 3.0) / 6.0
        x = F.leaky_relu(c[7](x), negative_slope=0.1)
        x = 0.5 * x * (1.0 + torch.erf(x / 1.41421))
        return self.fc(x.mean((2, 3)))


class ConcatReLU(nn.Module):
    """CReLU: the map and its negative side by side."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.conv2 = nn.Conv2d(32, 24, 3, 2, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(torch.cat([x, -x], 1))
        x = self.conv2(x)
        x = torch.cat((F.relu(x), F.relu(-x)), dim=1)
        return self.fc(x.mean((2, 3)))


class GatedLinear(nn.Module):
    """F.glu over channels, which halves them."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a = nn.Conv2d(3, 32, 3, 2, 1)
        self.b = nn.Conv2d(16, 64, 3, 2, 1)
        self.c = nn.Conv2d(32, 32, 3, 1, 1)
        self.out = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.glu(self.a(x), dim=1)
        x = F.glu(self.b(x), dim=1)
        return self.out(F.relu(self.c(x)).mean((2, 3)))


class LearnedScale(nn.Module):
    """Own parameters: a scale and an offset for all, one per channel, a temperature."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.zeros(1))
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1)
        self.channel_scale = nn.Parameter(torch.ones(1, 32, 1, 1))
        self.channel_bias = nn.Parameter(torch.zeros(32))
        self.temperature = nn.Parameter(torch.tensor([2.0]))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x)) * self.scale + self.offset
        x = self.conv2(x) * self.channel_scale + self.channel_bias.view(1, -1, 1, 1)
        return self.fc(F.relu(x).mean((2, 3))) / self.temperature
