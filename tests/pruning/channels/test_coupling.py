"""Channels of every family: removal equals masking, or a slow reference where it cannot; counts and files are exact."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.architectures.attention import SelfAttention, with_free_heads
from fairprune_cli.models.file import codec
from fairprune_cli.models.measure import macs
from fairprune_cli.pruning.channels import removal as channels
from fairprune_cli.pruning.masks import ChannelMasks, prunable_weights
from tests.support.networks import EXACT, NETWORKS, Inception, network, unlike_fresh

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
REACH = {"swin": 0.3, "shufflenet": 0.3, "vit": 0.4}


def masked(model: nn.Module, sparsity: float) -> ChannelMasks:
    found = ChannelMasks(model, channels.channel_spaces(model, 32))
    scores = torch.rand(len(found.keep), generator=torch.Generator().manual_seed(1))
    found.apply(found.select(scores, sparsity))
    return found


@torch.inference_mode()
def logits(model: nn.Module) -> Tensor:
    return model.eval()(IMAGES)


@pytest.mark.parametrize("name", NETWORKS)
def test_removal_equals_masking_and_the_file_gives_the_same(name: str, tmp_path: Path) -> None:
    model = network(name)
    total = sum(p.numel() for p in model.parameters())
    wanted = REACH.get(name, 0.6)
    masks = masked(model, wanted)
    assert all(space.exact for space in masks.spaces) == (name in EXACT)
    before, step = logits(model), masks.largest_unit()
    channels.remove_channels(model, masks.spaces, masks.keep)
    if name in EXACT:
        assert torch.allclose(logits(model), before, atol=1e-5 * max(1.0, float(before.abs().max())))
    left = sum(p.numel() for p in model.parameters())
    assert left == masks.kept
    assert abs(1 - left / total - wanted) <= step
    # What is left trains, and comes back from its tensors alone.
    fitted = architectures.fit_to_state(with_free_heads(NETWORKS[name](3)), copy.deepcopy(model.state_dict()))
    assert torch.equal(logits(fitted), logits(model))
    model.train()(torch.cat([IMAGES, IMAGES])).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_layer_norms_over_fewer_channels_equal_a_reference_that_leaves_them_out_of_the_statistics() -> None:
    model = network("convnext")
    masks = masked(model, 0.5)
    reference = copy.deepcopy(model)
    kept = dict(zip((s.name for s in masks.spaces), masks.keep.split(masks.sizes), strict=True))
    for name, module in reference.named_modules():
        if isinstance(module, nn.LayerNorm):
            (space, slot), = [
                (space, slot) for space in masks.spaces for slot in space.slots if slot.tensor == f"{name}.weight"
            ]  # fmt: skip
            open_ = kept[space.name][slot.channel].double()
            axis = -1 if type(module) is nn.LayerNorm else 1

            def slow(x: Tensor, module: nn.LayerNorm = module, open_: Tensor = open_, axis: int = axis) -> Tensor:
                x = x.movedim(axis, -1).double()
                mean = (x * open_).sum(-1, keepdim=True) / open_.sum()
                variance = ((x - mean).square() * open_).sum(-1, keepdim=True) / open_.sum()
                x = (x - mean) / (variance + module.eps).sqrt() * module.weight + module.bias
                return x.float().movedim(-1, axis)

            module.forward = slow
    wrong = logits(model)
    channels.remove_channels(model, masks.spaces, masks.keep)
    assert torch.allclose(logits(model), logits(reference), atol=1e-5)
    assert not torch.allclose(wrong, logits(reference), atol=1e-2)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "vit-tiny"])
def test_a_pruned_model_file_loads_exactly_and_quickly(name: str, tmp_path: Path) -> None:
    model = unlike_fresh(architectures.build(name, 3, seed=0))
    masks = masked(model, 0.6)
    channels.remove_channels(model, masks.spaces, masks.keep)
    header = codec.ModelHeader(name, ("a", "b", "c"), {}, "channel", {})
    codec.save_model(tmp_path / "m.safetensors", model, header=header)
    assert torch.equal(logits(codec.load_network(tmp_path / "m.safetensors")), logits(model))


@pytest.mark.parametrize("name", ["densenet", "vit", "efficientnet", "inception"])
def test_derivative_of_a_gate_equals_finite_differences(name: str) -> None:
    """Also where gates of several spaces share a tensor, and where a gate is a part of one."""
    model = network(name).double()
    masks = ChannelMasks(model, channels.channel_spaces(model, 32))
    labels, images = torch.tensor([0, 2]), IMAGES.double()

    def loss() -> Tensor:
        return nn.functional.cross_entropy(model(images), labels)

    loss().backward()
    gradient, offset, step = masks.first_order_gradient(float("inf")), 0, 1e-5
    for space in masks.spaces:
        channel = space.size - 1
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                saved = {gate.tensor: masks.tensors[gate.tensor].clone() for gate in space.gates}
                for gate in space.gates:
                    masks.tensors[gate.tensor][gate.channel == channel] *= 1 + sign * step
                values.append(loss().item())
                for tensor, value in saved.items():
                    masks.tensors[tensor].copy_(value)
        assert gradient[offset + channel].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)
        offset += space.size


def test_a_removed_head_is_one_that_attention_never_had() -> None:
    """Against torch's own attention with the weights of the lost heads' outputs at zero."""
    torch.manual_seed(0)
    dense = nn.MultiheadAttention(24, 4, batch_first=True).eval()
    holder = with_free_heads(nn.Sequential(copy.deepcopy(dense)))
    assert isinstance(holder[0], SelfAttention)
    assert list(holder[0].state_dict()) == list(dense.state_dict())
    x = torch.randn(3, 5, 24)
    assert torch.allclose(holder[0](x, x, x)[0], dense(x, x, x)[0], atol=1e-6)
    model = network("vit")
    (space, *_), keep = channels.channel_spaces(model, 32), torch.tensor([True, False, True, True])
    reference = copy.deepcopy(model)
    with torch.no_grad():
        reference.get_submodule(space.name).out_proj.weight[:, 8:16] = 0
    channels.remove_channels(model, [space], keep)
    assert model.get_submodule(space.name).heads == 3
    assert torch.allclose(logits(model), logits(reference), atol=1e-5)


def test_attention_counts_in_macs_and_in_prunable_weights() -> None:
    ours = network("vit")
    torchs = NETWORKS["vit"](3)
    assert macs(ours, 32) == macs(torchs, 32)
    assert prunable_weights(ours).keys() == prunable_weights(torchs).keys()
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in prunable_weights(ours)
    before, tokens, width = macs(ours, 32), 17, 32
    (space, *_) = channels.channel_spaces(ours, 32)
    channels.remove_channels(ours, [space], torch.tensor([True, False, True, True]))
    # One head of width 8: its rows of three projections, of the projection out, and two products of tokens.
    assert before - macs(ours, 32) == tokens * 8 * (4 * width + 2 * tokens)


def test_groups_and_shared_dimensions_have_the_places_that_one_would_draw() -> None:
    spaces = {space.name: space for space in channels.channel_spaces(Inception().eval(), 8)}
    assert {name: space.size for name, space in spaces.items()} == {"stem": 8, "a": 3, "b": 5}
    slots = {(slot.tensor, slot.dim): slot.channel.tolist() for slot in spaces["a"].slots}
    # 22 channels = a's 6, b's 10, a's 6 again, in groups of 2; a group takes four of the grouped layer's 44.
    pairs = [c for c in range(3) for _ in range(2)]
    assert slots["norm.weight", 0] == [*pairs, *[-1] * 10, *pairs]
    fours = [c for c in range(3) for _ in range(4)]
    assert slots["mixed.weight", 1] == [*fours, *[-1] * 20, *fours]
    assert slots["a.weight", 0] == pairs
    assert ("grouped.weight", 1) not in slots


# --- what cannot be removed ---------------------------------------------------------------------------------


class Splits(nn.Module):
    """Takes its own channels apart; only those of `inner` are left whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, 1)
        x = torch.cat([b, a * b.softmax(1)], 1)
        return self.head(self.inner(x).relu().mean((2, 3)))


class Borrows(nn.Module):
    """Gives a value that cannot shrink the width of one that could."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Linear(6, 2)
        self.register_buffer("table", torch.ones(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.inner(x).relu().mean((2, 3)) + self.table.reshape(1, x.shape[1]).mean()
        return self.head(x)


class Writes(nn.Module):
    """Has the number of channels in its code."""

    def __init__(self, dynamic: bool) -> None:
        super().__init__()
        self.conv, self.head, self.dynamic = nn.Conv2d(3, 8, 1), nn.Linear(8, 2), dynamic

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        x = x.reshape(x.shape[0], x.shape[1] if self.dynamic else 8, -1)
        return self.head(x.mean(2))


class Decides(nn.Module):
    """Code that looks at values cannot be recorded; as a part of a network it is passed by."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


def test_what_is_not_understood_stays_and_says_why() -> None:
    found = channels.channel_coupling(Borrows().eval(), 8)
    assert [space.name for space in found.spaces] == ["inner"]
    assert "is given its width" in found.fixed["first"]
    found = channels.channel_coupling(Splits().eval(), 8)
    assert [space.name for space in found.spaces] == ["inner"]
    assert "softmax mixes channels" in found.fixed["first"]
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Decides(), nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 2, 1)).eval()
    found = channels.channel_coupling(model, 8)
    assert [space.name for space in found.spaces] == ["2"]
    assert found.fixed["0"] == "1 (Decides) is not understood"
    assert [s.name for s in channels.channel_spaces(Writes(True).eval(), 8)] == ["conv"]


def test_nothing_to_remove_is_refused_with_the_layer_and_the_reason() -> None:
    with pytest.raises(FairpruneError, match=r"conv: .*number of channels in it") as error:
        channels.channel_coupling(Writes(False).eval(), 8)
    assert "--granularity weight" in error.value.hint
    with pytest.raises(FairpruneError, match="cannot be traced"):
        channels.channel_coupling(Decides(3).eval(), 8)


def test_an_image_of_the_wrong_size_is_named_as_that() -> None:
    with pytest.raises(FairpruneError, match="does not take images of 40x40 pixels: Wrong image height"):
        channels.channel_coupling(network("vit"), 40)
    with pytest.raises(FairpruneError, match="50x50 pixels do not divide"):
        channels.channel_coupling(network("vit-tiny"), 50)


def test_a_sparsity_out_of_reach_names_what_stays() -> None:
    model = network("swin")
    started = time.monotonic()
    found = channels.channel_coupling(model, 32)
    masks = ChannelMasks(model, found.spaces, fixed=found.fixed)
    with pytest.raises(FairpruneError, match=r"0.9 cannot be reached(.|\n)*it splits the channels into parts"):
        masks.select(masks.magnitude(), 0.9)
    assert time.monotonic() - started < 20
