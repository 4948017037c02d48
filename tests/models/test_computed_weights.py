"""Weights that are computed anew at each pass become what they are; layers for several processes become ordinary."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import load_model
from tests.support import own_networks
from tests.support.own_networks import Doubled, Plain, Synchronised, computed

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
OWN = own_networks.__name__
WAYS = {
    "weight_norm": weight_norm,
    "the other weight_norm": parametrizations.weight_norm,
    "spectral_norm": spectral_norm,
    "the other spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "prune": lambda layer: prune.l1_unstructured(prune.random_unstructured(layer, "weight", 0.2), "weight", 0.3),
    "own": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
    "bias too": lambda layer: parametrize.register_parametrization(weight_norm(layer), "bias", Doubled()),
}


def is_plain(model: nn.Module) -> bool:
    """Whether no weight is computed at each pass."""
    modules = list(model.modules())
    return not any(parametrize.is_parametrized(module) or module._forward_pre_hooks for module in modules)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IMAGES)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trains", [True, False])
def test_a_weight_is_what_it_was_computed_to_be(way: str, trains: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(WAYS[way](nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 196, 2))
    model.train()(IMAGES)  # spectral_norm takes a step of its own
    model[0].requires_grad_(trains)
    before = logits(model)
    assert not is_plain(model)
    (*_, sentence) = architectures.make_plain(model.train())
    assert sentence.startswith("a weight that ")
    assert is_plain(model)
    assert model.training
    assert torch.equal(logits(model), before)
    assert set(model.state_dict()) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert model[0].weight.is_leaf
    assert model[0].weight.requires_grad == trains
    copy.deepcopy(model).load_state_dict(model.state_dict())
    assert architectures.make_plain(model) == []


def test_copies_of_a_module_with_a_parametrization_are_all_freed() -> None:
    """They share a class, from which torch takes the weight away when it is removed from one."""
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Conv2d(3, 3, 3, padding=1))
    model = nn.Sequential(layer, copy.deepcopy(layer), nn.Flatten(), nn.Linear(3 * 256, 2)).eval()
    before = logits(model)
    assert architectures.make_plain(model) == [
        "2 weights that spectral_norm computes at each pass are pruned as what it gives"
    ]
    assert torch.equal(logits(model), before)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_checkpoint_is_loaded_into_the_network_as_it_is_and_then_freed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = computed(2)
    model.train()(IMAGES)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", arch=f"{OWN}:computed")
    assert torch.equal(logits(loaded.model), logits(model))
    assert is_plain(loaded.model)
    said = [warning["text"] for warning in loaded.warnings if warning["code"] == "computed-weights"]
    assert said == [
        "a weight that Doubled computes at each pass is pruned as what it gives",
        "2 weights that spectral_norm computes at each pass are pruned as what it gives",
        "2 weights that weight_norm computes at each pass are pruned as what it gives",
    ]
    # One that was freed before it was saved goes into the same network.
    architectures.make_plain(model)
    torch.save(model.state_dict(), tmp_path / "freed.pt")
    assert torch.equal(logits(load_model(tmp_path / "freed.pt", arch=f"{OWN}:computed").model), logits(model))


def test_a_trusted_module_is_freed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Plain(2)
    prune.l1_unstructured(model.fc, "weight", 0.5)
    spectral_norm(model.f[0][0])
    torch.save(model.train(), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", trust=True)
    assert torch.equal(logits(loaded.model), logits(model))
    assert is_plain(loaded.model)
    said = [warning["text"].split()[3] for warning in loaded.warnings if warning["code"] == "computed-weights"]
    assert said == ["spectral_norm", "torch.nn.utils.prune"]


def test_norms_over_processes_take_images_and_vectors_in_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4), nn.Flatten(), nn.SyncBatchNorm(4 * 196), nn.ReLU())
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(4 * 196), nn.ReLU())
    twin.load_state_dict(model.state_dict())
    assert architectures.make_plain(model) == []
    assert torch.equal(model.train()(IMAGES), twin.train()(IMAGES))
    assert torch.equal(logits(model), logits(twin))
    with pytest.raises(ValueError, match="expected"):
        model[1](torch.ones(4))


def test_a_network_with_norms_over_processes_is_loaded(tmp_path: Path) -> None:
    torch.save(Synchronised(2).state_dict(), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", arch=f"{OWN}:Synchronised")
    assert loaded.model.train()(IMAGES).shape == (2, 2)
    assert loaded.warnings == []


@pytest.mark.parametrize("classes", [2, 5])
def test_a_lazy_layer_has_the_width_of_the_checkpoint(classes: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = own_networks.Lazy(classes)
    before = logits(model)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", arch=f"{OWN}:Lazy")
    assert loaded.classes == 0  # a layer without a shape does not tell
    assert type(loaded.model.fc) is nn.Linear
    assert (loaded.model.fc.in_features, loaded.model.fc.out_features) == (12 * 16, classes)
    assert torch.equal(logits(loaded.model), before)


def test_every_lazy_layer_of_torch_is_given_its_widths() -> None:
    def net() -> nn.Module:
        return nn.Sequential(
            nn.LazyConv2d(8, 3, groups=1), nn.LazyBatchNorm2d(), nn.LazyConv2d(6, 1, groups=2),
            nn.LazyConvTranspose2d(4, 2), nn.LazyInstanceNorm2d(affine=True), nn.Flatten(), nn.LazyLinear(2),
        )  # fmt: skip

    torch.manual_seed(0)
    source, model = net(), net()
    before = logits(source)
    architectures.load_strictly(model, source.state_dict())
    assert torch.equal(logits(model), before)
    assert [type(layer) for layer in model] == [type(layer) for layer in source]
    assert (model[0].in_channels, model[2].in_channels, model[3].in_channels) == (3, 8, 6)
    assert (model[1].num_features, model[4].num_features) == (8, 4)


def test_a_lazy_layer_without_numbers_is_refused(tmp_path: Path) -> None:
    torch.save(own_networks.Lazy(2), tmp_path / "model.pt")
    with pytest.raises(FairpruneError, match=r"fc\.weight has no numbers yet.*first images") as caught:
        load_model(tmp_path / "model.pt", trust=True)
    assert "run the network once" in caught.value.hint
    state = {name: t for name, t in own_networks.Plain(2).state_dict().items() if name != "fc.weight"}
    with pytest.raises(FairpruneError, match=r"fc takes its width from its first images, and fc\.weight is missing"):
        architectures.load_strictly(own_networks.Lazy(2), state)


# --- tied weights -------------------------------------------------------------------------------------------------


def test_a_tied_weight_stays_one_through_loading(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = own_networks.Tied(2)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt", arch=f"{OWN}:Tied").model
    assert loaded.c1.weight is loaded.c2.weight
    assert torch.equal(logits(loaded), logits(model))
    assert len(list(loaded.parameters())) == len(list(model.parameters()))


def test_safetensors_without_the_second_name_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    model = own_networks.Tied(2)
    save_model(model, str(tmp_path / "model.safetensors"))
    loaded = load_model(tmp_path / "model.safetensors", arch=f"{OWN}:Tied").model
    assert loaded.c1.weight is loaded.c2.weight
    assert torch.equal(logits(loaded), logits(model))


def test_different_numbers_under_names_of_one_weight_are_refused(tmp_path: Path) -> None:
    state = dict(own_networks.Tied(2).state_dict())
    state["c2.weight"] = state["c2.weight"] + 1
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(FairpruneError, match=r"c1\.weight and c2\.weight are one weight") as caught:
        load_model(tmp_path / "model.pt", arch=f"{OWN}:Tied")
    assert "torch would take those of c2.weight" in caught.value.hint


def test_weights_that_share_memory_in_the_file_alone_are_parted() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    state = model.state_dict()
    state["1.weight"] = state["0.weight"].detach()
    architectures.load_strictly(model, state)
    model[0].weight.data.zero_()
    assert model[1].weight.any()
