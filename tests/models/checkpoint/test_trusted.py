"""A trusted network keeps its own forward, and has a known name only where it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.file.codec import ModelHeader, load_with_header, save_model

IMAGES = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


class Shifted(nn.Module):
    """A known network and more behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = architectures.build("resnet10-w16", 2, seed=1)
        self.last = nn.Linear(2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.net(images)) + 1


def changed() -> nn.Module:
    net: Any = architectures.build("resnet10-w16", 2, seed=1)
    net.conv1.stride = (1, 1)
    net.layer1[0].relu = nn.SiLU()
    return net.eval()


def plain() -> nn.Module:
    return architectures.build("resnet10-w16", 2, seed=1).eval()


class Parallel(nn.DataParallel):
    """A subclass, as for attributes of the inner network."""


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda net: net, nn.DataParallel, Parallel, torch.compile, checkpoint_wrapper, AveragedModel,
        lambda net: {"model": nn.DataParallel(checkpoint_wrapper(net))},
    ],
)  # fmt: skip
def test_what_computes_the_same_has_the_known_name(tmp_path: Path, wrapper: Any) -> None:
    torch.save(wrapper(plain()), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", trust=True)
    assert (loaded.architecture, loaded.structure, loaded.classes) == ("resnet10-w16", "resnet10-w16", 2)
    assert torch.equal(loaded.model(IMAGES), plain()(IMAGES))


@pytest.mark.parametrize("build", [changed, Shifted])
def test_what_computes_something_else_is_its_own_structure(tmp_path: Path, build: Any) -> None:
    net = build().eval()
    torch.save(net, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", trust=True)
    assert loaded.architecture == f"{type(net).__module__}:{type(net).__qualname__}"
    assert isinstance(loaded.structure, nn.Module)
    assert torch.equal(loaded.model(IMAGES), net(IMAGES))
    with torch.no_grad():
        next(loaded.model.parameters()).zero_()
    assert torch.equal(loaded.structure(IMAGES), net(IMAGES))  # no part of it is the model's


def test_a_file_of_it_is_read_with_its_structure(tmp_path: Path) -> None:
    net = changed()
    torch.save(net, tmp_path / "m.pt")
    with torch.no_grad():
        net.fc.weight += 1
    save_model(tmp_path / "p.safetensors", net, header=ModelHeader("any:Net", ("a", "b"), {}, "dense", {}))
    loaded = load_model(tmp_path / "m.pt", trust=True)
    assert torch.equal(load_with_header(tmp_path / "p.safetensors", loaded.structure)[0](IMAGES), net(IMAGES))
    named = load_model(tmp_path / "p.safetensors", arch=str(tmp_path / "m.pt"), trust=True)
    assert torch.equal(named.model(IMAGES), net(IMAGES))
    assert named.trusted
    assert [warning["code"] for warning in named.warnings] == ["trusted-checkpoint"]
    assert isinstance(named.structure, nn.Module)
    assert torch.equal(load_with_header(tmp_path / "p.safetensors", named.structure)[0](IMAGES), net(IMAGES))
    with pytest.raises(FairpruneError, match="no reason to import code"):
        load_model(tmp_path / "p.safetensors")


def test_a_state_dict_in_the_structure_of_another_file(tmp_path: Path) -> None:
    net = changed()
    torch.save(net, tmp_path / "m.pt")
    with torch.no_grad():
        net.fc.weight += 1
    torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "s.pt")
    loaded = load_model(tmp_path / "s.pt", arch=str(tmp_path / "m.pt"), trust=True)
    assert torch.equal(loaded.model(IMAGES), net(IMAGES))


def test_its_names_may_stand_behind_any_prefix_and_beside_other_tensors(tmp_path: Path) -> None:
    net = changed()
    torch.save(net, tmp_path / "m.pt")
    with torch.no_grad():
        net.fc.weight += 1
    state = {f"net.encoder.{key}": value for key, value in net.state_dict().items()}
    torch.save({**state, "criterion.pos_weight": torch.ones(2)}, tmp_path / "s.pt")
    loaded = load_model(tmp_path / "s.pt", arch=str(tmp_path / "m.pt"), trust=True)
    assert torch.equal(loaded.model(IMAGES), net(IMAGES))
    said = " ".join(warning["text"] for warning in loaded.warnings)
    assert "'net.encoder.'" in said
    assert "criterion.pos_weight" in said
    torch.save({**state, "net.encoder.layer1.7.weight": torch.ones(2)}, tmp_path / "s.pt")
    with pytest.raises(FairpruneError, match=r"layer1\.7\.weight is unexpected"):
        load_model(tmp_path / "s.pt", arch=str(tmp_path / "m.pt"), trust=True)


def test_a_file_is_no_structure_unless_it_is_trusted(tmp_path: Path) -> None:
    torch.save(plain(), tmp_path / "m.pt")
    torch.save(plain().state_dict(), tmp_path / "s.pt")
    with pytest.raises(FairpruneError, match="runs the code that the file names") as caught:
        load_model(tmp_path / "s.pt", arch=str(tmp_path / "m.pt"))
    assert "--trust-checkpoint" in caught.value.hint
    with pytest.raises(FairpruneError, match="no network that was pickled whole"):
        load_model(tmp_path / "m.pt", arch=str(tmp_path / "s.pt"), trust=True)
    with pytest.raises(FairpruneError, match="no such file"):
        load_model(tmp_path / "m.pt", arch=str(tmp_path / "gone.pt"), trust=True)


def test_numbers_of_a_trusted_network_must_be_finite(tmp_path: Path) -> None:
    net: Any = changed()
    with torch.no_grad():
        net.fc.bias[0] = float("nan")
    torch.save(net, tmp_path / "m.pt")
    with pytest.raises(FairpruneError, match=r"fc\.bias has 1 of 2 numbers"):
        load_model(tmp_path / "m.pt", trust=True)


def test_complex_numbers_are_no_divergence(tmp_path: Path) -> None:
    net = plain()
    net.filter = nn.Parameter(torch.ones(2, dtype=torch.cfloat))
    torch.save(net, tmp_path / "m.pt")
    with pytest.raises(FairpruneError, match=r"filter holds torch\.complex64 numbers") as caught:
        load_model(tmp_path / "m.pt", trust=True)
    assert "real" in caught.value.hint
    assert "diverged" not in caught.value.hint
