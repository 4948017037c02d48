"""Networks by the way their code is written, and by the images they take."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class DefaultFlag(nn.Module):
    """forward(x, return_features=False)."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x, return_features=False, mask=None):
        h = self.f(x)
        if mask is not None:
            h = h * mask
        h = h.mean((2, 3))
        if return_features:
            return h
        return self.fc(h)


class StarArguments(nn.Module):
    """forward(*args, **kwargs), handed on."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.model = DefaultFlag(num_classes)

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)


class Lambda(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def lambdas(num_classes=2):
    """Functions as modules in a Sequential."""
    return nn.Sequential(
        Lambda(lambda x: x * 2 - 1), nn.Conv2d(3, 16, 3, 2, 1), Lambda(F.relu), nn.Conv2d(16, 32, 3, 2, 1),
        Lambda(torch.nn.functional.gelu), Lambda(lambda x: x.mean((2, 3))), nn.Linear(32, num_classes),
    )  # fmt: skip


class OddOrder(nn.Module):
    """Modules registered in another order than they are used, some never used, names by getattr."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.fc = nn.Linear(32, num_classes)
        self.conv3 = nn.Conv2d(24, 32, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(32)
        self.unused = nn.Linear(7, 5)
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.bn2 = nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(16, 24, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(16)

    def forward(self, x):
        for i in range(1, 4):
            x = getattr(self, "bn%d" % i)(getattr(self, "conv%d" % i)(x))
            x = torch.relu(x)
        return self.fc(x.mean((2, 3)))


class NamedBlocks(nn.Module):
    """A ModuleDict run in its order, add_module with numbers as names, a ParameterDict and a ParameterList."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.blocks = nn.ModuleDict()
        for name, i, o in (("stem", 3, 16), ("mid", 16, 24), ("top", 24, 32)):
            self.blocks[name] = nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o))
        self.bias = nn.ParameterDict({n: nn.Parameter(torch.zeros(1, o, 1, 1)) for n, o in (("stem", 16), ("mid", 24))})
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(3)])
        self.add_module("out", nn.Linear(32, num_classes))

    def forward(self, x):
        for gain, (name, block) in zip(self.gains, self.blocks.items(), strict=True):
            x = block(x)
            if name in self.bias:
                x = x + self.bias[name]
            x = F.relu(x * gain)
        return self.out(x.mean((2, 3)))


class ReadsShape(nn.Module):
    """Decides by x.shape, by x.dim() and by an assertion."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        assert x.dim() == 4, f"Expected 4D input, got {x.dim()}D"
        if x.shape[1] == 1:
            x = x.repeat(1, 3, 1, 1)
        x = F.relu(self.c2(F.relu(self.c1(x))))
        if x.shape[-1] > 4:
            x = F.relu(self.c3(x))
        if not torch.jit.is_scripting() and x.shape[0] == 0:
            raise ValueError("empty batch")
        return self.fc(x.mean((2, 3)))


class ReadsValues(nn.Module):
    """Decides by values, which no record of operations can follow."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        if x.max() > 100:
            x = x / 255.0
        x = F.relu(self.c3(F.relu(self.c2(F.relu(self.c1(x))))))
        return self.fc(x.mean((2, 3)))


class HalfInside(nn.Module):
    """Casts and moves as deployed code does: .float(), .to(device), contiguous, autocast off."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = x.float().to(self.fc.weight.device).type_as(self.fc.weight).contiguous()
        with torch.autocast(x.device.type, enabled=False):
            x = F.relu(self.c2(F.relu(self.c1(x))).clone())
        return self.fc(x.mean((2, 3)).to(dtype=torch.float32))


class InPlace(nn.Module):
    """Assignments into slices and in-place arithmetic on features."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 1, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.c1(x)
        x = x.mul_(0.9).add_(0.1)
        x = self.c2(F.relu(x, inplace=True))
        y = x.clone()
        y[:, :, 0, :] = 0
        x += y
        x *= 0.5
        return self.fc(F.relu_(self.c3(x)).mean((2, 3)))


class Masked(nn.Module):
    """torch.where, masked_fill, comparisons, a mask over places by quantile-free arithmetic."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 1, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        x = self.c1(x)
        x = torch.where(x > 0, x, torch.zeros_like(x))
        x = self.c2(x)
        x = x.masked_fill(x < 0, 0.0)
        x = self.c3(x)
        x = x * (x > 0.1).float()
        return self.fc(x.mean((2, 3)))


@torch.fx.wrap
def swish_outside(x):
    return x * torch.sigmoid(x)


class SwishFunction(torch.autograd.Function):
    """EfficientNet-PyTorch's memory-efficient swish."""

    @staticmethod
    def forward(ctx, i):
        ctx.save_for_backward(i)
        return i * torch.sigmoid(i)

    @staticmethod
    def backward(ctx, grad_output):
        (i,) = ctx.saved_tensors
        s = torch.sigmoid(i)
        return grad_output * (s * (1 + i * (1 - s)))


class MemoryEfficientSwish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


class CustomFunction(nn.Module):
    """An activation by torch.autograd.Function."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 1, 1)
        self.act = MemoryEfficientSwish()
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        return self.fc(self.act(self.c3(self.act(self.c2(self.act(self.c1(x)))))).mean((2, 3)))


class Scripted(nn.Module):
    """A part compiled by torch.jit.script, as activations used to be."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 1, 1)
        self.fc = nn.Linear(48, num_classes)

    @torch.jit.ignore
    def note(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = swish_jit(self.c1(x))
        x = swish_jit(self.c2(self.note(x)))
        return self.fc(swish_jit(self.c3(x)).mean((2, 3)))


@torch.jit.script
def swish_jit(x: Tensor) -> Tensor:
    return x.mul(x.sigmoid())


class LazyHead(nn.Module):
    """nn.LazyLinear, whose width the first image decides; and a lazy convolution."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(
            nn.LazyConv2d(16, 3, 2, 1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)
        )
        self.fc = nn.LazyLinear(num_classes)

    def forward(self, x):
        return self.fc(torch.flatten(F.relu(self.net(x)), 1))


def lazy_initialised(num_classes=2):
    """The same after its first image, as its factory should hand it out."""
    model = LazyHead(num_classes)
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    return model


class GreyImages(nn.Module):
    """One channel in."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3)))


class GreyFromColour(nn.Module):
    """Colour images, made grey inside by a weighted sum."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
        self.net = GreyImages(num_classes)

    def forward(self, x):
        return self.net((x * self.luma).sum(1, keepdim=True))


class WideImages(nn.Module):
    """Crops of 48 x 96 pixels, flattened at that size."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
        self.fc1, self.fc2 = nn.Linear(16 * 12 * 24, 48), nn.Linear(48, num_classes)

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class FiveChannels(nn.Module):
    """Colour, depth and a mask."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.rgb, self.rest = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(2, 8, 3, 2, 1)
        self.c2 = nn.Conv2d(24, 32, 3, 2, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = torch.cat([self.rgb(x[:, :3]), self.rest(x[:, 3:])], 1)
        return self.fc(F.relu(self.c2(F.relu(x))).mean((2, 3)))


class Spatial(nn.Module):
    """A spatial transformer: a small network turns and moves the image, by affine_grid and grid_sample."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.loc = nn.Sequential(nn.Conv2d(3, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.fc_loc = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 6))
        self.c1, self.c2 = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 2, 1)
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        theta = self.fc_loc(self.loc(x)).view(-1, 2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, x.size(), align_corners=False), align_corners=False)
        return self.fc(F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3)))


class Coordinates(nn.Module):
    """CoordConv: two channels with the places are appended to the features."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(5, 24, 3, 2, 1), nn.Conv2d(26, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def add(self, x):
        b, _, h, w = x.shape
        ys = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(b, 1, h, w)
        xs = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(b, 1, h, w)
        return torch.cat([x, ys, xs], dim=1)

    def forward(self, x):
        x = F.relu(self.c1(self.add(x)))
        x = F.relu(self.c2(self.add(x)))
        return self.fc(F.relu(self.c3(x)).mean((2, 3)))


class TorchvisionInside(nn.Module):
    """A torchvision trunk with its fc replaced by Identity and a head of one's own."""

    def __init__(self, num_classes=2):
        super().__init__()
        from torchvision.models.resnet import BasicBlock, ResNet

        self.backbone = ResNet(BasicBlock, [1, 1, 1, 1])
        n = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        self.classifier = nn.Sequential(nn.Linear(n, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, x):
        return self.classifier(self.backbone(x))


class TorchvisionChildren(nn.Module):
    """nn.Sequential(*list(resnet.children())[:-1]), the features squeezed."""

    def __init__(self, num_classes=2):
        super().__init__()
        from torchvision.models.resnet import BasicBlock, ResNet

        self.features = nn.Sequential(*list(ResNet(BasicBlock, [1, 1, 1, 1]).children())[:-1])
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).squeeze(-1).squeeze(-1))


class Extracted(nn.Module):
    """Features of inner layers by torchvision's create_feature_extractor, joined."""

    def __init__(self, num_classes=2):
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor
        from torchvision.models.resnet import BasicBlock, ResNet

        net = ResNet(BasicBlock, [1, 1, 1, 1])
        self.body = create_feature_extractor(net, return_nodes={"layer2": "c3", "layer4": "c5"})
        self.fc = nn.Linear(128 + 512, num_classes)

    def forward(self, x):
        maps = self.body(x)
        return self.fc(torch.cat([maps["c3"].mean((2, 3)), maps["c5"].mean((2, 3))], 1))


class Hooked(nn.Module):
    """A forward hook keeps what a layer gives, and the head reads it."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)
        self.fc = nn.Linear(24 + 32, num_classes)
        self.kept = {}
        self.c1.register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.kept["c1"] = output

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        return self.fc(torch.cat([x.mean((2, 3)), self.kept["c1"].mean((2, 3))], 1))


class FeatureNoise(nn.Module):
    """Noise and cutout that only training adds, with shapes from the features."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.c1(x))
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        x = F.relu(self.c2(x))
        if self.training:
            x = x * torch.bernoulli(torch.full((x.size(0), x.size(1), 1, 1), 0.9, device=x.device))
        return self.fc(F.relu(self.c3(x)).mean((2, 3)))


class LowRank(nn.Module):
    """LoRA beside a frozen linear layer: two thin matrices, multiplied and added."""

    class Linear(nn.Module):
        def __init__(self, i, o, r=4):
            super().__init__()
            self.base = nn.Linear(i, o)
            self.base.requires_grad_(False)
            self.lora_A, self.lora_B = nn.Parameter(torch.randn(r, i) * 0.1), nn.Parameter(torch.zeros(o, r))

        def forward(self, x):
            return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * 2.0

    def __init__(self, num_classes=2):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU())
        self.fc1, self.fc2 = self.Linear(64, 48), nn.Linear(48, num_classes)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(self.conv(x).mean((2, 3)))))
