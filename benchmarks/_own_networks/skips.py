"""Networks by the ways around their layers."""

from __future__ import annotations

import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


class BasicBlock(nn.Module):
    """CIFAR's block: the shortcut is empty, or a convolution and a norm."""

    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != self.expansion * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, self.expansion * planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(self.expansion * planes),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class CifarResNet(nn.Module):
    """The ResNet of the best known CIFAR repository, pooled by F.avg_pool2d(x, 8), flattened by view."""

    def __init__(self, block=BasicBlock, num_blocks=(1, 1, 1), num_classes=2):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._make_layer(block, 16, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(block, 32, num_blocks[1], stride=2)
        self.layer3 = self._make_layer(block, 64, num_blocks[2], stride=2)
        self.linear = nn.Linear(64 * block.expansion, num_classes)

    def _make_layer(self, block, planes, num_blocks, stride):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for stride in strides:
            layers.append(block(self.in_planes, planes, stride))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, 8)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class ShortcutA(nn.Module):
    """Option A of He et al.: the shortcut takes every other place and pads channels with zeros, in a lambda module."""

    class Lambda(nn.Module):
        def __init__(self, lambd):
            super().__init__()
            self.lambd = lambd

        def forward(self, x):
            return self.lambd(x)

    class Block(nn.Module):
        def __init__(self, i, o, stride, Lambda):
            super().__init__()
            self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(o)
            self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(o)
            self.shortcut = nn.Sequential()
            if i != o:
                self.shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, o // 4, o // 4), "constant", 0))

        def forward(self, x):
            out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            return F.relu(out + self.shortcut(x))

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1)
        self.blocks = nn.Sequential(
            self.Block(16, 16, 1, self.Lambda), self.Block(16, 32, 2, self.Lambda), self.Block(32, 64, 2, self.Lambda)
        )
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.blocks(self.conv(x)).mean((2, 3)))


class DenseNet(nn.Module):
    """Dense connections by concatenating what is there and what is new; a transition halves them."""

    def __init__(self, num_classes=2, growth=8):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        width = 16
        self.blocks = nn.ModuleList()
        for _ in range(3):
            self.blocks.append(nn.Sequential(
                nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4 * growth, 1, bias=False),
                nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False),
            ))  # fmt: skip
            width += growth
        self.trans = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 24, 1), nn.AvgPool2d(2))
        self.norm = nn.BatchNorm2d(24)
        self.classifier = nn.Linear(24, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = torch.cat([x, block(x)], 1)
        x = F.relu(self.norm(self.trans(x)))
        return self.classifier(x.mean((2, 3)))


class UNetClassifier(nn.Module):
    """A U-Net with skips, interpolation to the size of another map, and a classifier on the way up and down."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.inc, self.down1, self.down2 = self.double(3, 12), self.double(12, 24), self.double(24, 24)
        self.up1, self.up2 = self.double(48, 12), self.double(24, 12)
        self.outc = nn.Conv2d(12, 4, 1)
        self.head = nn.Linear(24 + 4, num_classes)

    @staticmethod
    def double(i, o):
        return nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.Conv2d(o, o, 3, padding=1),
            nn.BatchNorm2d(o), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        y = F.interpolate(x3, size=x2.shape[2:], mode="bilinear", align_corners=True)
        y = self.up1(torch.cat([x2, y], dim=1))
        y = F.interpolate(y, size=(x1.size(2), x1.size(3)))
        y = self.outc(self.up2(torch.cat([x1, y], dim=1)))
        return self.head(torch.cat([x3.mean((2, 3)), y.amax((2, 3))], 1))


class FeaturePyramid(nn.Module):
    """Lateral 1x1 convolutions, upsampled sums, and the mean of the levels' heads."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c2, self.c3, self.c4 = (nn.Conv2d(i, o, 3, 2, 1) for i, o in ((3, 16), (16, 24), (24, 32)))
        self.lateral = nn.ModuleDict(
            {"p2": nn.Conv2d(16, 16, 1), "p3": nn.Conv2d(24, 16, 1), "p4": nn.Conv2d(32, 16, 1)}
        )
        self.smooth = nn.ModuleDict({k: nn.Conv2d(16, 16, 3, padding=1) for k in self.lateral})
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        c2 = F.relu(self.c2(x))
        c3 = F.relu(self.c3(c2))
        c4 = F.relu(self.c4(c3))
        p4 = self.lateral["p4"](c4)
        p3 = self.lateral["p3"](c3) + F.interpolate(p4, scale_factor=2, mode="nearest")
        p2 = self.lateral["p2"](c2) + F.interpolate(p3, scale_factor=2, mode="nearest")
        maps = {"p2": p2, "p3": p3, "p4": p4}
        pooled = [self.smooth[key](value).mean((2, 3)) for key, value in maps.items()]
        return self.fc(sum(pooled) / len(pooled))


class Inception(nn.Module):
    """Branches of different widths, joined; then a list of branches summed by sum([...])."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.b1 = nn.Conv2d(16, 8, 1)
        self.b2 = nn.Sequential(nn.Conv2d(16, 12, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1))
        self.b3 = nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 5, padding=2))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(16, 8, 1))
        self.paths = nn.ModuleList([nn.Conv2d(40, 24, k, padding=k // 2) for k in (1, 3, 5)])
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        x = torch.cat([b(x) for b in [self.b1, self.b2, self.b3, self.b4]], dim=1)
        x = F.relu(sum([p(x) for p in self.paths]))
        return self.fc(x.mean((2, 3)))


class StochasticDepth(nn.Module):
    """Whole blocks are left out by chance in training, written by hand with python's random."""

    def __init__(self, num_classes=2, p=0.8):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1)) for _ in range(3)
        )
        self.p = p
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            if self.training and random.random() > self.p:
                continue
            x = F.relu(x + (layer(x) if self.training else self.p * layer(x)))
        return self.fc(x.mean((2, 3)))


class DropPathByMask(nn.Module):
    """drop_path as timm has it: a mask per image of shape (B, 1, 1, 1), divided by what is kept."""

    class DropPath(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.drop_prob = p

        def forward(self, x):
            if self.drop_prob == 0.0 or not self.training:
                return x
            keep_prob = 1 - self.drop_prob
            shape = (x.shape[0],) + (1,) * (x.ndim - 1)
            random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)
            random_tensor.floor_()
            return x.div(keep_prob) * random_tensor

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 32, 1), nn.GELU(), nn.Conv2d(32, 16, 1)) for _ in range(2)
        )
        self.drops = nn.ModuleList([self.DropPath(0.0), self.DropPath(0.2)])
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for b, d in zip(self.blocks, self.drops):
            x = x + d(b(x))
        return self.fc(x.mean((2, 3)))


class Checkpointed(nn.Module):
    """Gradient checkpointing of each stage, to save memory."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.s1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.s2 = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)
        self.use_checkpoint = True

    def forward(self, x):
        for stage in (self.s1, self.s2):
            x = checkpoint(stage, x, use_reentrant=False) if self.use_checkpoint else stage(x)
        return self.fc(x.mean((2, 3)))


class CheckpointedInTraining(Checkpointed):
    """Only where it trains and a gradient is wanted."""

    def forward(self, x):
        for stage in (self.s1, self.s2):
            if self.training and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
        return self.fc(x.mean((2, 3)))


class Reversible(nn.Module):
    """RevNet: two halves of the channels that change each other in turn."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.f = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.g = nn.ModuleList(nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU(), nn.Conv2d(32, 16, 1)) for _ in range(2))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x1, x2 = torch.chunk(self.stem(x), 2, dim=1)
        for f, g in zip(self.f, self.g, strict=True):
            x1 = x1 + F.relu(f(x2))
            x2 = x2 + g(x1)
        return self.fc(F.relu(torch.cat([x1, x2], dim=1)).mean((2, 3)))


class MultiScaleInput(nn.Module):
    """The image at three sizes through one trunk, features averaged by torch.stack."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        views = [x, F.avg_pool2d(x, 2), F.interpolate(x, scale_factor=0.75, mode="bilinear", align_corners=False)]
        feats = torch.stack([self.trunk(v).mean((2, 3)) for v in views], dim=0)
        return self.fc(feats.mean(0))
