"""Networks whose parameters are tied, frozen, computed from others, or used more than once."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parametrizations, parametrize


def conv_bn(i, o, s=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class TiedConvolutions(nn.Module):
    """Two layers of one weight, norms of their own."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = conv_bn(3, 16, 2)
        self.c1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.c2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.c2.weight = self.c1.weight
        self.b1, self.b2 = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
        self.wide = nn.Conv2d(16, 48, 3, 2, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.b1(self.c1(x)))
        x = F.relu(self.b2(self.c2(x)))
        return self.fc(F.relu(self.wide(x)).mean((2, 3)))


class TiedAutoencoder(nn.Module):
    """A decoder with the encoder's weight, by F.conv_transpose2d; the classifier reads what is lost."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.enc1, self.enc2 = nn.Conv2d(3, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1)
        self.bias = nn.Parameter(torch.zeros(16))
        self.last = nn.Conv2d(16, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        a = F.relu(self.enc1(x))
        z = F.relu(self.enc2(a))
        b = F.conv_transpose2d(z, self.enc2.weight, self.bias, stride=2, padding=1)
        return self.fc(F.relu(self.last(a - b)).mean((2, 3)))


class Recurrent(nn.Module):
    """One module called three times: a recurrence over depth."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem = conv_bn(3, 24, 2)
        self.step = nn.Sequential(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 24, 3, padding=1))
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = h = self.stem(x)
        for _ in range(3):
            h = F.relu(x + self.step(h))
        return self.fc(h.mean((2, 3)))


class RecurrentUnpadded(nn.Module):
    """One convolution, called twice without a skip, and one norm shared by two layers."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.bn = nn.BatchNorm2d(16)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.bn(self.a(x)))
        x = F.relu(self.bn(self.b(x)))
        x = F.relu(self.b(x))
        return self.fc(F.relu(self.c(x)).mean((2, 3)))


class TwoNames(nn.Module):
    """The same modules as attributes and in a list, so that the state dict has each tensor twice."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = conv_bn(3, 16, 2), conv_bn(16, 32)
        self.layers = nn.ModuleList([self.c1, self.c2])
        self.fc = nn.Linear(32, num_classes)
        self.classifier = self.fc

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean((2, 3)))


class FrozenTrunk(nn.Module):
    """Transfer learning: the trunk does not train, a wide head does."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = nn.Sequential(conv_bn(3, 16, 2), conv_bn(16, 32, 2))
        for p in self.trunk.parameters():
            p.requires_grad = False
        self.head = nn.Sequential(
            nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, num_classes)
        )

    def forward(self, x):
        return self.head(self.trunk(x).mean((2, 3)))


class FrozenNorms(nn.Module):
    """Norms that stay in eval mode and do not train, as detectors have them; the stem neither."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.stem, self.body = conv_bn(3, 16, 2), nn.Sequential(conv_bn(16, 32, 2), conv_bn(32, 32))
        self.stem.requires_grad_(False)
        for m in self.body.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.requires_grad_(False)
        self.fc = nn.Linear(32, num_classes)

    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        return self

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class WeightNormed(nn.Module):
    """parametrizations.weight_norm on convolutions and linear layers."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1 = parametrizations.weight_norm(nn.Conv2d(3, 16, 3, 2, 1))
        self.c2 = parametrizations.weight_norm(nn.Conv2d(16, 32, 3, 2, 1))
        self.c3 = parametrizations.weight_norm(nn.Conv2d(32, 32, 3, 1, 1))
        self.fc = parametrizations.weight_norm(nn.Linear(32, num_classes), dim=0)

    def forward(self, x):
        x = F.leaky_relu(self.c1(x), 0.1)
        x = F.leaky_relu(self.c2(x), 0.1)
        return self.fc(F.leaky_relu(self.c3(x), 0.1).mean((2, 3)))


class OldWeightNorm(nn.Module):
    """torch.nn.utils.weight_norm, the hook of older code: weight_g and weight_v."""

    def __init__(self, num_classes=2):
        super().__init__()
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wn = torch.nn.utils.weight_norm
            self.c1, self.c2 = wn(nn.Conv2d(3, 16, 3, 2, 1)), wn(nn.Conv2d(16, 32, 3, 2, 1))
        self.c3 = nn.Conv2d(32, 32, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(F.elu(self.c3(F.elu(self.c2(F.elu(self.c1(x)))))).mean((2, 3)))


class SpectralNormed(nn.Module):
    """parametrizations.spectral_norm, a discriminator's."""

    def __init__(self, num_classes=2):
        super().__init__()
        sn = parametrizations.spectral_norm
        self.main = nn.Sequential(
            sn(nn.Conv2d(3, 16, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True), sn(nn.Conv2d(16, 32, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True), sn(nn.Conv2d(32, 32, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True),
        )  # fmt: skip
        self.fc = sn(nn.Linear(32, num_classes))

    def forward(self, x):
        return self.fc(self.main(x).sum((2, 3)))


class OldSpectralNorm(nn.Module):
    """torch.nn.utils.spectral_norm: weight_orig, and buffers weight_u and weight_v."""

    def __init__(self, num_classes=2):
        super().__init__()
        sn = torch.nn.utils.spectral_norm
        self.c1, self.c2, self.c3 = sn(nn.Conv2d(3, 16, 4, 2, 1)), sn(nn.Conv2d(16, 32, 4, 2, 1)), nn.Conv2d(32, 32, 3)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.c3(F.relu(self.c2(F.relu(self.c1(x)))))).mean((2, 3)))


class Symmetric(nn.Module):
    def forward(self, w):
        return (w + w.flip(-1)) / 2


class OwnParametrization(nn.Module):
    """Kernels held symmetric by a parametrization of one's own."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        for c in (self.c1, self.c2):
            parametrize.register_parametrization(c, "weight", Symmetric())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.c3(F.relu(self.c2(F.relu(self.c1(x)))))).mean((2, 3)))


class SharedTrunkTwice(nn.Module):
    """Siamese on one image: the image and its mirror through one trunk, features concatenated."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = nn.Sequential(conv_bn(3, 16, 2), conv_bn(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(torch.cat([self.trunk(x), self.trunk(torch.flip(x, dims=[3]))], dim=1))


class TiedEmbedding(nn.Module):
    """The classifier's weight is the table of class embeddings that conditions the features."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, 48, 2), conv_bn(48, 48, 2), conv_bn(48, 16))
        self.table = nn.Embedding(num_classes, 16)
        self.fc = nn.Linear(16, num_classes, bias=False)
        self.fc.weight = self.table.weight

    def forward(self, x):
        h = self.body(x).mean((2, 3))
        p = F.softmax(self.fc(h), -1)
        return self.fc(h + p @ self.table.weight)
