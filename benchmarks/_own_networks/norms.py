"""Networks by their normalisation, as people write them."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class BatchNormHead(nn.Module):
    """An embedding before the classifier: linear, BatchNorm1d, ReLU, dropout, linear, as fastai has it."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(32), nn.Dropout(0.25), nn.Linear(32, 64, bias=False),
            nn.ReLU(inplace=True), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, num_classes, bias=False),
        )  # fmt: skip

    def forward(self, x):
        return self.head(self.body(x))


class FaceEmbedding(nn.Module):
    """ArcFace's trunk: the embedding ends in a BatchNorm1d without scale and is normalised to length one."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24, eps=2e-5)
        self.prelu = nn.PReLU(24)
        self.conv2 = nn.Conv2d(24, 32, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(32, eps=2e-5)
        self.fc = nn.Linear(32, 48)
        self.features = nn.BatchNorm1d(48, affine=False)
        self.classifier = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x)).mean(dim=[2, 3])
        x = self.features(self.fc(x))
        return self.classifier(F.normalize(x))


class GroupNormNet(nn.Module):
    """GroupNorm in place of batch norm, eight groups each."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.gn1 = nn.GroupNorm(8, 32)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.gn2 = nn.GroupNorm(8, 64)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.gn3 = nn.GroupNorm(8, 64)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = F.relu(self.gn1(self.conv1(x)))
        x = F.relu(self.gn2(self.conv2(x)))
        x = x + F.relu(self.gn3(self.conv3(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def group_norm_of_one(num_classes=2):
    """GroupNorm(1, C): a layer norm over channels and places, as PoolFormer and audio networks have it."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(1, 16), nn.GELU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(1, 32), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )  # fmt: skip


class InstanceNormNet(nn.Module):
    """Style-transfer blocks: reflection padding, InstanceNorm2d with and without scale."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 16, 7), nn.InstanceNorm2d(16), nn.ReLU(True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.InstanceNorm2d(32, affine=True), nn.ReLU(True),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.InstanceNorm2d(32, affine=True, track_running_stats=True), nn.LeakyReLU(0.2, True),
        )  # fmt: skip
        self.cls = nn.Linear(32, num_classes)

    def forward(self, input):
        return self.cls(self.model(input).mean(-1).mean(-1))


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of [B, C, H, W], by permuting there and back."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    """ConvNeXt's: mean and variance over dimension 1, written out, with its own weight and bias."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim, norm):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = norm(dim)
        self.pwconv1 = nn.Conv2d(dim, 4 * dim, 1)
        self.act = nn.GELU()
        self.pwconv2 = nn.Conv2d(4 * dim, dim, 1)
        self.gamma = nn.Parameter(1e-6 * torch.ones((dim, 1, 1)))

    def forward(self, x):
        return x + self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x)))))


class TinyConvNeXt(nn.Module):
    """A small ConvNeXt with a LayerNorm subclass over channels-first maps, and a layer scale."""

    norm = LayerNorm2d

    def __init__(self, num_classes=2, dim=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dim, 4, 4), self.norm(dim))
        self.stages = nn.ModuleList([ConvNeXtBlock(dim, self.norm) for _ in range(2)])
        self.down = nn.Sequential(self.norm(dim), nn.Conv2d(dim, 2 * dim, 2, 2))
        self.last = ConvNeXtBlock(2 * dim, self.norm)
        self.norm_out = nn.LayerNorm(2 * dim)
        self.head = nn.Linear(2 * dim, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        x = self.last(self.down(x))
        return self.head(self.norm_out(x.mean([-2, -1])))


class WrittenOutNorm(TinyConvNeXt):
    """The same with the norm written out in the forward, as in the published code."""

    norm = ChannelsFirstNorm


class SyncNet(nn.Module):
    """Converted for several GPUs before it was saved: every norm is a SyncBatchNorm."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.b(self.a(x)).mean((2, 3)))


def sync_batch_norm(num_classes=2):
    """torch.nn.SyncBatchNorm.convert_sync_batchnorm over a small network."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(SyncNet(num_classes))


class FilterResponse(nn.Module):
    """FRN with a thresholded linear unit: own parameters [1, C, 1, 1], and torch.max of two tensors."""

    class Layer(nn.Module):
        def __init__(self, c, eps=1e-6):
            super().__init__()
            self.eps = eps
            self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
            self.gamma = nn.Parameter(torch.ones(1, c, 1, 1))
            self.tau = nn.Parameter(torch.zeros(1, c, 1, 1))

        def forward(self, x):
            nu2 = torch.mean(x**2, dim=(2, 3), keepdim=True)
            x = x * torch.rsqrt(nu2 + abs(self.eps))
            return torch.max(self.gamma * x + self.beta, self.tau)

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), self.Layer(16), nn.Conv2d(16, 32, 3, 2, 1), self.Layer(32))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.net(x).mean((2, 3)))


class BatchNormFirst(nn.Module):
    """Pre-activation blocks: norm and ReLU before each convolution, and a norm on the images themselves."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(3)
        self.conv0 = nn.Conv2d(3, 24, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(24)
        self.conv1 = nn.Conv2d(24, 24, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(24, 24, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(24)
        self.linear = nn.Linear(24, num_classes)

    def forward(self, x):
        x = self.conv0(self.bn0(x))
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        x = F.relu(self.bn3(x + y))
        x = F.avg_pool2d(x, x.size()[2:]).squeeze(-1).squeeze(-1)
        return self.linear(x)


class LocalResponse(nn.Module):
    """AlexNet's local response normalisation, which mixes neighbouring channels."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1, self.lrn = nn.Conv2d(3, 16, 5, 2), nn.LocalResponseNorm(5)
        self.conv2 = nn.Conv2d(16, 64, 3, 2)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.out = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.lrn(F.relu(self.conv1(x)))
        x = F.relu(self.conv3(F.relu(self.conv2(x))))
        return self.out(x.amax((2, 3)))
