"""Networks with tensors that do not train."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class ChannelBuffer(nn.Module):
    """Scales per channel in buffers of three forms, [C, 1, 1], [1, C, 1, 1] and [C]; one is not in the state dict."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 16).view(16, 1, 1))
        self.register_buffer("scale4", torch.linspace(0.5, 1.5, 32).view(1, 32, 1, 1))
        self.register_buffer("tail", torch.linspace(0.5, 1.5, 32), persistent=False)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.a(x) * self.scale)
        x = F.relu(self.b(x) * self.scale4)
        return self.fc(F.relu(self.c(x)).mean((2, 3)) * self.tail)


class FrozenBatchNorm(nn.Module):
    """Detectron's FrozenBatchNorm2d: four buffers and a forward of its own."""

    class Norm(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.register_buffer("weight", torch.ones(n) * 1.1)
            self.register_buffer("bias", torch.linspace(-0.2, 0.2, n))
            self.register_buffer("running_mean", torch.linspace(-0.1, 0.1, n))
            self.register_buffer("running_var", torch.linspace(0.5, 1.5, n))

        def forward(self, x):
            w = self.weight.reshape(1, -1, 1, 1)
            b = self.bias.reshape(1, -1, 1, 1)
            rv = self.running_var.reshape(1, -1, 1, 1)
            rm = self.running_mean.reshape(1, -1, 1, 1)
            scale = w * (rv + 1e-5).rsqrt()
            return x * scale + (b - rm * scale)

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), self.Norm(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            self.Norm(32), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.net(x).mean((2, 3)))


class TorchvisionFrozenNorm(nn.Module):
    """torchvision.ops.FrozenBatchNorm2d between convolutions."""

    def __init__(self, num_classes=2):
        super().__init__()
        from torchvision.ops import FrozenBatchNorm2d

        self.c1, self.n1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), FrozenBatchNorm2d(16)
        self.c2, self.n2 = nn.Conv2d(16, 32, 3, 2, 1, bias=False), FrozenBatchNorm2d(32)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.n2(self.c2(F.relu(self.n1(self.c1(x)))))).mean((2, 3)))


class NormalisesInside(nn.Module):
    """Mean and deviation of the images in buffers."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = (x - self.mean) / self.std
        return self.fc(self.net(x).mean((2, 3)))


class NormalisesWithConstants(nn.Module):
    """The same with tensors made in the forward, as an Inception from TensorFlow has it, channel by channel."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.transform_input = True
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        if self.transform_input:
            x_ch0 = torch.unsqueeze(x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
            x_ch1 = torch.unsqueeze(x[:, 1], 1) * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
            x_ch2 = torch.unsqueeze(x[:, 2], 1) * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
            x = torch.cat((x_ch0, x_ch1, x_ch2), 1)
        x = x - torch.tensor([0.1, 0.2, 0.3], device=x.device).reshape(3, 1, 1)
        return self.fc(F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3)))


class BlurPool(nn.Module):
    """Anti-aliasing: a fixed kernel in a buffer, one per channel, by F.conv2d with groups=C."""

    class Blur(nn.Module):
        def __init__(self, channels, stride=2):
            super().__init__()
            self.stride, self.channels = stride, channels
            a = torch.tensor([1.0, 2.0, 1.0])
            filt = a[:, None] * a[None, :]
            self.register_buffer("filt", (filt / filt.sum())[None, None, :, :].repeat((channels, 1, 1, 1)))
            self.pad = nn.ReflectionPad2d(1)

        def forward(self, inp):
            return F.conv2d(self.pad(inp), self.filt, stride=self.stride, groups=inp.shape[1])

    def __init__(self, num_classes=2):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), self.Blur(16), nn.Conv2d(16, 32, 3, 1, 1),
            nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2, 1), self.Blur(32), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class BlurExpanded(nn.Module):
    """One kernel [1, 1, 3, 3] expanded to as many channels as there are."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 1, 1)
        self.register_buffer("kernel", torch.ones(1, 1, 3, 3) / 9)
        self.fc = nn.Linear(32, num_classes)

    def blur(self, x):
        c = x.size(1)
        return F.conv2d(x, self.kernel.expand(c, 1, 3, 3), stride=2, padding=1, groups=c)

    def forward(self, x):
        x = self.blur(F.relu(self.c1(x)))
        return self.fc(self.blur(F.relu(self.c2(x))).mean((2, 3)))


class RunningCentre(nn.Module):
    """A buffer that training moves: the mean feature, subtracted; and a counter."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.register_buffer("centre", torch.linspace(-0.1, 0.1, 32))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        h = self.body(x).mean((2, 3))
        if self.training:
            with torch.no_grad():
                self.centre.mul_(0.9).add_(0.1 * h.mean(0))
                self.steps += 1
        return self.fc(h - self.centre)


class ChannelIndex(nn.Module):
    """Channels picked by an index buffer, and a boolean one that switches channels off."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.c3, self.c4 = nn.Conv2d(32, 48, 3, 1, 1), nn.Conv2d(48, 48, 3, 1, 1)
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("on", torch.arange(32) % 5 > 0)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = F.relu(self.c1(x)).index_select(1, self.order)
        x = F.relu(self.c2(x)) * self.on[None, :, None, None]
        return self.fc(F.relu(self.c4(F.relu(self.c3(x)))).mean((2, 3)))
