"""Small networks as people write them, each with a layer that a removal, a file or a load has to know about.

Each is a factory by its name: `tests.support.own_networks:NAME`. They take images of 16 pixels and more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from fairprune_cli.pruning.channels.spaces import ChannelSpace, Slot


def block(inputs: int, outputs: int, stride: int = 1, norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), nn.ReLU())


class Plain(nn.Module):
    def __init__(self, num_classes: int = 2, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.f = nn.Sequential(block(3, 8, 2, norm), block(8, 12, 2, norm))
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.f(x).mean((2, 3)))


class VectorNorm(nn.Module):
    """Linear, batch norm over vectors, linear."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.f, self.fc1, self.bn = block(3, 8, 2), nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16)
        self.fc2 = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.bn(self.fc1(self.f(x).mean((2, 3))))))


class Scaled(nn.Module):
    """Buffers with an entry per channel, in state dicts and not."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.a, self.b, self.fc = block(3, 8, 2), block(8, 12, 2), nn.Linear(12, num_classes)
        numbers = torch.arange(1.0, 13.0)
        self.register_buffer("kept", numbers[:8].reshape(8, 1, 1))
        self.register_buffer("left_out", numbers[:8].reshape(1, 8, 1, 1).sqrt(), persistent=False)
        self.register_buffer("vector", numbers.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x) * self.kept * self.left_out)
        return self.fc(x.mean((2, 3)) * self.vector)


class Flat(nn.Module):
    """A linear layer over all pixels of a map; its parts are not registered in the order in which they act."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.head, self.second, self.first = nn.Linear(12 * 16, num_classes), block(8, 12, 2), block(3, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.second(self.first(x)), 1))


class Tied(nn.Module):
    """Two convolutions with one weight."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.a = block(3, 8, 2)
        self.c1, self.b1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.c2, self.b2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.c2.weight = self.c1.weight
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.b1(self.c1(self.a(x))))
        return self.fc(F.relu(self.b2(self.c2(x))).mean((2, 3)))


class TwiceNamed(nn.Module):
    """One module under two names."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.c1, self.c2 = block(3, 8, 2), block(8, 12)
        self.layers = nn.ModuleList([self.c1, self.c2])
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class Lazy(nn.Module):
    """The head takes its width from its first images."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.f, self.fc = nn.Sequential(block(3, 8, 2), block(8, 12, 2)), nn.LazyLinear(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.f(x), 1))


class Synchronised(Plain):
    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes, nn.SyncBatchNorm)


class Doubled(nn.Module):
    """A parametrization of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def computed(num_classes: int = 2) -> nn.Module:
    """Every way in which torch computes a weight anew, once."""
    net = nn.Sequential(
        weight_norm(nn.Conv2d(3, 8, 3, padding=1)), nn.ReLU(),
        parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)), nn.ReLU(),
        spectral_norm(nn.Conv2d(8, 8, 3, padding=1)), nn.ReLU(),
        parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1)), nn.ReLU(),
        nn.Conv2d(8, 12, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, num_classes),
    )  # fmt: skip
    parametrize.register_parametrization(net[8], "weight", Doubled())
    return net


class PartlyFrozen(Plain):
    """The first block is frozen, norm included."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.f[0].requires_grad_(False)


class Trunk(Plain):
    """All but the head is frozen."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.f.requires_grad_(False)


class Spare(Plain):
    """With a layer that no image reaches."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.spare = nn.Linear(5, 4)


class Mixture(nn.Module):
    """Layers with widths of their own: channels of `c1` are 8, those of `up` 6 in groups of two."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.c1, self.g1, self.p1 = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(4, 8), nn.PReLU(8)
        self.up, self.i1 = nn.ConvTranspose2d(8, 6, 2, 2), nn.InstanceNorm2d(6, affine=True, track_running_stats=True)
        self.c2, self.fc = nn.Conv2d(6, 4, 3), nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.i1(self.up(self.p1(self.g1(self.c1(x)))))
        return self.fc(self.c2(x).relu().mean((2, 3)))


def spaces_of_mixture() -> list[ChannelSpace]:
    """Its two spaces, by hand: `c1`'s channels in pairs, as the group norm has them, and `up`'s."""
    pairs, each = torch.arange(4).repeat_interleave(2), torch.arange(6)
    first = [("c1.weight", 0), ("c1.bias", 0), ("g1.weight", 0), ("g1.bias", 0), ("p1.weight", 0), ("up.weight", 0)]
    second = [("up.weight", 1), ("up.bias", 0), ("c2.weight", 1)]
    second += [(f"i1.{leaf}", 0) for leaf in ("weight", "bias", "running_mean", "running_var")]
    return [
        ChannelSpace("c1", 4, tuple(Slot(name, dim, pairs) for name, dim in first), (), ()),
        ChannelSpace("up", 6, tuple(Slot(name, dim, each) for name, dim in second), (), ()),
    ]
