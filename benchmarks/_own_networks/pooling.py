"""Networks by their pooling and padding."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv(i, o, s=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class GeneralisedMean(nn.Module):
    """GeM of image retrieval: clamp, power with a learned exponent, average, root."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2))
        self.p = nn.Parameter(torch.ones(1) * 3)
        self.eps = 1e-6
        self.fc = nn.Linear(32, num_classes)

    def gem(self, x):
        return F.avg_pool2d(x.clamp(min=self.eps).pow(self.p), (x.size(-2), x.size(-1))).pow(1.0 / self.p)

    def forward(self, x):
        return self.fc(self.gem(self.body(x)).flatten(1))


class AverageAndMax(nn.Module):
    """fastai's head: the average and the maximum, concatenated; then a norm and a linear layer."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2))
        self.ap, self.mp = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.bn = nn.BatchNorm1d(64)
        self.lin = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.body(x)
        x = torch.cat([self.mp(x), self.ap(x)], 1).flatten(1)
        return self.lin(self.bn(x))


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over places, as speaker and texture networks pool."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.body(x).flatten(2)
        return self.fc(torch.cat([x.mean(-1), x.std(-1)], dim=1))


class PyramidPooling(nn.Module):
    """Spatial pyramid: pooled to 1, 2 and 4 places a side, flattened and joined."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 16, 2))
        self.levels = [1, 2, 4]
        self.fc = nn.Sequential(nn.Linear(16 * 21, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, x):
        x = self.body(x)
        pooled = [F.adaptive_max_pool2d(x, n).view(x.size(0), -1) for n in self.levels]
        return self.fc(torch.cat(pooled, 1))


class LeNet(nn.Module):
    """Flattened at one image size, the number of features written as 16 * 13 * 13."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 13 * 13, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class LeNetView(LeNet):
    """The same with x.view(-1, 16 * 13 * 13), as tutorials have it."""

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 13 * 13)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Padded(nn.Module):
    """F.pad before stride, of zeros and of other values, and every padding module."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 3, 2)
        self.c2 = nn.Conv2d(16, 16, 3, 2)
        self.c3 = nn.Conv2d(16, 24, 3)
        self.c4 = nn.Conv2d(24, 24, 3, padding=1, padding_mode="reflect")
        self.c5 = nn.Conv2d(24, 24, 3, padding="same", padding_mode="circular")
        self.zero, self.replicate, self.constant = nn.ZeroPad2d(1), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 0.5)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = F.relu(self.c1(F.pad(x, (0, 1, 0, 1))))
        x = F.relu(self.c2(F.pad(x, [0, 1, 0, 1], value=-1.0)))
        x = F.relu(self.c3(F.pad(x, (1, 1, 1, 1), mode="replicate")))
        x = F.relu(self.c5(self.zero(self.c4(x))))
        return self.fc(self.constant(self.replicate(x)).mean((2, 3)))


class OtherPools(nn.Module):
    """amax, sum, logsumexp over places, LPPool, fractional sizes, max with its indices, an average without the pad."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 24), conv(24, 24)
        self.avg = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.lp = nn.LPPool2d(2, 2)
        self.fc = nn.Linear(72, num_classes)

    def forward(self, x):
        x = self.lp(self.b(self.avg(self.a(x))))
        x, _ = F.max_pool2d(self.c(x), 2, return_indices=True)
        n = x.shape[2] * x.shape[3]
        parts = [x.amax(dim=(2, 3)), x.sum((-1, -2)) / n, x.logsumexp(dim=(2, 3))]
        return self.fc(torch.cat(parts, 1))


class MaxOverPlaces(nn.Module):
    """x.max(dim)[0] twice, as point networks write a global maximum."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.net(x)
        x = torch.max(x, dim=3)[0]
        x = x.max(2).values
        return self.fc(x)


class SoftAttentionPool(nn.Module):
    """A map of weights over places, softmaxed, and the weighted sum of the features."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2))
        self.att = nn.Conv2d(32, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.body(x)
        b, c, h, w = x.shape
        a = F.softmax(self.att(x).view(b, 1, h * w), dim=2)
        x = (x.view(b, c, h * w) * a).sum(dim=2)
        return self.fc(x)


class Unpooled(nn.Module):
    """SegNet: max pooling with indices, and MaxUnpool2d later."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = conv(3, 16), conv(16, 16), conv(16, 16)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.mid = nn.Sequential(conv(16, 48), conv(48, 48), conv(48, 16))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x, where = self.pool(self.c2(self.c1(x)))
        x = self.unpool(self.mid(x), where)
        return self.fc(self.c3(x).mean((2, 3)))


class AllConvolutional(nn.Module):
    """No pooling but the last, strides instead, and the classes are the last convolution's maps."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(
            nn.Dropout2d(0.2), conv(3, 16), conv(16, 16, 2), nn.Dropout2d(0.5), conv(16, 32), conv(32, 32, 2),
            nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, num_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x).squeeze(3).squeeze(2)
