"""Networks that give maps another form on the way."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class ViewNumbers(nn.Module):
    """The widths are written in the forward as numbers."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = x.view(-1, 128)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class FlattenForms(nn.Module):
    """reshape(len(x), -1), squeeze(), unsqueeze, flatten(start_dim=1), view(size(0), size(1))."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.f1, self.f2, self.f3 = nn.Linear(32, 48), nn.Linear(48, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        x = F.adaptive_avg_pool2d(x, 1).view(x.size(0), x.size(1))
        x = F.relu(self.f1(x)).unsqueeze(-1).unsqueeze(-1)
        x = torch.flatten(x, start_dim=1)
        x = F.relu(self.f2(x.reshape(x.shape[0], -1)))[:, :, None].squeeze(2)
        return self.f3(x)


class BilinearCNN(nn.Module):
    """B-CNN: the outer product of the features with themselves, signed square root, normalised."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 16, 3, 1, 1),
            nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(16 * 16, num_classes)

    def forward(self, x):
        x = self.features(x)
        n, d, h, w = x.size()
        x = x.view(n, d, h * w)
        x = torch.bmm(x, x.transpose(1, 2)) / (h * w)
        x = x.view(n, d * d)
        x = torch.sign(x) * torch.sqrt(torch.abs(x) + 1e-5)
        return self.fc(F.normalize(x))


class RecurrentRows(nn.Module):
    """A bidirectional LSTM over the columns of the map, as text readers have it."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(64, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU(),
        )  # fmt: skip
        self.rnn = nn.LSTM(24, 16, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.cnn(x).mean(2).permute(0, 2, 1)
        out, (h, c) = self.rnn(x)
        return self.fc(out[:, -1])


class GatedRecurrence(nn.Module):
    """A GRU over patches, its last hidden state to the classifier."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 8, 8)
        self.conv2 = nn.Conv2d(32, 32, 3, 1, 1)
        self.gru = nn.GRU(32, 24)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv(x))))
        _, h = self.gru(x.flatten(2).permute(2, 0, 1))
        return self.fc(h[-1])


class CapsuleLike(nn.Module):
    """Channels regrouped as vectors of 8, squashed to a length below one, and the lengths read."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 32, 5, 2, 2), nn.Conv2d(32, 32, 5, 2, 2)
        self.c3 = nn.Conv2d(32, 48, 3, 1, 1)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        x = F.relu(self.c3(F.relu(self.c1(x)).sub(0.1).relu_() if False else F.relu(self.c2(F.relu(self.c1(x))))))
        u = x[:, :32].reshape(x.size(0), 4, 8, -1).mean(-1)
        n = (u**2).sum(-1, keepdim=True)
        u = n / (1 + n) * u / (n.sqrt() + 1e-8)
        return self.fc(u.norm(dim=-1))


class SpaceToBatch(nn.Module):
    """Patches are images of their own for a while: reshaped into the batch and back, features averaged."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.view(b, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(b * 4, c, h // 2, w // 2)
        x = F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3))
        return self.fc(x.view(b, 4, -1).mean(1))


class UnfoldedPatches(nn.Module):
    """nn.Unfold to patches, a linear layer, and back by fold-like views."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.unfold = nn.Unfold(kernel_size=4, stride=4)
        self.proj = nn.Linear(48, 32)
        self.hidden = nn.Linear(32, 64)
        self.out = nn.Linear(64, 32)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.unfold(x).transpose(1, 2)
        x = F.gelu(self.proj(x))
        x = x + self.out(F.gelu(self.hidden(x)))
        return self.fc(x.mean(dim=1))


class FourierMixing(nn.Module):
    """FNet: the real part of a two-dimensional Fourier transform mixes tokens and channels."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 8, 8)
        self.norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 96), nn.GELU(), nn.Linear(96, dim))
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + torch.fft.fft2(x).real / x.shape[1]
        x = x + self.ff(self.norm(x))
        return self.fc(x.mean(1))
