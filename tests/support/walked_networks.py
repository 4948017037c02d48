"""Small networks as people write them: each shows one way of treating channels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn


class Written(nn.Module):
    """A network of some parts, whose forward is a function of it and the image."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.written = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.written(self, x)


def block(inputs: int, outputs: int, stride: int = 1, **more: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False, **more), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def classifier(features: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


def between(*middle: nn.Module, width: int = 12, after: int | None = None) -> nn.Module:
    """Layers between two convolutions, of which the first has `width` channels; `after` enter the second."""
    return classifier(
        nn.Sequential(block(3, width), *middle, nn.Conv2d(after or width, 10, 3, padding=1), nn.ReLU()), 10
    )


def does(
    function: Callable[[Any, Tensor], Tensor], width: int = 12, after: int | None = None, **parts: Any
) -> nn.Module:
    """The same with a function in between."""
    return between(Written(function, **parts), width=width, after=after)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = self.fc(self.pool(x).view(b, c)).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SpatialAttention(nn.Module):
    """As in CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * self.conv(both).sigmoid()


class ChannelAttention(nn.Module):
    """As in CBAM: one small network for two poolings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(width, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, width, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        mean, most = self.shared(F.adaptive_avg_pool2d(x, 1)), self.shared(F.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(mean + most)


class OptionA(nn.Module):
    """A CIFAR ResNet whose shortcuts have no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = block(3, 8), nn.Sequential(block(8, 8), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.two = nn.Sequential(block(8, 16, 2), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.one(x) + x)
        x = F.relu(self.two(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0))
        return self.head(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half is worked on; then they are shuffled."""

    def __init__(self, width: int, shuffle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, padding=1, groups=half), nn.ReLU()
        )
        self.shuffle = shuffle

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return self.shuffle(torch.cat((a, self.branch(b)), 1))


def shuffle_by_view(x: Tensor, groups: int = 2) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


class Ghost(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = -(-outputs // 2)
        self.primary, self.cheap = block(inputs, half), block(half, half, groups=half)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.primary(x)
        return torch.cat([x, self.cheap(x)], 1)[:, : self.outputs, :, :]


class Res2(nn.Module):
    """Parts of the channels, each worked on together with the one before."""

    def __init__(self, width: int, parts: int, counted: bool) -> None:
        super().__init__()
        self.parts, self.width, self.counted = parts, width // parts, counted
        self.convs = nn.ModuleList(nn.Conv2d(self.width, self.width, 3, padding=1) for _ in range(parts - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *others = x.chunk(self.parts, 1) if self.counted else torch.split(x, self.width, 1)
        found, last = [first], None
        for conv, part in zip(self.convs, others, strict=True):
            last = F.relu(conv(part if last is None else part + last))
            found.append(last)
        return torch.cat(found, 1)


class Dense(nn.Module):
    """As DenseNet, but with one list that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(6 + 4 * n), nn.ReLU(), nn.Conv2d(6 + 4 * n, 4, 3, padding=1)) for n in range(3)
        )
        self.head = nn.Sequential(nn.BatchNorm2d(18), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(18, 3))

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, dim=1)))
        return self.head(torch.cat(features, 1))


class Mixer(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.across = nn.Sequential(nn.Linear(tokens, 8), nn.GELU(), nn.Linear(8, tokens))
        self.along = nn.Sequential(nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.along(self.norms[1](x))
        return self.head(self.norms[2](x).mean(1))


class OwnTransformer(nn.Module):
    """Attention as everyone writes it, with the width in the code or without.

    Args:
        form: how queries, keys and values are taken apart.
    """

    def __init__(self, form: str, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.form, self.heads, self.each = form, heads, width // heads
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.rand(1, 1, width))
        self.places = nn.Parameter(torch.rand(1, 17, width))
        self.norm, self.after, self.last = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width))
        self.head = nn.Linear(width, 3)

    def attend(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        h, qkv = self.heads, self.qkv(x)
        if self.form == "literal":
            q, k, v = qkv.reshape(b, n, 3, h, c // h).permute(2, 0, 3, 1, 4)
        elif self.form == "wholes":
            q, k, v = (part.view(b, n, -1, self.each).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        else:
            q, k, v = (part.view(b, n, h, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        weights = (q @ k.transpose(-2, -1) * self.each**-0.5).softmax(dim=-1)
        x = (weights @ v).transpose(1, 2)
        return self.proj(x.reshape(b, n, c) if self.form == "literal" else x.flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.places
        x = x + self.attend(self.norm(x))
        x = x + self.mlp(self.after(x))
        return self.head(self.last(x)[:, 0])


class Multihead(nn.Module):
    """torch's own attention, called as people do.

    Args:
        call: how.
    """

    def __init__(self, call: Callable[[nn.Module, Tensor], Tensor], **options: Any) -> None:
        super().__init__()
        self.stem, self.call = nn.Conv2d(3, 16, 4, 4), call
        self.attention = nn.MultiheadAttention(16, 4, **options)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        return self.head((x + self.call(self.attention, x)).mean(1))


class Encoders(nn.Module):
    """torch's own encoder layers."""

    def __init__(self, layers: int = 2, first: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, norm_first=first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


class Angular(nn.Module):
    """An embedding and its angles to the classes', as ArcFace has it."""

    def __init__(self, normed: bool) -> None:
        super().__init__()
        self.features, self.normed = nn.Sequential(block(3, 12), block(12, 16)), normed
        self.embed = nn.Linear(16, 10)
        self.bn = nn.BatchNorm1d(10)
        self.weight = nn.Parameter(torch.randn(3, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.embed(self.features(x).mean((2, 3))))
        if not self.normed:
            return F.linear(x, self.weight)
        return 8 * F.linear(F.normalize(x), F.normalize(self.weight))


class Flagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(block(3, 12), block(12, 10)), nn.Linear(10, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None, *more: Tensor, return_features: bool = False,
                **options: Any) -> Tensor:  # fmt: skip
        x = self.features(x)
        if mask is not None:
            x = x * mask
        if self.training and options:
            x = x + more[0]
        if x.shape[-1] > 4:
            x = F.max_pool2d(x, 2)
        x = x.mean((2, 3))
        return x if return_features else self.head(x)


class Tied(nn.Module):
    """Two layers that share a weight, and one layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 12)
        self.a, self.b = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.b.weight = self.a.weight
        self.na, self.nb = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(self.nb(self.b(F.relu(self.na(self.a(x)))))).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = block(3, 8), block(8, 12, 2), block(12, 16, 2)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 12, 2, 2), nn.ConvTranspose2d(12, 8, 2, 2, bias=False)
        self.n2, self.n1 = nn.BatchNorm2d(12), nn.BatchNorm2d(8)
        self.d2, self.d1 = block(24, 12), block(16, 8)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(one)
        x = self.n2(self.up2(self.three(two)))
        x = self.n1(self.up1(self.d2(torch.cat([x, two], 1))))
        return self.head(self.d1(torch.cat([x, one], 1))).mean((2, 3))


class Hourglass(nn.Module):
    """Up again by interpolation to the size of what it is added to, recursively."""

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.stem, self.depth = block(3, 12), depth
        self.ups = nn.ModuleList(block(12, 12) for _ in range(depth))
        self.downs = nn.ModuleList(block(12, 12) for _ in range(depth + 1))
        self.head = nn.Linear(12, 3)

    def go(self, level: int, x: Tensor) -> Tensor:
        if level == self.depth:
            return self.downs[level](x)
        low = self.go(level + 1, self.downs[level](F.max_pool2d(x, 2)))
        return self.ups[level](x) + F.interpolate(low, size=x.shape[2:], mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.go(0, self.stem(x)).amax(dim=(-2, -1)))


class Recurrent(nn.Module):
    """As CORnet: one block several times over, with norms of each time's own."""

    def __init__(self, times: int = 3) -> None:
        super().__init__()
        self.stem, self.conv, self.times = block(3, 12), nn.Conv2d(12, 12, 3, padding=1, bias=False), times
        self.skip = nn.Conv2d(12, 12, 1)
        for t in range(times):
            setattr(self, f"norm_{t}", nn.BatchNorm2d(12))
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for t in range(self.times):
            before = self.skip(x) if t == 0 else x
            x = F.relu(getattr(self, f"norm_{t}")(self.conv(x)) + before)
        return self.head(x.flatten(2).mean(-1))


class Fractal(nn.Module):
    """Joins by the mean of a stack."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = block(3, 12), nn.Sequential(block(3, 12), block(12, 12)), block(3, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([self.a(x), self.b(x), self.c(x)]).mean(dim=0)
        return self.head(x.mean((2, 3)))


class Bilinear(nn.Module):
    """Products of all pairs of channels, which the classifier reads."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.last, self.head = block(3, 12), nn.Conv2d(12, 5, 1), nn.Linear(25, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.features(x)).flatten(2)
        x = torch.bmm(x, x.transpose(1, 2)) / x.size(2)
        x = x.view(x.size(0), -1)
        return self.head(F.normalize(torch.sign(x) * torch.sqrt(torch.abs(x) + 1e-5)))


class OwnNorm(nn.Module):
    """A batch norm written out, with buffers, as frozen ones are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        w, b = self.weight.reshape(1, -1, 1, 1), self.bias.reshape(1, -1, 1, 1)
        mean, variance = self.running_mean.reshape(1, -1, 1, 1), self.running_var.reshape(1, -1, 1, 1)
        scale = w * (variance + 1e-5).rsqrt()
        return x * scale + (b - mean * scale)


class Efficient(nn.Module):
    """A weight for each of one channel's neighbours, over the line of channels, as ECA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class Blur(nn.Module):
    """One kernel, in a buffer, for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        kernel = torch.tensor([1.0, 2.0, 1.0])
        self.width = width
        self.register_buffer("kernel", (kernel[:, None] * kernel[None]).repeat(width, 1, 1, 1) / 16)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.kernel, stride=2, groups=x.shape[1])


def _blurred(how: str) -> Callable[[Any, Tensor], Tensor]:
    kernel = torch.ones(1, 1, 3, 3) / 9

    def blur(_: Any, x: Tensor) -> Tensor:
        c = x.size(1)
        kernels = kernel.expand(c, 1, 3, 3) if how == "expand" else kernel.repeat(c, 1, 1, 1)
        return F.conv2d(x, kernels, stride=2, padding=1, groups=c)

    return blur


class Standardised(nn.Conv2d):
    """Centres and scales each filter before it is used.

    Args:
        over: how mean and deviation are taken.
    """

    def __init__(self, inputs: int, outputs: int, over: str, groups: int = 1, kernel: int = 3) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
        self.over = over
        if over in ("scaled", "norm"):
            self.gain = nn.Parameter(torch.rand(outputs, 1, 1, 1) + 0.5)

    def standardised(self) -> Tensor:
        w = self.weight
        if self.over == "all":
            return w / w.abs().max()
        if self.over == "steps":
            w = w - w.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True).mean(dim=3, keepdim=True)
            deviation = w.view(w.size(0), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5
            return w / deviation.expand_as(w)
        if self.over == "norm":  # as timm does
            gain = (self.gain * 0.5).view(-1)
            w = F.batch_norm(w.reshape(1, self.out_channels, -1), None, None, weight=gain, training=True, momentum=0.0)
            return w.reshape_as(self.weight)
        variance, mean = torch.var_mean(w, dim=[1, 2, 3], keepdim=True, unbiased=False)
        w = (w - mean) * torch.rsqrt(variance + 1e-10)
        return w * self.gain if self.over == "scaled" else w

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standardised(), self.bias, self.stride, self.padding, self.dilation, self.groups)


class Places(nn.Module):
    """Tokens with something learned for each place.

    Args:
        placed: of the network and its tokens.
    """

    def __init__(self, placed: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.placed = nn.Conv2d(3, 12, 4, 4), placed
        self.table, self.rows = nn.Parameter(torch.randn(1, 4, 12)), nn.Embedding(4, 12)
        self.inner, self.norm, self.head = nn.Linear(12, 10), nn.BatchNorm1d(10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.placed(self, self.stem(x).flatten(2).transpose(1, 2))
        return self.head(F.relu(self.norm(self.inner(x).mean(1))))


def _resized_table(m: Any, x: Tensor) -> Tensor:
    table = m.table.reshape(1, 2, 2, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=(2, 2), mode="bilinear").permute(0, 2, 3, 1).flatten(1, 2)
    return x + table


def _ranged(width: int) -> Tensor:
    return torch.arange(0, width).float()[:, None, None]


class Extracted(nn.Module):
    """Features of inner layers, by code that is generated."""

    def __init__(self) -> None:
        super().__init__()
        inner = Written(lambda m, x: F.relu(m.b(m.a(x)) + m.c(x)), a=block(3, 8), b=block(8, 12), c=block(3, 12))
        self.features, self.head = fx.symbolic_trace(inner), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def maxout(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c // 2, 2, h, w).max(2)[0]


def zeros_beside(_: Any, x: Tensor) -> Tensor:
    return torch.cat([x, torch.zeros_like(x)], 1)


def _scaled(shape: tuple[int, ...], buffer: bool = False) -> nn.Module:
    net = does(lambda m, x: x * m.scale + m.scale)
    inner = net[0][1]
    value = torch.rand(shape) + 0.5
    if buffer:
        inner.register_buffer("scale", value)
    else:
        inner.scale = nn.Parameter(value)
    return net


def _twice_named() -> nn.Module:
    one, two = block(3, 12), block(12, 12)

    def forward(m: Any, x: Tensor) -> Tensor:
        for layer in m.layers:
            x = layer(x)
        return m.head(x.mean((2, 3)))

    return Written(forward, one=one, two=two, layers=nn.ModuleList([one, two]), head=nn.Linear(12, 3))


# What loses channels, and the outputs of the smaller network are those of the masked one.
FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    "group norm, whole groups": lambda: between(nn.GroupNorm(4, 12)),
    "group norm, each channel": lambda: between(nn.GroupNorm(12, 12)),
    "group norm after convolution": lambda: classifier(
        nn.Sequential(nn.Conv2d(3, 12, 3), nn.GroupNorm(6, 12), nn.ReLU(), nn.Conv2d(12, 8, 1), nn.GroupNorm(4, 8)), 8
    ),
    "instance norm": lambda: between(nn.InstanceNorm2d(12)),
    "instance norm with scales": lambda: between(nn.InstanceNorm2d(12, affine=True)),
    "instance norm with statistics": lambda: between(nn.InstanceNorm2d(12, affine=True, track_running_stats=True)),
    "one slope": lambda: between(nn.PReLU()),
    "slopes": lambda: between(nn.PReLU(12)),
    "sync norm": lambda: between(nn.Conv2d(12, 12, 1), nn.SyncBatchNorm(12)),
    "norm of vectors": lambda: nn.Sequential(
        block(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 14), nn.BatchNorm1d(14), nn.ReLU(),
        nn.Linear(14, 3),
    ),
    "norm of lines": lambda: does(
        lambda m, x: m.bn(m.conv(x.flatten(2))).unflatten(2, x.shape[2:]), conv=nn.Conv1d(12, 12, 3, padding=1),
        bn=nn.BatchNorm1d(12),
    ),
    "volumes": lambda: does(
        lambda m, x: m.bn(m.conv(x.unsqueeze(2))).squeeze(2), conv=nn.Conv3d(12, 12, 1), bn=nn.BatchNorm3d(12)
    ),
    "transposed": lambda: between(nn.ConvTranspose2d(12, 8, 2, 2), nn.BatchNorm2d(8), nn.ReLU(), after=8),
    "transposed, depthwise": lambda: between(nn.ConvTranspose2d(12, 12, 2, 2, groups=12)),
    "transposed, grouped": lambda: between(nn.ConvTranspose2d(12, 8, 2, 2, groups=4), nn.BatchNorm2d(8), after=8),
    "circular borders": lambda: between(nn.Conv2d(12, 12, 3, padding=1, padding_mode="circular")),
    "borders": lambda: between(nn.ZeroPad2d(1), nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 0, 1, 0))),
    "pools": lambda: between(
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    ),
    "channel shuffle": lambda: between(nn.ChannelShuffle(3)),
    "pixel shuffle": lambda: between(nn.PixelShuffle(2), after=3),
    "pixel unshuffle": lambda: between(nn.PixelUnshuffle(2), after=48),
    "gated": lambda: between(nn.GLU(1), after=6),
    "unflatten": lambda: between(nn.Flatten(2), nn.Unflatten(2, (4, -1))),
    "clamped": lambda: does(lambda _, x: F.hardtanh(x.clamp(-1, 2).clip(max=1.5), -1.0, 1.0)),
    "sum of a list": lambda: does(lambda m, x: sum([m.a(x), m.b(x), x]), a=block(12, 12), b=nn.Conv2d(12, 12, 1)),
    "reduced": lambda: does(
        lambda m, x: functools.reduce(lambda a, b: a + b, [layer(x) for layer in m.layers]),
        layers=nn.ModuleList([block(12, 12), block(12, 12)]),
    ),
    "maximum": lambda: does(lambda m, x: torch.maximum(m.a(x), torch.min(x, m.a(x))), a=block(12, 12)),
    "in place": lambda: does(lambda m, x: m.a(x).add_(x).mul_(2).div_(3), a=block(12, 12)),
    "plus nothing": lambda: does(lambda _, x: (x + 0.0) * 1),
    "powers": lambda: does(lambda _, x: x.pow(2).sqrt() + x**3),
    "spatial softmax": lambda: does(lambda _, x: x * x.flatten(2).softmax(-1).view_as(x)),
    "amax": lambda: Written(lambda m, x: m.head(m.f(x).amax((2, 3))), f=block(3, 12), head=nn.Linear(12, 3)),
    "max of max": lambda: Written(
        lambda m, x: m.head(m.f(x).max(-1)[0].max(dim=-1).values), f=block(3, 12), head=nn.Linear(12, 3)
    ),
    "sums": lambda: Written(
        lambda m, x: m.head(torch.cat([m.f(x).sum((-2, -1)) / 100, m.f(x).flatten(2).std(-1)], -1)), f=block(3, 12),
        head=nn.Linear(24, 3),
    ),
    "keeps dims": lambda: Written(
        lambda m, x: m.head(m.f(x).mean(2, keepdim=True).mean([-1], True).flatten(1)), f=block(3, 12),
        head=nn.Linear(12, 3),
    ),
    "squeezed": lambda: Written(
        lambda m, x: m.head(F.adaptive_avg_pool2d(m.f(x), 1).squeeze()), f=block(3, 12), head=nn.Linear(12, 3)
    ),
    "view by size": lambda: Written(
        lambda m, x: m.head(F.adaptive_max_pool2d(m.f(x), 2).view(x.size(0), -1)), f=block(3, 12),
        head=nn.Linear(48, 3),
    ),
    "view by channels": lambda: does(lambda _, x: x.view(x.shape[0], x.shape[1], -1).view(*x.shape)),
    "squeeze and excite": lambda: between(SqueezeExcite(12)),
    "channel attention": lambda: between(ChannelAttention(12)),
    "option A": OptionA,
    "shuffle unit": lambda: between(ShuffleUnit(12, nn.ChannelShuffle(2))),
    "shuffle unit by view": lambda: between(ShuffleUnit(12, shuffle_by_view)),
    "halves by number": lambda: does(lambda _, x: x[:, : x.size(1) // 2] * x[:, x.size(1) // 2 :].tanh(), after=6),
    "split by number": lambda: does(lambda _, x: torch.mul(*torch.split(x, x.shape[1] // 2, dim=1)), after=6),
    "maxout": lambda: does(lambda _, x: maxout(x), after=6),
    "chunks": lambda: between(Res2(12, 3, counted=True)),
    "parts of the image": lambda: does(
        lambda _, x: torch.cat([*x.chunk(2, 2), *x.split(x.size(2) // 2, 2)], 3)[:, :, ::2, 1:].flip(-1).roll(1, 2)
    ),
    "unbound": lambda: does(lambda _, x: torch.stack(x.unbind(2)[:4], 2)),
    "dense": Dense,
    "ghost": lambda: between(Ghost(12, 12)),
    "repeated": lambda: does(lambda _, x: x.repeat(1, 2, 1, 1), after=24),
    "zeros beside": lambda: does(zeros_beside, after=24),
    "times zero beside": lambda: does(lambda _, x: torch.cat((x, x.mul(0)), 1), after=24),
    "patches": lambda: does(lambda _, x: F.unfold(x, 2, stride=2).unflatten(2, (4, -1)), after=48),
    "windows": lambda: does(lambda _, x: x.unfold(2, 4, 4).mean(-1)),
    "scale": lambda: _scaled((12, 1, 1)),
    "tied": Tied,
    "twice named": _twice_named,
    "called twice": lambda: does(lambda m, x: F.relu(m.c(F.relu(m.c(x)))), c=nn.Conv2d(12, 12, 3, padding=1)),
    "flags": Flagged,
    "u-net": UNet,
    "hourglass": Hourglass,
    "recurrent": Recurrent,
    "fractal": Fractal,
    "angles": lambda: Angular(normed=False),
    "own matrix": lambda: Written(
        lambda m, x: m.f(x).mean((2, 3)) @ m.w, f=nn.Sequential(block(3, 12), block(12, 10)),
        w=nn.Parameter(torch.randn(10, 3)),
    ),
    "own matrix and bias": lambda: Written(
        lambda m, x: torch.addmm(m.b, F.linear(m.f(x).mean((2, 3)), m.v, m.c).relu(), m.w.t()), f=block(3, 12),
        v=nn.Parameter(torch.randn(8, 12)), c=nn.Parameter(torch.randn(8)), w=nn.Parameter(torch.randn(3, 8)),
        b=nn.Parameter(torch.randn(3)),
    ),
    "own kernel": lambda: does(
        lambda m, x: F.conv2d(x, m.w, m.b, padding=1), w=nn.Parameter(torch.randn(12, 12, 3, 3)),
        b=nn.Parameter(torch.randn(12)),
    ),
    "einsum": lambda: Written(
        lambda m, x: torch.einsum("bchw,kc->bk", m.f(x), m.w), f=block(3, 12), w=nn.Parameter(torch.randn(3, 12))
    ),
    "pool of its own borders": lambda: does(
        lambda _, x: F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=-torch.inf), 2, 1)
    ),
    "functional norm": lambda: does(
        lambda m, x: F.batch_norm(x, m.n.running_mean, m.n.running_var, m.n.weight, m.n.bias), n=nn.BatchNorm2d(12)
    ),
    "encoder layers": Encoders,
    "encoder layers, norm first": lambda: Encoders(1, True),
    "attention": lambda: Multihead(lambda m, x: m(x, x, x, need_weights=False)[0], batch_first=True),
    "attention, sequence first": lambda: Multihead(lambda m, x: m(*[x.transpose(0, 1)] * 3)[0].transpose(0, 1)),
    "attention without bias": lambda: Multihead(lambda m, x: m(x, x, x)[0], batch_first=True, bias=False),
    "attention to another": lambda: Multihead(lambda m, x: m(x, x.relu(), 2 * x)[0], batch_first=True),
    "attention, causal": lambda: Multihead(
        lambda m, x: m(x, x, x, attn_mask=torch.ones(x.size(1), x.size(1)).triu(1).bool(), is_causal=True)[0],
        batch_first=True,
    ),
    "attention of one": lambda: Multihead(lambda m, x: torch.stack([m(a, a, a)[0] for a in x]), batch_first=True),
    "own blur": lambda: does(
        lambda m, x: F.conv2d(x, m.w, groups=x.size(1)), w=nn.Parameter(torch.rand(12, 1, 2, 2))
    ),
    "one blur for all": lambda: does(_blurred("expand")),
    "one blur for all, repeated": lambda: does(_blurred("repeat")),
    "blur as a layer": lambda: between(Blur(12)),
    "places by number": lambda: does(lambda _, x: x.reshape(x.shape[1] * 0 + len(x), *x.shape[1:])),
    "larger of halves": lambda: does(lambda _, x: torch.max(*x.chunk(2, 1)), after=6),
    "larger of halves, by number": lambda: does(lambda _, x: torch.maximum(*x.split(x.size(1) // 2, 1)), after=6),
    "features of inner layers": Extracted,
    "standardised weights, grouped": lambda: between(Standardised(12, 12, over="dims", groups=3)),
}  # fmt: skip

# What loses channels although something is computed over all of them, so that no masked network is the same.
INEXACT: dict[str, Callable[[], nn.Module]] = {
    "group norm of all": lambda: between(nn.GroupNorm(1, 12)),
    "rms norm": lambda: does(lambda m, x: m.n(x.movedim(1, -1)).movedim(-1, 1), n=nn.RMSNorm(12)),
    "layer norm": lambda: does(lambda m, x: m.n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), n=nn.LayerNorm(12)),
    "normed angles": lambda: Angular(normed=True),
    "norm of buffers": lambda: between(OwnNorm(12)),
    "shift of four": lambda: _scaled((1, 12, 1, 1)),
    "scale in a buffer": lambda: _scaled((12, 1, 1), buffer=True),
    "sigmoid": lambda: between(nn.Sigmoid()),
    "bound above zero": lambda: does(lambda _, x: x.clamp(min=0.1)),
    "constant": lambda: does(lambda _, x: 1 - x),
    "where": lambda: does(lambda _, x: torch.where(x > 0.2, x, torch.full_like(x, 0.2))),
    "mixer": lambda: Mixer(16, 12),
    "ones as many": lambda: does(lambda _, x: x + torch.ones(x.shape[1], 1, 1) + x.new_ones(1, x.size(1), 1, 1)),
    "own attention": lambda: OwnTransformer("columns"),
    "own attention, whole heads": lambda: OwnTransformer("wholes"),
    "table of places": lambda: Places(lambda m, x: x + m.table),
    "table of places, a part": lambda: Places(lambda m, x: x + m.table[:, : x.shape[1]]),
    "table of places, scaled": lambda: Places(lambda m, x: x + 0.5 * m.table.expand(x.size(0), -1, -1)),
    "table of places, resized": lambda: Places(_resized_table),
    "table of places, beside": lambda: Places(lambda m, x: torch.cat([x, m.table.expand(len(x), -1, -1)], 1)),
    "places by number, looked up": lambda: Places(lambda m, x: x + m.rows(torch.arange(x.size(1)) % 4)[None]),
    "standardised weights": lambda: between(Standardised(12, 12, over="dims")),
    "standardised weights, by means of means": lambda: between(Standardised(12, 12, over="steps")),
    "standardised weights, by a norm": lambda: between(Standardised(12, 12, over="norm")),
    "standardised weights, one pixel": lambda: between(Standardised(12, 12, over="norm", kernel=1)),
    "standardised weights, scaled": lambda: between(Standardised(12, 12, over="scaled")),
}  # fmt: skip

# What keeps the channels of its first layer, and a part of the reason.
KEPT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "softmax over channels": (lambda: between(nn.Softmax2d()), "softmax mixes channels"),
    "local response": (lambda: between(nn.LocalResponseNorm(3)), "local_response_norm is not understood"),
    "spatial attention": (lambda: between(SpatialAttention()), "over channels"),
    "neighbours": (lambda: between(Efficient()), "does not see it as channels"),
    "ghost, cut": (lambda: between(Ghost(12, 11), after=11), "part of the channels"),
    "parts by width": (lambda: between(Res2(12, 3, counted=False)), "part of the channels"),
    "one channel": (lambda: does(lambda _, x: x * x[:, :1]), "part of the channels"),
    "width in the code": (lambda: does(lambda _, x: x.view(-1, 12, 64).view(x.shape)), "number of channels in it"),
    "width checked": (lambda: does(lambda _, x: x if x.shape[1] == 12 else x[:, :1]), "computes with the number"),
    "width counted": (lambda: does(lambda _, x: x / x.size(1)), "number of channels"),
    "width looped over": (
        lambda: does(lambda _, x: torch.stack([x[:, i] for i in range(x.size(1))], 1)), "part of the channels"
    ),
    "layer norm without scales": (lambda: between(nn.Flatten(1), nn.LayerNorm(12 * 64, elementwise_affine=False),
                                                  nn.Unflatten(1, (12, 8, 8))), "number of channels"),
    "pairs by number": (
        lambda: does(lambda m, x: F.conv2d(x, m.w, groups=x.size(1) // 2), w=nn.Parameter(torch.rand(12, 2, 2, 2))),
        "number of",
    ),
    "range": (lambda: does(lambda _, x: x * torch.arange(x.size(1))[:, None, None]), "cannot shrink"),
    "range, in another function": (lambda: does(lambda _, x: x * _ranged(x.size(1))), "cannot shrink"),
    "python's range": (lambda: does(lambda _, x: x * (1 + sum(range(x.size(1))))), "computes with the number"),
    "list": (lambda: does(lambda _, x: x * torch.tensor([2.0] * x.size(1))[:, None, None]), "cannot shrink"),
    "formatted": (lambda: does(lambda _, x: x * {"12": 2}.get(f"{x.size(1)}", 1)), "computes with the number"),
    "looked up": (lambda: does(lambda _, x: x * {12: 2}.get(x.size(1), 1)), "computes with the number"),
    "whole numbers": (
        lambda: does(lambda _, x: x * int(x.size(1)) / float(x.shape[1]) * (x.size(1) % 5)), "computes with the number"
    ),
    "powers of the width": (
        lambda: does(lambda _, x: x * x.size(1) ** -0.5 + 2 ** x.size(1) % x.size(1)), "computes with the number"
    ),
    "logarithm": (lambda: does(lambda _, x: x * math.log(x.size(1))), "computes with the number"),
    "bits": (lambda: does(lambda _, x: x * x.size(1).bit_length()), "computes with the number"),
    "resized to the width": (
        lambda: does(lambda _, x: F.interpolate(x, size=(x.size(1), x.size(1)))), "number of channels"
    ),
    "picked from a list": (lambda: does(lambda _, x: x * [*range(20)][: x.size(1)][-1]), "computes with the number"),
    "asked for at the end": (lambda: does(lambda _, x: x * torch.eye(x.size(1), 4)[0, 0]), "number of channels"),
    "table for another width": (lambda: Places(lambda m, x: x + m.table.view(1, 4, 12)), "cannot shrink"),
    "weight of one scale": (lambda: between(Standardised(12, 12, over="all")), "value of its own"),
    "groups in the code": (
        lambda: does(lambda m, x: F.group_norm(x, 3, m.w, m.b), w=nn.Parameter(torch.rand(12)),
                     b=nn.Parameter(torch.rand(12))), "number of groups in its code",
    ),
    "group norm without scales": (lambda: between(nn.GroupNorm(3, 12, affine=False)), "number of groups"),
    "wider by one": (lambda: does(lambda _, x: F.pad(x, (0, 0, 0, 0, 1, -1))), "pads channels"),
    "borders of channels": (lambda: does(lambda _, x: F.pad(x[None], (0, 0, 0, 0, 1, 1), "reflect")[0], after=14),
                            "pads channels"),
    "flipped": (lambda: does(lambda _, x: x.flip(1)), "part of the channels"),
    "rolled": (lambda: does(lambda _, x: torch.roll(x, 1, 1)), "part of the channels"),
    "picked": (lambda: does(lambda _, x: x[:, [0, 2, 1, *range(3, 12)]]), "picks by a list"),
    "written into": (lambda: does(lambda _, x: _half_zero(x.clone())), "not understood"),
    "sorted": (lambda: does(lambda _, x: x.sort(1)[0]), "mixes channels"),
    "summed up": (lambda: does(lambda _, x: x.cumsum(1)), "mixes channels"),
    "all pairs": (lambda: Bilinear(), ""),
    "bilinear": (lambda: Written(lambda m, x: m.b(m.f(x).mean((2, 3)), m.f(x).mean((2, 3))), f=block(3, 12),
                                 b=nn.Bilinear(12, 12, 3)), "bilinear is not understood"),
    "recurrence": (lambda: Written(lambda m, x: m.r(m.f(x).flatten(2).transpose(1, 2))[0][:, -1], f=block(3, 12),
                                   r=nn.GRU(12, 3, batch_first=True)), "gru is not understood"),
    "scan of a weight": (
        lambda: Written(lambda m, x: m.head(m.f(x).mean((2, 3))) + m.f[0].weight.mean(), f=block(3, 12),
                        head=nn.Linear(12, 3)), "value of its own",
    ),
    "attention whose weights count": (
        lambda: Multihead(lambda m, x: m(x, x, x)[0] * m(x, x, x)[1].mean(), batch_first=True), "",
    ),
    "own attention with its width": (lambda: OwnTransformer("literal"), ""),
}  # fmt: skip


def _half_zero(x: Tensor) -> Tensor:
    x[:, :6] = 0
    return x
