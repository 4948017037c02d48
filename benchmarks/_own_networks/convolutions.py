"""Networks by the form of their convolutions."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class MobileBlock(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        self.use_res_connect = s == 1 and i == o
        h = i * t
        self.conv = nn.Sequential(
            nn.Conv2d(i, h, 1, 1, 0, bias=False), nn.BatchNorm2d(h), nn.ReLU6(inplace=True),
            nn.Conv2d(h, h, 3, s, 1, groups=h, bias=False), nn.BatchNorm2d(h), nn.ReLU6(inplace=True),
            nn.Conv2d(h, o, 1, 1, 0, bias=False), nn.BatchNorm2d(o),
        )  # fmt: skip

    def forward(self, x):
        if self.use_res_connect:
            return x + self.conv(x)
        return self.conv(x)


class InvertedResidual(nn.Module):
    """MobileNetV2 in small, from a table of settings."""

    def __init__(self, num_classes=2):
        super().__init__()
        features, width = [nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6())], 16
        for t, c, n, s in [(2, 16, 1, 1), (4, 24, 2, 2)]:
            for i in range(n):
                features.append(MobileBlock(width, c, s if i == 0 else 1, t))
                width = c
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, num_classes))

    def forward(self, x):
        x = self.features(x)
        x = x.mean(3).mean(2)
        return self.classifier(x)


class DepthMultiplier(nn.Module):
    """Depthwise convolutions that give two channels for each, as Xception's and TensorFlow's can."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.dw = nn.Conv2d(16, 32, 3, 1, 1, groups=16)
        self.pw = nn.Conv2d(32, 24, 1)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.fc(F.relu(self.pw(F.relu(self.dw(x)))).mean((2, 3)))


class ResNeXt(nn.Module):
    """Grouped convolutions of four channels each."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.reduce = nn.ModuleList(nn.Conv2d(16, 32, 1, bias=False) for _ in range(2))
        self.grouped = nn.ModuleList(nn.Conv2d(32, 32, 3, 1, 1, groups=8, bias=False) for _ in range(2))
        self.norm = nn.ModuleList(nn.BatchNorm2d(32) for _ in range(2))
        self.expand = nn.ModuleList(nn.Conv2d(32, 16, 1, bias=False) for _ in range(2))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for i in range(2):
            y = F.relu(self.reduce[i](x))
            y = F.relu(self.norm[i](self.grouped[i](y)))
            x = F.relu(x + self.expand[i](y))
        return self.fc(x.mean((2, 3)))


def channel_shuffle(x, groups):
    batchsize, num_channels, height, width = x.data.size()
    channels_per_group = num_channels // groups
    x = x.view(batchsize, groups, channels_per_group, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batchsize, -1, height, width)


class ShuffleNet(nn.Module):
    """ShuffleNetV2's unit: chunk, a branch for one half, concatenate, shuffle."""

    class Unit(nn.Module):
        def __init__(self, c):
            super().__init__()
            h = c // 2
            self.branch2 = nn.Sequential(
                nn.Conv2d(h, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU(inplace=True),
                nn.Conv2d(h, h, 3, 1, 1, groups=h, bias=False), nn.BatchNorm2d(h),
                nn.Conv2d(h, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU(inplace=True),
            )  # fmt: skip

        def forward(self, x):
            x1, x2 = x.chunk(2, dim=1)
            return channel_shuffle(torch.cat((x1, self.branch2(x2)), dim=1), 2)

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.stage = nn.Sequential(self.Unit(24), self.Unit(24))
        self.conv5 = nn.Sequential(nn.Conv2d(24, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.conv5(self.stage(self.conv1(x))).mean([2, 3]))


class GroupedShuffle(nn.Module):
    """ShuffleNetV1: grouped 1x1 convolutions and nn.ChannelShuffle between them."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 1, groups=3),
            nn.BatchNorm2d(24), nn.ReLU(), nn.ChannelShuffle(3), nn.Conv2d(24, 48, 1, groups=3), nn.ReLU(),
            nn.Conv2d(48, 48, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        return self.fc(self.net(x).mean((2, 3)))


class Res2Net(nn.Module):
    """The channels split into four; each part but the first is convolved with the one before added."""

    class Block(nn.Module):
        def __init__(self, c, scale=4):
            super().__init__()
            self.width = c // scale
            self.conv1 = nn.Conv2d(c, c, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(c)
            self.nums = scale - 1
            self.convs = nn.ModuleList([nn.Conv2d(self.width, self.width, 3, 1, 1) for _ in range(self.nums)])
            self.bns = nn.ModuleList([nn.BatchNorm2d(self.width) for _ in range(self.nums)])
            self.conv3 = nn.Conv2d(c, c, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(c)

        def forward(self, x):
            residual = x
            out = F.relu(self.bn1(self.conv1(x)))
            spx = torch.split(out, self.width, 1)
            sp = spx[0]
            for i in range(self.nums):
                if i > 0:
                    sp = sp + spx[i]
                sp = F.relu(self.bns[i](self.convs[i](sp)))
                out = sp if i == 0 else torch.cat((out, sp), 1)
            out = torch.cat((out, spx[self.nums]), 1)
            return F.relu(self.bn3(self.conv3(out)) + residual)

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.blocks = nn.Sequential(self.Block(32), self.Block(32))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class GhostNet(nn.Module):
    """Ghost modules: cheap depthwise features beside the real ones, cut to the wanted number by a slice."""

    class Ghost(nn.Module):
        def __init__(self, inp, oup, ratio=2):
            super().__init__()
            self.oup = oup
            init = -(-oup // ratio)
            self.primary_conv = nn.Sequential(nn.Conv2d(inp, init, 1, bias=False), nn.BatchNorm2d(init), nn.ReLU())
            self.cheap_operation = nn.Sequential(
                nn.Conv2d(init, init * (ratio - 1), 3, 1, 1, groups=init, bias=False),
                nn.BatchNorm2d(init * (ratio - 1)), nn.ReLU(),
            )  # fmt: skip

        def forward(self, x):
            x1 = self.primary_conv(x)
            x2 = self.cheap_operation(x1)
            out = torch.cat([x1, x2], dim=1)
            return out[:, : self.oup, :, :]

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.g1, self.g2, self.g3 = self.Ghost(16, 32), self.Ghost(32, 32), self.Ghost(32, 48)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.g1(x)
        x = x + self.g2(x)
        return self.fc(self.g3(x).mean((2, 3)))


class Transposed(nn.Module):
    """An encoder and decoder with transposed convolutions, plain, grouped and depthwise, before the classifier."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.down1 = nn.Conv2d(3, 16, 4, 2, 1)
        self.down2 = nn.Conv2d(16, 32, 4, 2, 1)
        self.up1 = nn.ConvTranspose2d(32, 24, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.up2 = nn.ConvTranspose2d(24, 16, 2, 2)
        self.up3 = nn.ConvTranspose2d(16, 16, 3, 1, 1, groups=16)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.leaky_relu(self.down1(x), 0.2, inplace=True)
        x = F.leaky_relu(self.down2(x), 0.2, inplace=True)
        x = F.relu(self.norm(self.up1(x)))
        x = F.relu(self.up2(x))
        return self.fc(F.relu(self.up3(x)).mean((2, 3)))


class PixelShuffled(nn.Module):
    """Space to depth at the start, pixel shuffle in the middle."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(4), nn.PixelShuffle(2)
        self.c1 = nn.Conv2d(48, 32, 3, 1, 1)
        self.c2 = nn.Conv2d(32, 64, 3, 1, 1)
        self.c3 = nn.Conv2d(16, 32, 3, 2, 1)
        self.c4 = nn.Conv2d(32, 32, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.c1(self.unshuffle(x)))
        x = F.relu(self.shuffle(self.c2(x)))
        return self.fc(F.relu(self.c4(F.relu(self.c3(x)))).mean((2, 3)))


class Focus(nn.Module):
    """YOLO's focus layer: four slices of the image side by side; and an SPP and CSP part behind it."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv = nn.Conv2d(12, 16, 3, 1, 1)
        self.cv1, self.cv2, self.cv3 = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(32, 24, 1)
        self.m = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.SiLU())
        self.pools = nn.ModuleList([nn.MaxPool2d(k, 1, k // 2) for k in (3, 5)])
        self.spp = nn.Conv2d(72, 32, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = F.silu(self.conv(x))
        x = F.silu(self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1)))
        x = self.spp(torch.cat([x] + [m(x) for m in self.pools], 1))
        return self.fc(F.silu(x).mean((2, 3)))


class Asymmetric(nn.Module):
    """1x7 and 7x1 kernels, dilation, strides of one side only."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.seq = nn.Sequential(
            nn.Conv2d(3, 16, (1, 7), (1, 2), (0, 3)), nn.ReLU(), nn.Conv2d(16, 24, (7, 1), (2, 1), (3, 0)), nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=2, dilation=2), nn.BatchNorm2d(24), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        return self.fc(self.seq(x).mean([-1, -2]))


class RepVGG(nn.Module):
    """Three branches of the same width, a norm on the identity, added."""

    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.rbr_identity = nn.BatchNorm2d(c)
            self.rbr_dense = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c))
            self.rbr_1x1 = nn.Sequential(nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c))

        def forward(self, inputs):
            id_out = 0 if self.rbr_identity is None else self.rbr_identity(inputs)
            return F.relu(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + id_out)

    def __init__(self, num_classes=2):
        super().__init__()
        self.stage0 = nn.Conv2d(3, 16, 3, 2, 1)
        self.stage1 = nn.Sequential(self.Block(16), self.Block(16))
        self.gap = nn.AdaptiveAvgPool2d(output_size=1)
        self.stage2 = nn.Conv2d(16, 48, 3, 2, 1)
        self.linear = nn.Linear(48, num_classes)

    def forward(self, x):
        x = F.relu(self.stage2(self.stage1(self.stage0(x))))
        out = self.gap(x)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class FunctionalConv(nn.Module):
    """Weights as own parameters, applied by F.conv2d and F.linear."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(16, 3, 3, 3) * 0.2)
        self.b1 = nn.Parameter(torch.zeros(16))
        self.conv = nn.Conv2d(16, 32, 3, 2, 1)
        self.conv2 = nn.Conv2d(32, 32, 3, 1, 1)
        self.w2 = nn.Parameter(torch.randn(num_classes, 32) * 0.2)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.w1, self.b1, stride=2, padding=1))
        x = F.relu(self.conv2(F.relu(self.conv(x))))
        return F.linear(x.mean((2, 3)), self.w2)


class StandardisedWeights(nn.Module):
    """A Conv2d subclass that standardises its weight at every call (BiT, NFNet)."""

    class Conv(nn.Conv2d):
        def forward(self, x):
            w = self.weight
            v, m = torch.var_mean(w, dim=[1, 2, 3], keepdim=True, unbiased=False)
            w = (w - m) / torch.sqrt(v + 1e-10)
            return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def __init__(self, num_classes=2):
        super().__init__()
        self.root = self.Conv(3, 16, 3, 2, 1, bias=False)
        self.body = nn.Sequential(
            self.Conv(16, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.ReLU(), self.Conv(32, 32, 3, 1, 1)
        )
        self.head = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.body(F.relu(self.root(x)))).mean((2, 3)))


class Conv1dOverRows(nn.Module):
    """Conv1d over the flattened places, and a Conv3d over a stack of two copies."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv3d = nn.Conv3d(3, 12, (2, 3, 3), (1, 2, 2), (0, 1, 1))
        self.conv1d = nn.Conv1d(12, 24, 5, 2, 2)
        self.bn = nn.BatchNorm1d(24)
        self.conv1d_2 = nn.Conv1d(24, 24, 3, padding=1)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = torch.stack((x, x.flip(-1)), dim=2)
        x = F.relu(self.conv3d(x)).squeeze(2)
        x = F.relu(self.bn(self.conv1d(x.flatten(2))))
        return self.fc(F.relu(self.conv1d_2(x)).mean(-1))


class VGG(nn.Module):
    """Widths from a list with "M", three linear layers after an adaptive pool of 2 places a side."""

    cfg = (16, "M", 32, "M", 32, 32, "M")

    def __init__(self, num_classes=2):
        super().__init__()
        layers, in_channels = [], 3
        for v in self.cfg:
            if v == "M":
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [nn.Conv2d(in_channels, v, 3, padding=1), nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
                in_channels = v
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(32 * 2 * 2, 48), nn.ReLU(True), nn.Dropout(), nn.Linear(48, 48), nn.ReLU(True), nn.Dropout(),
            nn.Linear(48, num_classes),
        )  # fmt: skip

    def forward(self, x):
        x = self.avgpool(self.features(x))
        x = x.view(x.size(0), -1)
        return self.classifier(x)
