"""Channel groups: removal equals masking on every architecture, the target is met, counts are exact."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.pruning.channels.choice import ParameterCount, choose_channels
from fairprune_cli.pruning.channels.removal import channel_spaces, kept_per_space, remove_channels
from fairprune_cli.pruning.masks import ChannelMasks, WeightMasks
from tests.support import networks

ARCHITECTURES = ["resnet10-w16", "resnet10", "mobilenet_v2"]  # every family in small is in test_coupling.py


def unlike_fresh(name: str, seed: int = 0) -> nn.Module:
    """A model whose batch norms are not the identity, as after training."""
    return networks.unlike_fresh(architectures.build(name, 3, seed=seed), seed)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_removal_equals_masking(name: str, sparsity: float) -> None:
    model = unlike_fresh(name)
    total = sum(p.numel() for p in model.parameters())
    masks = ChannelMasks(model, channel_spaces(model, 32))
    keep = masks.select(torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(1)), sparsity)
    masks.apply(keep)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        masked = model(images)
    step = masks.largest_unit()
    remove_channels(model, masks.spaces, keep)
    left = sum(p.numel() for p in model.parameters())
    with torch.inference_mode():
        assert torch.allclose(model(images), masked, atol=1e-5)
    assert left == masks.kept
    assert abs(1 - left / total - sparsity) <= step
    assert masks.achieved == pytest.approx(1 - left / total)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_removed_model_still_trains(name: str) -> None:
    model = unlike_fresh(name)
    masks = ChannelMasks(model, channel_spaces(model, 32))
    remove_channels(model, masks.spaces, masks.select(masks.magnitude(), 0.7))
    model.train()
    model(torch.randn(4, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_sparsity_zero_removes_nothing() -> None:
    model = unlike_fresh("resnet10-w16")
    before = copy.deepcopy(model.state_dict())
    masks = ChannelMasks(model, channel_spaces(model, 32))
    keep = masks.select(masks.magnitude(), 0.0)
    masks.apply(keep)
    assert remove_channels(model, masks.spaces, keep) == {}
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_skip_connections_share_a_space() -> None:
    model = architectures.build("resnet10-w16", 2)
    spaces = {space.name: space for space in channel_spaces(model, 32)}
    producers = {slot.tensor for slot in spaces["conv1"].filters}
    assert producers == {"conv1.weight", "layer1.0.conv2.weight"}
    assert "fc.bias" not in {slot.tensor for space in spaces.values() for slot in space.slots}


def test_choice_equals_removing_one_by_one() -> None:
    """The slow way: drop the lowest channel, count real parameters, stop nearest to the target."""
    model = unlike_fresh("resnet10-w16")
    spaces = channel_spaces(model, 32)
    count = ParameterCount(model, spaces)
    sizes = [s.size for s in spaces]
    scores = torch.rand(sum(sizes), generator=torch.Generator().manual_seed(5))
    keep = choose_channels(scores.numpy(), spaces, count, 0.3, [1] * len(spaces))
    total, slow, previous = count(sizes), np.ones(len(scores), dtype=bool), 0.0
    for unit in torch.argsort(scores).tolist():
        slow[unit] = False
        gone = 1 - count(kept_per_space(spaces, slow)) / total
        if gone >= 0.3:
            if abs(previous - 0.3) < abs(gone - 0.3):
                slow[unit] = True
            break
        previous = gone
    assert np.array_equal(keep, slow)


def test_every_space_keeps_its_floor() -> None:
    model = unlike_fresh("resnet10-w16")
    masks = ChannelMasks(model, channel_spaces(model, 32), min_channels=0.25)
    keep = masks.select(torch.arange(len(masks.keep)).float(), 0.9)
    kept = kept_per_space(masks.spaces, keep.numpy())
    assert all(k >= 0.25 * s.size - 0.5 for k, s in zip(kept, masks.spaces, strict=True))


def test_out_of_reach_is_an_error_with_the_limit() -> None:
    model = unlike_fresh("resnet10-w16")
    masks = ChannelMasks(model, channel_spaces(model, 32), min_channels=0.5)
    with pytest.raises(FairpruneError, match=r"0.95 cannot be reached: 0\.\d+ is the most"):
        masks.select(masks.magnitude(), 0.95)


def test_gate_gradient_equals_finite_differences() -> None:
    """Sum of theta g over a channel's gate is the derivative with respect to the gate, closed channels included."""
    model = unlike_fresh("resnet10-w16").double()
    masks = ChannelMasks(model, channel_spaces(model, 16))
    masks.apply(masks.select(torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(3)), 0.3))
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([0, 1, 2])

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(images), labels)

    model.zero_grad()
    loss().backward()
    gradient = masks.first_order_gradient(float("inf"))
    assert torch.allclose(gradient.square(), masks.squared_gradient())
    offset, step = 0, 1e-5
    for space in masks.spaces:
        for c in (0, space.size // 2, space.size - 1):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    saved = {gate.tensor: masks.tensors[gate.tensor].clone() for gate in space.gates}
                    for name in saved:
                        masks.tensors[name][c] += sign * step * masks.theta(name)[c]
                    values.append(loss().item())
                    for name, value in saved.items():
                        masks.tensors[name].copy_(value)
            numeric = (values[0] - values[1]) / (2 * step)
            # A closed channel sits on the kink of the ReLU; there the two sides differ and autograd takes zero.
            if bool(masks.keep[offset + c]):
                assert gradient[offset + c].item() == pytest.approx(numeric, abs=1e-6)
        offset += space.size


def test_filters_before_a_norm_add_nothing_to_the_gate_gradient() -> None:
    """Scale invariance: theta . g is zero for a filter in front of a batch norm in training mode."""
    model = unlike_fresh("resnet10-w16").double().train()
    nn.functional.cross_entropy(model(torch.randn(8, 3, 16, 16).double()), torch.arange(8) % 3).backward()
    weight = model.get_submodule("layer2.0.conv1").weight
    assert isinstance(weight, nn.Parameter)
    assert weight.grad is not None
    products = (weight * weight.grad).sum((1, 2, 3))
    assert products.abs().max() < 1e-4 * (weight * weight.grad).abs().sum((1, 2, 3)).max() + 1e-12


def test_weight_masks_leave_channels_alone() -> None:
    model = unlike_fresh("resnet10-w16")
    masks = WeightMasks(model)
    masks.apply(masks.select(masks.magnitude(), 0.5))
    assert not any("bn" in name for name in masks.tensors)


def test_closed_channels_keep_a_gradient_while_probing_and_are_closed_again_after() -> None:
    """Behind a ReLU an exact zero passes no gradient; a gate a thousandth open has the one-sided derivative."""
    model = unlike_fresh("resnet10-w16").double()
    masks = ChannelMasks(model, channel_spaces(model, 16))
    masks.apply(masks.select(torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(3)), 0.5))
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([0, 1, 2, 0])
    model.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    blind = masks.squared_gradient()[~masks.keep]
    model.zero_grad()
    with masks.probing():
        nn.functional.cross_entropy(model(images), labels).backward()
        seen = masks.squared_gradient()[~masks.keep]
    assert int(torch.count_nonzero(blind)) < int(torch.count_nonzero(seen))
    assert int(torch.count_nonzero(seen)) > 0.5 * len(seen)
    for name, entries in masks.entries(masks.keep).items():
        assert masks.tensors[name].detach()[~entries].abs().sum() == 0
