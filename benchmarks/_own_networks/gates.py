"""Networks by their channel and spatial gates."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class SqueezeExcite(nn.Module):
    """SE as in the first repository of it: view, two linear layers, expand_as."""

    def __init__(self, channel, reduction=4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False), nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SqueezeExciteConv(nn.Module):
    """The same with 1x1 convolutions and a mean that keeps its dimensions."""

    def __init__(self, channel):
        super().__init__()
        self.reduce = nn.Conv2d(channel, channel // 4, 1)
        self.expand = nn.Conv2d(channel // 4, channel, 1)

    def forward(self, x):
        s = x.mean((2, 3), keepdim=True)
        s = self.expand(F.silu(self.reduce(s)))
        return s.sigmoid() * x


class CBAM(nn.Module):
    """Channel attention by average and maximum through one MLP, spatial attention by a 7x7 convolution."""

    def __init__(self, c):
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(c, c // 4), nn.ReLU(), nn.Linear(c // 4, c))
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        avg = F.avg_pool2d(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3)))
        mx = F.max_pool2d(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3)))
        scale = torch.sigmoid(self.mlp(avg) + self.mlp(mx)).unsqueeze(2).unsqueeze(3).expand_as(x)
        x = x * scale
        maps = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.spatial(maps))


class ECA(nn.Module):
    """Efficient channel attention: a one-dimensional convolution over the channels, which mixes neighbours."""

    def __init__(self, channels, gamma=2, b=1):
        super().__init__()
        t = int(abs((math.log(channels, 2) + b) / gamma))
        k = t if t % 2 else t + 1
        self.conv = nn.Conv1d(1, 1, kernel_size=k, padding=(k - 1) // 2, bias=False)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class SimAM(nn.Module):
    """Attention without parameters."""

    def __init__(self, channels):
        super().__init__()
        self.e_lambda = 1e-4

    def forward(self, x):
        _, _, h, w = x.size()
        n = w * h - 1
        d = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        y = d / (4 * (d.sum(dim=[2, 3], keepdim=True) / n + self.e_lambda)) + 0.5
        return x * torch.sigmoid(y)


class CoordinateAttention(nn.Module):
    """Pooled along rows and along columns, joined, split again by torch.split."""

    def __init__(self, c):
        super().__init__()
        mip = max(8, c // 4)
        self.conv1 = nn.Conv2d(c, mip, 1)
        self.bn1 = nn.BatchNorm2d(mip)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(mip, c, 1)
        self.conv_w = nn.Conv2d(mip, c, 1)

    def forward(self, x):
        n, c, h, w = x.size()
        x_h = F.adaptive_avg_pool2d(x, (h, 1))
        x_w = F.adaptive_avg_pool2d(x, (1, w)).permute(0, 1, 3, 2)
        y = self.act(self.bn1(self.conv1(torch.cat([x_h, x_w], dim=2))))
        x_h, x_w = torch.split(y, [h, w], dim=2)
        x_w = x_w.permute(0, 1, 3, 2)
        return x * self.conv_h(x_h).sigmoid() * self.conv_w(x_w).sigmoid()


class SelectiveKernel(nn.Module):
    """SKNet: branches stacked, and a softmax over the branches for each channel."""

    def __init__(self, c):
        super().__init__()
        self.M = 2
        self.convs = nn.ModuleList([nn.Conv2d(c, c, 3, padding=1 + i, dilation=1 + i) for i in range(self.M)])
        self.fc = nn.Linear(c, 8)
        self.fcs = nn.ModuleList([nn.Linear(8, c) for _ in range(self.M)])

    def forward(self, x):
        feats = torch.stack([F.relu(conv(x)) for conv in self.convs], dim=1)
        z = F.relu(self.fc(feats.sum(1).mean(-1).mean(-1)))
        att = torch.stack([fc(z) for fc in self.fcs], dim=1).softmax(dim=1)
        return (feats * att.unsqueeze(-1).unsqueeze(-1)).sum(dim=1)


class GlobalContext(nn.Module):
    """GCNet: softmax over places by a matrix product, a bottleneck with a layer norm, added."""

    def __init__(self, c):
        super().__init__()
        self.mask = nn.Conv2d(c, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(c, c // 4, 1), nn.LayerNorm([c // 4, 1, 1]), nn.ReLU(inplace=True), nn.Conv2d(c // 4, c, 1)
        )

    def forward(self, x):
        b, c, h, w = x.size()
        context = torch.matmul(
            x.view(b, c, h * w).unsqueeze(1), self.mask(x).view(b, 1, h * w).softmax(2).unsqueeze(-1)
        )
        return x + self.transform(context.view(b, c, 1, 1))


class SpatialGate(nn.Module):
    """A map of one channel that scales every channel."""

    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x))


class NonLocal(nn.Module):
    """Dot products between all places: theta, phi, g, and bmm."""

    def __init__(self, c):
        super().__init__()
        self.inter = c // 2
        self.theta, self.phi, self.g = (nn.Conv2d(c, c // 2, 1) for _ in range(3))
        self.out = nn.Sequential(nn.Conv2d(c // 2, c, 1), nn.BatchNorm2d(c))

    def forward(self, x):
        b = x.size(0)
        g = self.g(x).view(b, self.inter, -1).permute(0, 2, 1)
        theta = self.theta(x).view(b, self.inter, -1).permute(0, 2, 1)
        phi = self.phi(x).view(b, self.inter, -1)
        f = F.softmax(torch.matmul(theta, phi), dim=-1)
        y = torch.matmul(f, g).permute(0, 2, 1).contiguous().view(b, self.inter, *x.size()[2:])
        return self.out(y) + x


class SelfAttentionGAN(nn.Module):
    """SAGAN's attention with a gamma that begins at zero."""

    def __init__(self, c):
        super().__init__()
        self.query, self.key, self.value = nn.Conv2d(c, c // 8, 1), nn.Conv2d(c, c // 8, 1), nn.Conv2d(c, c, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        b, c, h, w = x.shape
        q = self.query(x).view(b, -1, h * w).permute(0, 2, 1)
        k = self.key(x).view(b, -1, h * w)
        att = torch.softmax(torch.bmm(q, k), -1)
        out = torch.bmm(self.value(x).view(b, -1, h * w), att.permute(0, 2, 1)).view(b, c, h, w)
        return self.gamma * out + x


class Gated(nn.Module):
    """A small network with one of these after each of its two stages."""

    def __init__(self, gate, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.gate1 = gate(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.gate2 = gate(32)
        self.conv3 = nn.Conv2d(32, 48, 3, 1, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.gate1(F.relu(self.bn1(self.conv1(x))))
        x = self.gate2(F.relu(self.bn2(self.conv2(x))))
        return self.fc(F.relu(self.conv3(x)).mean((2, 3)))


def squeeze_excite(num_classes=2):
    return Gated(SqueezeExcite, num_classes)


def squeeze_excite_conv(num_classes=2):
    return Gated(SqueezeExciteConv, num_classes)


def cbam(num_classes=2):
    return Gated(CBAM, num_classes)


def eca(num_classes=2):
    return Gated(ECA, num_classes)


def simam(num_classes=2):
    return Gated(SimAM, num_classes)


def coordinate_attention(num_classes=2):
    return Gated(CoordinateAttention, num_classes)


def selective_kernel(num_classes=2):
    return Gated(SelectiveKernel, num_classes)


def global_context(num_classes=2):
    return Gated(GlobalContext, num_classes)


def spatial_gate(num_classes=2):
    return Gated(SpatialGate, num_classes)


def non_local(num_classes=2):
    return Gated(NonLocal, num_classes)


def sagan(num_classes=2):
    return Gated(SelfAttentionGAN, num_classes)
