"""A network that was pickled whole is not read as the plain architecture where it computes something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torchvision.models.resnet import BasicBlock, ResNet

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.architectures.attention import with_free_heads
from fairprune_cli.models.checkpoint.contents import read_contents
from fairprune_cli.models.checkpoint.inert import Inert
from fairprune_cli.models.checkpoint.load import LoadedModel, load_model, load_usable
from fairprune_cli.models.checkpoint.module_differences import module_differences
from fairprune_cli.models.checkpoint.module_tree import module_tree

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def resnet10() -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2).eval()


class Swish(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.sigmoid()


class OwnBlock(BasicBlock):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


class ReLU(nn.Module):
    """Another function under a known name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def replaced(name: str, module: nn.Module) -> Callable[[nn.Module], None]:
    def change(net: nn.Module) -> None:
        parent, _, leaf = name.rpartition(".")
        setattr(net.get_submodule(parent), leaf, module)

    return change


def with_setting(name: str, **settings: Any) -> Callable[[nn.Module], None]:
    return lambda net: vars(net.get_submodule(name)).update(settings)


def in_order(net: nn.Module) -> None:
    """The two layers of a shortcut, called the other way round."""
    inner = net.layer2[0].downsample._modules
    inner["0"] = inner.pop("0")


def hooked(module: nn.Module, images: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def other_forward(images: torch.Tensor) -> torch.Tensor:
    return images


CHANGED: dict[str, tuple[Callable[[Any], object], str]] = {
    "pooling gone": (replaced("maxpool", nn.Identity()), "maxpool is MaxPool2d there and Identity here"),
    "another activation": (replaced("layer1.0.relu", nn.SiLU()), "layer1.0.relu is ReLU there and SiLU here"),
    "an activation of one's own": (replaced("relu", Swish()), "relu is ReLU there and .*Swish here"),
    "another pooling": (replaced("avgpool", nn.AdaptiveMaxPool2d(1)), "avgpool is AdaptiveAvgPool2d there"),
    "stride": (with_setting("layer4.0.conv1", stride=(1, 1)), r"stride of layer4.0.conv1 is \(2, 2\) there"),
    "dilation": (with_setting("layer3.0.conv2", dilation=(2, 2), padding=(2, 2)), "dilation of layer3.0.conv2"),
    "padding_mode": (with_setting("conv1", padding_mode="reflect"), "padding_mode of conv1 is zeros there and reflect"),
    "padding": (with_setting("layer1.0.conv1", padding="valid"), "padding of layer1.0.conv1"),
    "eps": (with_setting("bn1", eps=1e-3), "eps of bn1 is 1e-05 there and 0.001 here"),
    "size of the pooling": (with_setting("maxpool", kernel_size=2, padding=0), "kernel_size of maxpool"),
    "order": (in_order, "layer2.0.downsample calls its layers in another order"),
    "one more in a row": (lambda net: net.layer1.append(nn.ReLU()), "layer1 has 1 layers there and 2 here"),
    "a shortcut": (replaced("layer1.0.downsample", nn.AvgPool2d(1)), "downsample of layer1.0 is None there"),
    "a forward of its own": (lambda net: setattr(net, "forward", other_forward), "forward of the network was replaced"),
}  # fmt: skip

UNKNOWN: dict[str, tuple[Callable[[Any], object], str]] = {
    "a class of one's own": (lambda net: setattr(net.layer1[0], "__class__", OwnBlock), "layer1.0 is BasicBlock there"),
    "an old pooling": (replaced("avgpool", nn.AvgPool2d(2)), "the same on images of one size only"),
    "a known name": (replaced("relu", ReLU()), "relu is ReLU there and .*ReLU here"),
    "a hook": (lambda net: net.fc.register_forward_hook(hooked), "fc has a hook of .*hooked"),
    "a layer that is gone": (lambda net: delattr(net, "relu"), r"the network has no relu \(ReLU\)"),
}  # fmt: skip

HARMLESS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda net: None,
    "training": lambda net: net.train(),
    "not in place": with_setting("relu", inplace=False),
    "a loss beside": lambda net: setattr(net, "criterion", nn.CrossEntropyLoss()),
    "as a number": with_setting("avgpool", output_size=1),
    "padding in words": with_setting("layer1.0.conv2", padding="same"),
    "dropout where nothing was": lambda net: net.layer1.append(nn.Dropout(0.1)),
    "statistics over several machines": lambda net: nn.SyncBatchNorm.convert_sync_batchnorm(net.layer1),
    "settings that older versions lacked": lambda net: vars(net.conv1).pop("padding_mode"),
    "pruned by torch": lambda net: prune.l1_unstructured(net.layer1[0].conv1, "weight", 0.5),
}  # fmt: skip


def read(tmp_path: Path, change: Callable[[Any], object], **options: Any) -> LoadedModel:
    net = resnet10()
    change(net)
    torch.save(net, tmp_path / "c.pt")
    return load_model(tmp_path / "c.pt", **options)


def codes(loaded: LoadedModel) -> list[str]:
    return [warning["code"] for warning in loaded.warnings]


@pytest.mark.parametrize("kind", CHANGED)
def test_what_gives_other_outputs_is_an_error(tmp_path: Path, kind: str) -> None:
    change, words = CHANGED[kind]
    refused = read(tmp_path, change)
    assert "the network that was pickled computes something else" in refused.warnings[0]["text"]
    with pytest.raises(FairpruneError, match=words) as caught:
        load_usable(refused.source)
    assert "--trust-checkpoint" in caught.value.hint
    assert "--arch" in caught.value.hint
    loaded = read(tmp_path, change, arch="resnet10")  # who says so gets the plain one, and is told
    assert codes(loaded) == ["changed-network"]
    assert type(loaded.model) is ResNet


@pytest.mark.parametrize("kind", UNKNOWN)
def test_code_that_is_not_known_is_warned_of(tmp_path: Path, kind: str) -> None:
    change, words = UNKNOWN[kind]
    loaded = read(tmp_path, change)
    (warning,) = loaded.warnings
    assert warning["code"] == "changed-network"
    assert re.search(words, warning["text"])


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_changes_no_output_is_no_matter(tmp_path: Path, kind: str) -> None:
    loaded = read(tmp_path, HARMLESS[kind])
    assert "changed-network" not in codes(loaded)


@pytest.mark.parametrize("wrapper", [nn.DataParallel, torch.optim.swa_utils.AveragedModel, torch.compile])
def test_wrappers_are_seen_through(tmp_path: Path, wrapper: Callable[[nn.Module], nn.Module]) -> None:
    class_of = {"plain": resnet10(), "changed": resnet10()}
    class_of["changed"].maxpool = nn.Identity()
    torch.save({"model": wrapper(class_of["plain"])}, tmp_path / "c.pt")
    assert "changed-network" not in codes(load_model(tmp_path / "c.pt"))
    torch.save({"model": wrapper(class_of["changed"])}, tmp_path / "c.pt")
    with pytest.raises(FairpruneError, match="maxpool is MaxPool2d there"):
        load_usable(tmp_path / "c.pt")


class Scaled(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(2 * x)


def test_layers_before_and_after_it_that_have_no_tensors_are_seen(tmp_path: Path) -> None:
    def saved(net: nn.Module) -> Path:
        torch.save(net, tmp_path / "c.pt")
        return tmp_path / "c.pt"

    blur = nn.Sequential(nn.AvgPool2d(2), nn.DataParallel(resnet10()), nn.Dropout())
    with pytest.raises(FairpruneError, match=r"computes something else: AvgPool2d is called before it"):
        load_usable(saved(blur))
    with pytest.raises(FairpruneError, match=r"ReLU is called after it"):
        load_usable(saved(nn.Sequential(resnet10(), nn.ReLU())))
    (warning,) = [w for w in load_model(saved(Scaled(resnet10()))).warnings if w["code"] == "changed-network"]
    assert re.search(r"the network is .*Scaled, of which net is taken", warning["text"])
    probable = load_model(saved(nn.Sequential(resnet10(), nn.Softmax(1))))
    assert [w["code"] for w in probable.warnings if "Softmax is called after it" in w["text"]] == ["changed-network"]
    assert "changed-network" not in codes(load_model(saved(nn.Sequential(nn.Identity(), resnet10(), nn.Dropout()))))
    assert "changed-network" not in codes(load_model(saved(nn.ModuleDict({"net": resnet10()}))))


def test_what_matters_in_training_alone_is_said(tmp_path: Path) -> None:
    loaded = read(tmp_path, with_setting("bn1", momentum=0.01))
    assert "in training alone: momentum of bn1 is 0.1 there and 0.01 here" in loaded.warnings[0]["text"]


LARGE = ("vgg11_bn", "vit_b_16", "wide_resnet50_2")
ALIKE = [(name, False) for name in architectures.names() if name not in LARGE]


@pytest.mark.parametrize(("name", "legacy"), [*ALIKE, ("vit-tiny", True), ("resnet10-w16", True)])
def test_every_architecture_is_like_itself(tmp_path: Path, name: str, legacy: bool) -> None:
    """Records of a pickle and real modules are seen alike; torch's attention is as ours in its place."""
    net = architectures.build(name, 2, seed=0)
    torch.save(net, tmp_path / "c.pt", _use_new_zipfile_serialization=not legacy)
    record = read_contents(tmp_path / "c.pt", trust=False).table.module
    assert isinstance(record, Inert)
    found = module_differences(module_tree(record), module_tree(architectures.skeleton(name, 2)))
    assert (found.changed, found.unknown, found.training) == ([], [], [])


def test_torchvisions_own_attention(tmp_path: Path) -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    def made(heads: int) -> nn.Module:
        return VisionTransformer(32, 8, 1, heads, 16, 32)

    ours = module_tree(with_free_heads(made(2)))
    assert not module_differences(module_tree(made(2)), ours)
    assert "head_width of encoder.layers.encoder_layer_0.self_attention is 8 there and 4 here" in (
        module_differences(module_tree(made(4)), ours).changed
    )


def test_a_normalisation_that_pretrained_weights_switch_on(tmp_path: Path) -> None:
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, num_classes=2, aux_logits=False, init_weights=False)
    net.transform_input = True
    torch.save(net, tmp_path / "c.pt")
    with pytest.raises(FairpruneError, match="transform_input of the network is False there and True here"):
        load_usable(tmp_path / "c.pt")


def test_a_pruned_copy_of_a_changed_network_is_refused_as_well(tmp_path: Path) -> None:
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2)
    block = net.layer1[0]
    block.conv1, block.bn1 = nn.Conv2d(64, 40, 3, 1, 1, bias=False), nn.BatchNorm2d(40)
    block.conv2 = nn.Conv2d(40, 64, 3, 1, 1, bias=False)
    torch.save(net.eval(), tmp_path / "c.pt")
    loaded = load_model(tmp_path / "c.pt")
    assert codes(loaded) == ["checkpoint-converted"]
    assert torch.allclose(loaded.model(IMAGES), net(IMAGES), atol=1e-5)
    block.conv2.stride = (2, 2)
    torch.save(net, tmp_path / "c.pt")
    with pytest.raises(FairpruneError, match=r"stride of layer1\.0\.conv2"):
        load_usable(tmp_path / "c.pt")


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    def freeze(net: nn.Module) -> None:
        for name, parameter in net.named_parameters():
            parameter.requires_grad = name.startswith("fc")

    loaded = read(tmp_path, freeze)
    assert {name for name, p in loaded.model.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}
    # A copy that was kept for evaluation asks for no gradient at all.
    assert all(p.requires_grad for p in read(tmp_path, lambda net: net.requires_grad_(False)).model.parameters())
