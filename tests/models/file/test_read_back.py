"""Whatever a removal can shrink comes back from its file, to the bit; a file that says otherwise is refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fairprune_cli
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.models.sameness import same_network
from fairprune_cli.pruning import target
from fairprune_cli.pruning.channels import removal
from fairprune_cli.pruning.masks import ChannelMasks, WeightMasks
from tests.support import own_networks
from tests.support.networks import unlike_fresh
from tests.support.own_networks import Mixture, Plain, Scaled, Tied, TwiceNamed, spaces_of_mixture

SIZE = 16
IMAGES = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4))
TRANSFORM = {"size": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}
# By network, tensors that have to be smaller afterwards.
SHRINK = {
    "Plain": ["f.0.0.weight", "f.1.1.running_var", "fc.weight"],
    "VectorNorm": ["fc1.weight", "bn.weight", "bn.running_mean", "fc2.weight"],
    "Scaled": ["kept", "left_out", "vector", "b.0.weight", "fc.weight"],
    "Flat": ["head.weight", "second.0.weight"],
    "Tied": ["c1.weight", "c2.weight", "b2.bias"],
    "TwiceNamed": ["c1.0.weight", "layers.0.0.weight", "c2.1.running_mean"],
    "Synchronised": ["f.0.1.running_mean", "f.1.1.weight"],
    "Lazy": ["fc.weight"],
    "computed": ["0.weight", "2.weight", "4.weight", "6.weight", "8.weight"],
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = getattr(own_networks, name)(2)
    with torch.no_grad():
        net(IMAGES)  # a lazy layer takes its width from them
    return unlike_fresh(net)


def as_loaded(name: str, tmp_path: Path) -> nn.Module:
    """The network as a run has it: read from a checkpoint."""
    from fairprune_cli.models.checkpoint.load import load_model

    torch.save(made(name).state_dict(), tmp_path / "checkpoint.pt")
    return load_model(tmp_path / "checkpoint.pt", arch=f"{own_networks.__name__}:{name}").model


def pruned(model: nn.Module) -> nn.Module:
    smaller = copy.deepcopy(model)
    masks = ChannelMasks(smaller, removal.channel_spaces(smaller, SIZE))
    scores = torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(1))
    masks.apply(masks.select(masks.rank_within(scores), 0.5))
    masks.harden(smaller)
    return smaller


def header(architecture: str, granularity: str, removed: dict) -> codec.ModelHeader:
    return codec.ModelHeader(architecture, ("a", "b"), TRANSFORM, granularity, removed)


def written(model: nn.Module, dense: nn.Module, path: Path, name: str = "Plain") -> Path:
    removed = target.removed(model, dense, {}, target.Earlier())
    codec.save_model(path, model, header=header(f"{own_networks.__name__}:{name}", "channel", removed))
    return path


@pytest.mark.parametrize("name", SHRINK)
def test_channels_of_every_kind_of_layer_come_back(name: str, tmp_path: Path) -> None:
    dense = as_loaded(name, tmp_path)
    model = pruned(dense)
    before, after = (dict(net.named_parameters(remove_duplicate=False)) for net in (dense, model))
    before |= dict(dense.named_buffers(remove_duplicate=False))
    after |= dict(model.named_buffers(remove_duplicate=False))
    assert [tensor for tensor in SHRINK[name] if after[tensor].numel() >= before[tensor].numel()] == []
    path = written(model, dense, tmp_path / "model.safetensors", name)
    for arch in (f"{own_networks.__name__}:{name}", dense):
        found = codec.load_network(path, arch)
        assert same_network(model, found, IMAGES) == ""
        assert found is not dense
        assert all(parameter.requires_grad for parameter in found.parameters())
    assert same_network(dense, as_loaded(name, tmp_path), IMAGES) == ""  # the module that was given is as it was


@pytest.mark.parametrize("name", SHRINK)
def test_single_weights_of_every_kind_of_layer_come_back(name: str, tmp_path: Path) -> None:
    dense = as_loaded(name, tmp_path)
    model = copy.deepcopy(dense)
    masks = WeightMasks(model)
    masks.apply(masks.select(masks.magnitude(), 0.6))
    sparse = masks.sparse_entries(masks.keep)
    removed = target.removed(model, dense, sparse, target.Earlier())
    path, arch = tmp_path / "model.safetensors", f"{own_networks.__name__}:{name}"
    codec.save_model(path, model, header=header(arch, "weight", removed), masks=sparse)
    assert same_network(model, codec.load_network(path, arch), IMAGES) == ""
    assert sum(int(mask.sum()) for mask in codec.read_masks(path).values()) == masks.kept


def test_the_public_load_takes_what_builds_the_network(tmp_path: Path) -> None:
    dense = made("Plain")
    model = pruned(dense)
    path = written(model, dense, tmp_path / "model.safetensors")
    for arch in (dense, f"{own_networks.__name__}:Plain"):
        assert same_network(model, fairprune_cli.load(str(path), arch=arch), IMAGES) == ""
    with pytest.raises(FairpruneError, match="no reason to import code"):
        fairprune_cli.load(path)
    with pytest.raises(FairpruneError, match="arch is Plain, neither a network nor a name") as caught:
        fairprune_cli.load(path, arch=type(dense))  # type: ignore[arg-type]
    assert caught.value.hint is not None
    assert "arch=Plain(...)" in caught.value.hint


def test_layers_with_widths_of_their_own_come_back(tmp_path: Path) -> None:
    dense = made("Mixture")
    model = copy.deepcopy(dense)
    keep = torch.tensor([True, False, True, True, False, True, True, False, True, True])
    removal.remove_channels(model, spaces_of_mixture(), keep)
    found = codec.load_network(written(model, dense, tmp_path / "model.safetensors"), dense)
    assert same_network(model, found, IMAGES) == ""
    assert isinstance(found, Mixture)
    assert (found.g1.num_groups, found.g1.num_channels, found.p1.num_parameters) == (3, 6, 6)
    assert (found.up.in_channels, found.up.out_channels, found.i1.num_features) == (6, 4, 4)


def test_the_account_says_what_shrank_and_where() -> None:
    dense = made("Scaled")
    model = pruned(dense)
    told = target.removed(model, dense, {}, target.Earlier())
    width = model.a[0].out_channels
    assert told["a.0.weight"] == {"shape": [8, 3, 3, 3], "kept": width * 27, "dims": [0]}
    assert told["b.0.weight"]["dims"] == [0, 1]
    assert told["kept"] == {"shape": [8, 1, 1], "kept": width, "dims": [0]}
    assert told["left_out"] == {"shape": [1, 8, 1, 1], "kept": width, "dims": [1], "persistent": False}
    assert "fc.bias" not in told


def test_a_file_from_before_there_were_accounts_is_read_by_its_shapes(tmp_path: Path) -> None:
    dense = made("Plain")
    model = pruned(dense)
    now = target.removed(model, dense, {}, target.Earlier())
    parameters = dict(model.named_parameters())
    old = {name: {"shape": entry["shape"], "kept": entry["kept"]} for name, entry in now.items() if name in parameters}
    codec.save_model(tmp_path / "m.safetensors", model, header=header("own", "channel", old))
    found, told = codec.load_with_header(tmp_path / "m.safetensors", dense)
    assert same_network(model, found, IMAGES) == ""
    assert told.removed == now  # so that the next file has all of it


@pytest.mark.parametrize(
    ("tensor", "change", "words"),
    [
        ("f.1.0.weight", {"shape": [12, 9, 3, 3]}, r"of \(12, 9, 3, 3\) before it was pruned, the network has \(12, 8"),
        ("f.1.0.weight", None, "of which nothing was removed, the network has"),
    ],
)
def test_an_account_that_does_not_fit_the_network_is_refused(
    tensor: str, change: dict | None, words: str, tmp_path: Path
) -> None:
    dense = made("Plain")
    model = pruned(dense)
    told = target.removed(model, dense, {}, target.Earlier())
    told[tensor] = {**told[tensor], **(change or {})}
    if change is None:
        del told[tensor]
    codec.save_model(tmp_path / "m.safetensors", model, header=header("own", "channel", told))
    with pytest.raises(FairpruneError, match=words) as caught:
        codec.load_network(tmp_path / "m.safetensors", dense)
    assert tensor in str(caught.value)


@pytest.mark.parametrize("wrong", [{"dims": [4]}, {"dims": "all"}, {"persistent": True}, {"dims": [], "shape": None}])
def test_a_damaged_account_is_refused(wrong: dict, tmp_path: Path) -> None:
    told = {"f.0.0.weight": {"shape": [8, 3, 3, 3], "kept": 216, **wrong}}
    told["f.0.0.weight"] = {key: value for key, value in told["f.0.0.weight"].items() if value is not None}
    codec.save_model(tmp_path / "m.safetensors", made("Plain"), header=header("own", "channel", told))
    with pytest.raises(FairpruneError, match=r"removed of 'f\.0\.0\.weight'"):
        codec.read_header(tmp_path / "m.safetensors")


def test_a_buffer_that_shrank_has_to_be_in_the_file(tmp_path: Path) -> None:
    dense = made("Scaled")
    model = pruned(dense)
    told = target.removed(model, dense, {}, target.Earlier())
    with pytest.raises(FairpruneError, match="'left_out' shrank, but is not there"):
        codec.save_model(tmp_path / "m.safetensors", model.state_dict(), header=header("own", "channel", told))


@pytest.mark.parametrize("name", ["nowhere.buffer", "f.buffer", "fc.bias"])
def test_a_buffer_that_the_network_does_not_have_is_refused(name: str, tmp_path: Path) -> None:
    dense = made("Plain")
    told = {name: {"shape": [3], "kept": 2, "dims": [0], "persistent": False}}
    state = {**dense.state_dict(), name: torch.zeros(2)}
    codec.save_model(tmp_path / "m.safetensors", state, header=header("own", "channel", told))
    with pytest.raises(FairpruneError, match=name):
        codec.load_network(tmp_path / "m.safetensors", dense)


def test_the_width_that_a_file_tells_of_a_lazy_layer_is_not_allocated(tmp_path: Path) -> None:
    dense = own_networks.Lazy(2)
    state = made("Lazy").state_dict()
    rows, columns = state["fc.weight"].shape
    told = {"fc.weight": {"shape": [rows, 1 << 50], "kept": rows * columns, "dims": [1]}}
    codec.save_model(tmp_path / "m.safetensors", state, header=header("own", "channel", told))
    assert codec.load_network(tmp_path / "m.safetensors", dense).fc.weight.shape == (rows, columns)


def test_a_number_of_outputs_that_takes_no_space_in_the_file_is_refused(tmp_path: Path) -> None:
    from fairprune_cli.models.file.container import write_safetensors

    count = 999_999_999
    told = dataclasses.replace(header("resnet10-w16", "dense", {}), outputs=count)
    empty = np.zeros((count, 0), np.float32)
    write_safetensors(
        tmp_path / "m.safetensors", {"x": ("F32", [count, 0], empty)}, {**told.to_metadata(), "encodings": "{}"}
    )
    with pytest.raises(FairpruneError, match="no tensor has that many outputs"):
        codec.load_network(tmp_path / "m.safetensors")


# --- tied weights -------------------------------------------------------------------------------------------------


def test_a_tied_weight_is_written_once_and_stays_tied(tmp_path: Path) -> None:
    dense = made("Tied")
    model = pruned(dense)
    assert model.c1.weight is model.c2.weight
    path = written(model, dense, tmp_path / "model.safetensors")
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as opened:
        assert "c1.weight" in opened.keys()  # noqa: SIM118
        assert "c2.weight" not in opened.keys()  # noqa: SIM118
    assert codec.read_header(path).aliases == {"c2.weight": "c1.weight"}
    assert torch.equal(codec.read_model(path)[0]["c2.weight"], model.c2.weight)
    found = codec.load_network(path, dense)
    assert isinstance(found, Tied)
    assert found.c1.weight is found.c2.weight
    assert found.c2.in_channels == found.c2.weight.shape[1] < 8


def test_a_network_that_is_not_tied_takes_a_file_of_one_that_is(tmp_path: Path) -> None:
    model = made("Tied")
    path = tmp_path / "model.safetensors"
    codec.save_model(path, model, header=header("own", "dense", {}))
    free = made("Tied")
    free.c2.weight = nn.Parameter(free.c2.weight.detach().clone())
    found = codec.load_network(path, free)
    assert same_network(model, found, IMAGES) == ""
    found.c1.weight.data.zero_()
    assert found.c2.weight.any()


def test_rounding_keeps_ties_and_a_file_of_them_comes_back(tmp_path: Path) -> None:
    dense = made("Tied")
    model = pruned(dense)
    told = header("own", "channel", target.removed(model, dense, {}, target.Earlier()))
    codec.save_model(tmp_path / "m.safetensors", rounded(model.state_dict(), "fp16"), header=told)
    assert codec.read_header(tmp_path / "m.safetensors").aliases == {"c2.weight": "c1.weight"}
    found = codec.load_network(tmp_path / "m.safetensors", dense)
    assert found.c1.weight is found.c2.weight
    assert found.c1.weight.dtype == torch.float16
    assert torch.equal(found.c1.weight, model.c1.weight.half())


def test_a_module_with_two_names_is_written_once(tmp_path: Path) -> None:
    dense = made("TwiceNamed")
    model = pruned(dense)
    path = written(model, dense, tmp_path / "model.safetensors")
    found = codec.load_network(path, dense)
    assert isinstance(found, TwiceNamed)
    assert found.c1 is found.layers[0]
    assert set(codec.read_header(path).aliases.values()) <= set(dict(model.named_parameters())) | set(
        dict(model.named_buffers())
    )


@pytest.mark.parametrize("aliases", [{"c2.weight": "nowhere"}, {"fc.bias": "c1.weight"}, {"c2.weight": 3}])
def test_names_of_tied_weights_that_lead_nowhere_are_refused(aliases: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    from fairprune_cli.models.file.container import elements_of, write_safetensors

    state = made("Tied").state_dict()
    del state["c2.weight"]
    told = dataclasses.replace(header("own", "dense", {}), aliases=aliases)
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    pieces = {name: (kinds[t.dtype], list(t.shape), elements_of(t)) for name, t in state.items()}
    write_safetensors(path, pieces, {**told.to_metadata(), "encodings": "{}"})
    with pytest.raises(FairpruneError, match="names"):
        codec.read_model(path)


def test_frozen_parameters_are_frozen_when_read_back(tmp_path: Path) -> None:
    dense = made("PartlyFrozen")
    path = written(dense, dense, tmp_path / "model.safetensors")
    for arch in (f"{own_networks.__name__}:PartlyFrozen", dense):
        found = codec.load_network(path, arch)
        assert {n for n, p in found.named_parameters() if not p.requires_grad} == {
            "f.0.0.weight", "f.0.1.weight", "f.0.1.bias",
        }  # fmt: skip


def test_a_module_is_the_network_before_its_channels_were_removed(tmp_path: Path) -> None:
    dense = made("Plain")
    path = written(pruned(dense), dense, tmp_path / "model.safetensors")
    narrow = pruned(dense)
    with pytest.raises(FairpruneError, match="before it was pruned, the network has"):
        codec.load_network(path, narrow)


def test_the_shapes_of_a_skeleton_with_buffers_of_its_own_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairprune_cli.models.architectures import registry

    monkeypatch.setattr(registry, "_supported", lambda: {"scaled": Scaled, "plain": Plain})
    model = architectures.skeleton("scaled", 2)
    assert not any(buffer.is_meta for buffer in model.buffers())
    assert torch.equal(model.left_out, Scaled(2).left_out)
    assert all(parameter.is_meta for parameter in architectures.skeleton("plain", 2).parameters())


def test_what_another_tool_narrowed_is_pruned_on_and_read_back(tmp_path: Path) -> None:
    from fairprune_cli.models.checkpoint.load import load_model

    torch.save(pruned(made("Plain")).state_dict(), tmp_path / "narrow.pt")
    loaded = load_model(tmp_path / "narrow.pt", arch=f"{own_networks.__name__}:Plain")
    model = pruned(loaded.model)
    told = target.removed(model, loaded.model, {}, target.earlier(loaded))
    assert told["f.1.1.running_mean"]["shape"] == [12]  # of the architecture, not of what was given
    codec.save_model(tmp_path / "m.safetensors", model, header=header("own", "channel", told))
    assert same_network(model, codec.load_network(tmp_path / "m.safetensors", made("Plain")), IMAGES) == ""
