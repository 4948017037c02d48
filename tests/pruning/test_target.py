"""What a run is to remove: units of the target, widths in multiples, and models that were pruned before."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures, measure
from fairprune_cli.models.checkpoint.load import LoadedModel, load_model
from fairprune_cli.models.file.codec import ModelHeader, save_model
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.pruning import target
from fairprune_cli.pruning.channels.choice import mac_count
from fairprune_cli.pruning.channels.removal import channel_spaces, kept_per_space, remove_channels
from fairprune_cli.pruning.masks import ChannelMasks, WeightMasks, prunable_weights
from fairprune_cli.pruning.schedule import Plan
from fairprune_cli.run.options import Settings
from tests.support.networks import NETWORKS, network

SIZE = 32


def model_named(name: str = "resnet10-w16", seed: int = 0) -> nn.Module:
    return architectures.build(name, 2, seed=seed).eval()


def channel_masks(model: nn.Module, sparsity: float, **settings: Any) -> ChannelMasks:
    asked = dataclasses.replace(Settings(), sparsity=sparsity, **settings)
    made = target.build_masks(asked, model, SIZE, target.Earlier())
    assert isinstance(made, ChannelMasks)
    scores = torch.rand(len(made.keep), generator=torch.Generator().manual_seed(1))
    made.apply(made.select(scores, sparsity))
    return made


@pytest.mark.parametrize("name", ["resnet10-w16", "mobilenet_v2", "vit-tiny"])
@pytest.mark.parametrize("of", ["parameters", "macs", "channels"])
def test_the_target_is_counted_in_the_smaller_model_itself(name: str, of: str) -> None:
    dense, model = model_named(name), model_named(name)
    made = channel_masks(model, 0.4, sparsity_of=of)
    remove_channels(model, made.spaces, made.keep)
    if of == "parameters":
        left = measure.count_parameters(model) / measure.count_parameters(dense)
    elif of == "macs":
        left = measure.macs(model, SIZE) / measure.macs(dense, SIZE)
    else:
        left = int(made.keep.sum()) / len(made.keep)
    assert 1 - left == pytest.approx(made.achieved, abs=1e-12)
    assert 1 - left == pytest.approx(0.4, abs=made.largest_unit())
    target.check_target(made, dataclasses.replace(Settings(), sparsity=0.4, sparsity_of=of), dense, model)
    with pytest.raises(FairpruneError, match=r"was reached, 0\.9 was asked for"):
        target.check_target(made, dataclasses.replace(Settings(), sparsity=0.9, sparsity_of=of), dense, model)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_multiply_adds_of_a_choice_are_those_of_the_smaller_network(name: str) -> None:
    dense = network(name)
    spaces = channel_spaces(dense, SIZE)
    count = mac_count(dense, spaces, SIZE)
    assert count([space.size for space in spaces]) == measure.macs(dense, SIZE)
    for seed, share in ((0, 0.3), (1, 0.8)):
        model = copy.deepcopy(dense)
        keep = torch.rand(sum(space.size for space in spaces), generator=torch.Generator().manual_seed(seed)) > share
        for part in keep.split([space.size for space in spaces]):
            part[0] = True
        remove_channels(model, spaces, keep)
        assert count(kept_per_space(spaces, keep.numpy())) == measure.macs(model, SIZE)


@pytest.mark.parametrize(("multiple", "sparsity"), [(4, 0.3), (8, 0.5), (8, 0.8), (16, 0.5)])
def test_widths_are_multiples_and_the_target_is_met(multiple: int, sparsity: float) -> None:
    model = model_named()
    made = channel_masks(model, sparsity, round_to=multiple)
    assert all(kept % multiple == 0 for kept in kept_per_space(made.spaces, made.keep.numpy()))
    assert abs(made.achieved - sparsity) <= made.largest_unit()
    remove_channels(model, made.spaces, made.keep)
    assert model(torch.randn(1, 3, SIZE, SIZE)).shape == (1, 2)


def test_within_a_layer_the_lowest_channels_go_first_whatever_the_multiple() -> None:
    made = channel_masks(model_named(), 0.5, round_to=8)
    scores = torch.rand(len(made.keep), generator=torch.Generator().manual_seed(1))
    for part, keep in zip(scores.split(made.sizes), made.keep.split(made.sizes), strict=True):
        assert keep.all() or part[keep].min() >= part[~keep].max()


def test_a_width_that_is_no_multiple_stays_or_shrinks_to_one() -> None:
    model = model_named("mobilenet_v2")  # widths such as 24, 144 and 320
    made = channel_masks(model, 0.5, round_to=32)
    kept = kept_per_space(made.spaces, made.keep.numpy())
    assert any(k == n and n % 32 for k, n in zip(kept, made.sizes, strict=True))
    assert all(k % 32 == 0 or k == n for k, n in zip(kept, made.sizes, strict=True))


def test_multiples_that_leave_too_little_say_what_can_be_reached() -> None:
    with pytest.raises(
        FairpruneError, match=r"cannot be reached: 0\.\d+ is the most when every layer keeps a multiple"
    ):
        channel_masks(model_named(), 0.9, round_to=64)


@pytest.mark.parametrize("flags", [{"round_to": 8}, {"sparsity_of": "macs"}])
def test_flags_about_channels_are_refused_elsewhere(flags: dict[str, Any]) -> None:
    settings = dataclasses.replace(Settings(), granularity="weight", **flags)
    with pytest.raises(FairpruneError, match="about whole channels"):
        target.build_masks(settings, model_named(), SIZE, target.Earlier())


# --- what was pruned before ----------------------------------------------------------------------------------


def sparse_model(density: float = 0.6) -> tuple[nn.Module, dict[str, Tensor]]:
    model = model_named()
    generator = torch.Generator().manual_seed(0)
    alive = {}
    for name, weight in prunable_weights(model).items():
        alive[name] = torch.rand(weight.shape, generator=generator) < density
        weight.data *= alive[name]
    return model, alive


def weight_settings(sparsity: float) -> Settings:
    return dataclasses.replace(Settings(), granularity="weight", sparsity=sparsity)


@pytest.mark.parametrize("own", [True, False])
def test_zeros_of_a_file_stay_zero_and_count(tmp_path: Path, own: bool) -> None:
    model, alive = sparse_model()
    path = tmp_path / "model.safetensors"
    if own:
        save_model(path, model, header=ModelHeader("resnet10-w16", ("a", "b"), {}, "weight", {}), masks=alive)
    else:
        torch.save(model.state_dict(), path := tmp_path / "model.pt")
    loaded = load_model(path)
    before = target.earlier(loaded)
    assert before.zeros == sum(int((~mask).sum()) for mask in alive.values())
    made = target.build_masks(weight_settings(0.7), loaded.model, SIZE, before)
    assert made.start == pytest.approx(before.zeros / made.total)
    scores = torch.rand(made.total)
    for sparsity in (0.0, 0.5, 0.7):  # a schedule may ask for less than is gone already
        made.apply(made.select(scores, sparsity))
        gone = torch.cat([~alive[name].flatten() for name in made.tensors])
        assert not bool((made.keep & gone).any())
    assert made.kept == round(0.3 * made.total)
    block = target.sparsity_block(made, weight_settings(0.7), loaded.model, loaded.model, before)
    assert block["start"] == made.start
    assert block["of_original"]["achieved"] == block["achieved"]


def test_less_than_is_gone_already_is_an_error_with_the_limit() -> None:
    model, alive = sparse_model()
    with pytest.raises(FairpruneError, match=r"0\.3 is less than what the model has already, 0\.40\d+") as error:
        target.build_masks(weight_settings(0.3), model, SIZE, target.Earlier(alive))
    limit = float(error.value.hint.split()[2])
    assert target.build_masks(weight_settings(limit), model, SIZE, target.Earlier(alive)).start <= limit


def test_channels_go_while_the_zeros_inside_the_others_stay() -> None:
    model, alive = sparse_model()
    made = target.build_masks(dataclasses.replace(Settings(), sparsity=0.5), model, SIZE, target.Earlier(alive))
    assert isinstance(made, ChannelMasks)
    made.apply(made.select(made.magnitude(), 0.5))
    made.harden(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)  # as a weight step would
    made.hold(model)
    stored = made.sparse_entries(made.keep)
    assert stored.keys() == alive.keys()
    for name, mask in stored.items():
        assert mask.shape == model.get_parameter(name).shape
        assert not bool(model.get_parameter(name)[~mask].any())
        assert bool(model.get_parameter(name)[mask].all())


def test_a_smaller_file_is_counted_as_given_and_against_the_first_model(tmp_path: Path) -> None:
    dense, model = model_named(), model_named()
    spaces = channel_spaces(model, SIZE)
    first = channel_masks(model, 0.5)
    remove_channels(model, spaces, first.keep)
    removed = target.removed(model, dense, {}, target.Earlier())
    path = tmp_path / "model.safetensors"
    save_model(path, model, header=ModelHeader("resnet10-w16", ("a", "b"), {}, "channel", removed))
    loaded: LoadedModel = load_model(path)
    before, given = target.earlier(loaded), load_model(path).model
    made = target.build_masks(dataclasses.replace(Settings(), sparsity=0.3), loaded.model, SIZE, before)
    made.apply(made.select(made.magnitude(), 0.3))
    assert isinstance(made, ChannelMasks)
    remove_channels(loaded.model, made.spaces, made.keep)
    block = target.sparsity_block(made, dataclasses.replace(Settings(), sparsity=0.3), given, loaded.model, before)
    assert block["total"] == measure.count_parameters(model)
    assert block["of_original"]["total"] == measure.count_parameters(dense)
    assert block["of_original"]["kept"] == measure.count_parameters(loaded.model) == block["kept"]
    again = target.removed(loaded.model, given, {}, before)
    assert again.keys() >= removed.keys()
    assert all(tuple(entry["shape"]) == dense.state_dict()[name].shape for name, entry in again.items())


def test_the_ramp_begins_where_the_model_is() -> None:
    for plan in (Plan(ramp=(0.0, 0.5)), Plan(ramp=(0.0, 0.5), rounds=4)):
        curve = [plan.sparsity_from(0.4, step, 100, 0.9) for step in range(101)]
        assert curve == sorted(curve)
        assert curve[0] >= 0.4
        assert curve[-1] == pytest.approx(0.9)
        assert [plan.sparsity_from(0.0, s, 100, 0.9) for s in range(101)] == [
            plan.sparsity(s, 100, 0.9) for s in range(101)
        ]
    cubic = Plan(ramp=(0.0, 1.0)).sparsity_from(0.4, 50, 100, 0.9)
    assert cubic == pytest.approx(0.9 - 0.5 * 0.5**3)  # Zhu and Gupta, with an initial sparsity


def test_masks_without_a_past_begin_at_nothing() -> None:
    assert WeightMasks(model_named()).start == 0.0


# --- 16 bits ------------------------------------------------------------------------------------------------------


def test_rounding_leaves_vectors_alone_and_refuses_what_overflows() -> None:
    state = {"weight": torch.full((2, 2), 1.0001), "bias": torch.full((2,), 1.0001), "counter": torch.tensor(3)}
    for store, kind in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        found = rounded(state, store)
        assert (found["weight"].dtype, found["bias"].dtype) == (kind, torch.float32)
        assert found["counter"].dtype == torch.int64
    assert all(rounded(state, "fp32")[name] is tensor for name, tensor in state.items())
    with pytest.raises(FairpruneError, match="too large for fp16"):
        rounded({"weight": torch.full((2, 2), 1e5)}, "fp16")
