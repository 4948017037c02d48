"""Networks as people write them: what loses channels computes what the masked network does, the rest is left whole."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import widths
from fairprune_cli.models.architectures.attention import with_free_heads
from fairprune_cli.models.widths import set_widths
from fairprune_cli.pruning.channels import OUTPUTS, ChannelSpace, Coupling, WalkFailed, coupling
from fairprune_cli.pruning.channels.removal import remove_channels
from fairprune_cli.pruning.masks import ChannelMasks
from tests.support.networks import unlike_fresh
from tests.support.walked_networks import FOLLOWED, INEXACT, KEPT, Encoders, Multihead, Written, block, does

# Something else in these stays: the stream around attention, whose number of channels is in torch's or their own code.
WHOLE_BESIDE = ("encoder layers", "own attention", "mixer")


def built(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return unlike_fresh(with_free_heads(make()))


def sizes_of(network: nn.Module) -> list[int]:
    """Two edges of images that the network takes, or one."""
    found = []
    for size in (8, 16, 24):
        try:
            with torch.no_grad():
                network(torch.zeros(2, 3, size, size))
        except RuntimeError:
            continue
        found.append(size)
    return found[:2]


def drawn(spaces: Sequence[ChannelSpace], seed: int) -> list[Tensor]:
    """Which channels stay: of each space one at least."""
    generator, kept = torch.Generator().manual_seed(seed), []
    for space in spaces:
        keep = torch.rand(space.size, generator=generator) < 0.6
        keep[torch.randperm(space.size, generator=generator)[: space.least]] = True
        kept.append(keep)
    return kept


@torch.no_grad()
def masked(network: nn.Module, spaces: Sequence[ChannelSpace], kept: Sequence[Tensor]) -> nn.Module:
    """A copy with zeros in the gates of what goes."""
    network = copy.deepcopy(network)
    parameters = dict(network.named_parameters())
    for space, keep in zip(spaces, kept, strict=True):
        for gate in space.gates:
            parameters[gate.tensor][(gate.channel >= 0) & ~keep[gate.channel]] = 0
    return network


def removed(network: nn.Module, spaces: Sequence[ChannelSpace], kept: Sequence[Tensor]) -> nn.Module:
    network = copy.deepcopy(network)
    names = [
        (name, first)
        for name, tensor in network.named_parameters(remove_duplicate=False)
        for first, other in network.named_parameters()
        if tensor is other and name != first
    ]
    remove_channels(network, spaces, torch.cat(list(kept)))
    for name, first in names:
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, network.get_parameter(first))
        set_widths(network.get_submodule(owner))
    return network


@torch.no_grad()
def outputs(network: nn.Module, size: int) -> Tensor:
    return network(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size)))


def check_removals(network: nn.Module, found: Coupling, exact: bool) -> None:
    sizes = sizes_of(network)
    assert sizes
    for seed in range(3):
        kept = drawn(found.spaces, seed)
        smaller = removed(network, found.spaces, kept)
        assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in network.parameters())
        zeroed = masked(network, found.spaces, kept)
        for size in sizes:
            expected, given = outputs(zeroed, size), outputs(smaller, size)
            assert given.shape == expected.shape
            if exact:
                scale = max(1.0, float(expected.abs().max()))
                assert torch.allclose(given, expected, atol=1e-4 * scale), float((given - expected).abs().max())


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_followed_loses_channels_and_computes_what_the_masked_network_does(name: str) -> None:
    network = built(FOLLOWED[name])
    found = coupling(network, sizes_of(network)[0])
    assert found.spaces
    assert all(space.exact for space in found.spaces)
    if not name.startswith(WHOLE_BESIDE):
        assert set(found.fixed.values()) <= {OUTPUTS}
    check_removals(network, found, exact=True)


@pytest.mark.parametrize("name", INEXACT)
def test_what_is_computed_over_all_channels_runs_without_some(name: str) -> None:
    network = built(INEXACT[name])
    found = coupling(network, sizes_of(network)[0])
    assert all(space.exact for space in found.spaces) == (name == "mixer")
    if not name.startswith(WHOLE_BESIDE):
        assert set(found.fixed.values()) <= {OUTPUTS}
    check_removals(network, found, exact=False)


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_understood_keeps_its_channels_and_says_so(name: str) -> None:
    make, why = KEPT[name]
    network = built(make)
    found = coupling(network, sizes_of(network)[0])
    reasons = {layer: reason for layer, reason in found.fixed.items() if reason != OUTPUTS}
    assert any(why in reason for reason in reasons.values())
    assert not {space.name for space in found.spaces} & set(found.fixed)
    if found.spaces:
        check_removals(network, found, exact=all(space.exact for space in found.spaces))


@pytest.mark.parametrize(
    ("layer", "fewer"),
    [
        (lambda width: nn.GroupNorm(1, width), 5),
        (lambda width: nn.Sequential(nn.GroupNorm(width, width), nn.PReLU(width)), 5),
        (lambda width: nn.GroupNorm(4, width) if width == 12 else nn.GroupNorm(2, width), 6),
        (lambda width: nn.ConvTranspose2d(width, width, 2, 2, groups=width), 5),
        (lambda width: nn.InstanceNorm2d(width, affine=True), 5),
    ],
)
def test_what_is_left_is_the_network_that_one_builds_with_fewer_channels(layer: Any, fewer: int) -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(block(3, width), layer(width), nn.Conv2d(width, 4, 1), nn.AdaptiveAvgPool2d(1))

    network, small = built(lambda: make(12)), make(fewer).eval()
    space, *_ = coupling(network, 8).spaces
    kept = torch.arange(space.size) >= space.size * (12 - fewer) / 12
    smaller = removed(network, [space], [kept])
    small.load_state_dict(smaller.state_dict())
    assert repr(smaller) == repr(small)
    assert torch.equal(outputs(smaller, 8), outputs(small, 8))


def test_groups_of_a_norm_go_as_a_whole() -> None:
    network = nn.Sequential(nn.Conv2d(3, 12, 1), nn.GroupNorm(4, 12), nn.ReLU(), nn.Conv2d(12, 2, 1))
    (space,) = coupling(network.eval(), 8).spaces
    slots = {(slot.tensor, slot.dim): slot.channel.tolist() for slot in space.slots}
    assert slots["0.weight", 0] == slots["1.bias", 0] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_shortcuts_of_zeros_leave_what_stands_beside_them() -> None:
    network = built(FOLLOWED["option A"])
    slots = {(slot.tensor, slot.dim): slot.channel.tolist() for slot in coupling(network, 8).spaces[0].slots}
    assert slots["two.1.weight", 0] == [*[-1] * 4, *range(8), *[-1] * 4]


def test_channels_along_another_dimension_of_a_weight_need_a_scale_that_silences_them() -> None:
    def network(*more: nn.Module) -> nn.Module:
        return nn.Sequential(block(3, 6), nn.ConvTranspose2d(6, 8, 2, 2), *more, nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()

    found = coupling(network(), 8)
    assert [space.name for space in found.spaces] == ["0.0"]
    assert "no scale and shift follow" in found.fixed["1"]
    _, space = coupling(network(nn.BatchNorm2d(8)), 8).spaces
    assert (space.name, [slot.tensor for slot in space.gates]) == ("1", ["2.weight", "2.bias"])
    assert [slot.tensor for slot in space.filters] == ["2.weight", "2.bias"]


# --- how the code runs ----------------------------------------------------------------------------------------


def test_frozen_layers_stay_whole_unless_told_otherwise() -> None:
    network = nn.Sequential(block(3, 6), block(6, 8), nn.Conv2d(8, 7, 1), nn.ReLU(), nn.Conv2d(7, 2, 1)).eval()
    network[1].requires_grad_(False)
    found = coupling(network, 8)
    assert [space.name for space in found.spaces] == ["2"]
    assert found.fixed["0.0"] == "1.0 is frozen"
    assert [space.name for space in coupling(network, 8, prune_frozen=True).spaces] == ["0.0", "1.0", "2"]


class Auxiliary(nn.Module):
    """Gives a second answer in training."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.side, self.head = block(3, 6), nn.Conv2d(6, 2, 1), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        logits = self.head(x.mean((2, 3)))
        return (logits, self.side(x).mean((2, 3))) if self.training else logits


def test_layers_that_only_training_runs_are_narrowed_as_well() -> None:
    network = Auxiliary()
    before = copy.deepcopy(network.state_dict())
    (space,) = coupling(network, 8).spaces
    assert ("side.weight", 1) in {(slot.tensor, slot.dim) for slot in space.slots}
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    remove_channels(network, [space], torch.arange(6) > 2)
    assert [tuple(part.shape) for part in network(torch.rand(2, 3, 8, 8))] == [(2, 2), (2, 2)]


def test_code_that_goes_by_values_is_passed_by_and_by_shapes_is_followed() -> None:
    by_shape = does(lambda m, x: m.c(x) if x.shape[2] == x.shape[3] and x.dim() == 4 else x, c=nn.Conv2d(12, 12, 1))
    assert coupling(by_shape.eval(), 8).fixed == {"3": OUTPUTS}
    by_value = does(lambda m, x: m.c(x) if x.mean() > 0 else x, c=nn.Conv2d(12, 12, 1))
    found = coupling(by_value.eval(), 8)
    assert found.fixed["0.0.0"] == "0.1 (Written) is not understood"
    assert [space.name for space in found.spaces] == ["0.2"]


def test_a_layer_used_inside_and_outside_of_code_that_goes_by_values_stays() -> None:
    shared = nn.Conv2d(6, 6, 1)
    inside = Written(lambda m, x: m.c(x) if x.mean() > 0 else x, c=shared)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), shared, nn.ReLU(), nn.Conv2d(6, 6, 1), inside, nn.Conv2d(6, 2, 1))
    assert not coupling(network.eval(), 8).spaces


def test_compiled_code_does_not_pass_unseen() -> None:
    @torch.jit.script
    def mixes(x: Tensor) -> Tensor:
        return x * torch.softmax(x, 1)

    @torch.jit.script
    def follows(x: Tensor) -> Tensor:
        return x * torch.tanh(x)

    assert "softmax" in coupling(does(lambda _, x: mixes(x)).eval(), 8).fixed["0.0.0"]
    network = does(lambda _, x: follows(x)).eval()
    found = coupling(network, 8)
    assert found.fixed == {"3": OUTPUTS}
    check_removals(network, found, exact=True)


def test_own_derivatives_are_walked_through() -> None:
    class Squares(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x.square()

    assert coupling(does(lambda _, x: Squares.apply(x)).eval(), 8).fixed == {"3": OUTPUTS}


def test_a_layer_with_hooks_of_its_own_and_a_changed_forward_are_followed_by_what_they_do() -> None:
    network = does(lambda m, x: m.c(x), c=nn.Conv2d(12, 12, 1)).eval()
    network[0][1].c.register_forward_hook(lambda _, __, out: out.softmax(1))
    assert "softmax mixes channels" in coupling(network, 8).fixed["0.1.c"]
    network = does(lambda m, x: m.c(x), c=nn.Conv2d(12, 12, 1)).eval()
    network[0][1].c.forward = lambda x: x.cumsum(1)
    assert "cumsum mixes channels" in coupling(network, 8).fixed["0.0.0"]


def test_what_a_network_keeps_from_one_call_to_the_next_is_no_channel_of_another_walk() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        if m.kept is None:
            m.kept = x.mean((0, 2, 3), keepdim=True)
        return m.b(x * m.kept).mean((2, 3))

    network = Written(forward, a=block(3, 6), b=nn.Conv2d(6, 2, 1), kept=None).eval()
    coupling(network, 8)
    assert not coupling(network, 8).spaces


@pytest.mark.parametrize("cast", [lambda x: x.type(torch.float64).type(torch.float32), lambda x: x.to(x.dtype).data])
def test_a_change_of_type_is_followed(cast: Callable[[Tensor], Tensor]) -> None:
    network = does(lambda _, x: cast(x)).eval()
    found = coupling(network, 8)
    assert found.fixed == {"3": OUTPUTS}
    check_removals(network, found, exact=True)


def test_every_tensor_that_comes_out_stays_however_it_is_packed() -> None:
    class Packed:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    def network(pack: Callable[[Tensor, Tensor], Any]) -> nn.Module:
        return Written(
            lambda m, x: pack(m.head(m.f(x).mean((2, 3))), m.f(x)), f=block(3, 6), head=nn.Linear(6, 2)
        ).eval()

    for pack in (lambda y, h: (y, h), lambda y, h: {"y": y, "h": [h]}, lambda y, h: [y, Packed(h)]):
        assert coupling(network(pack), 8).fixed == {"f.0": OUTPUTS, "head": OUTPUTS}


def test_torchs_encoder_layers_keep_their_attention_and_lose_inner_channels() -> None:
    network = built(Encoders)
    assert any(type(module) is nn.MultiheadAttention for module in network.modules())
    assert [space.size for space in coupling(network, 16).spaces] == [24, 24]


def test_attention_whose_weights_are_given_out_keeps_its_heads() -> None:
    network = built(lambda: Multihead(lambda m, x: m(x, x, x)[0], batch_first=True))
    assert "attention" in {space.name for space in coupling(network, 16).spaces}
    network = built(lambda: Multihead(lambda m, x: m(x, x, x)[0] + m(x, x, x)[1].sum(), batch_first=True))
    assert "its weights are used" in coupling(network, 16).fixed["attention"]
    per_head = torch.zeros(8, 16, 16)
    network = built(lambda: Multihead(lambda m, x: m(x, x, x, attn_mask=per_head)[0], batch_first=True))
    assert "a mask for each head" in coupling(network, 16).fixed["attention"]


def test_a_squeeze_without_axes_leaves_two_channels_at_least() -> None:
    def network(squeeze: Callable[[Tensor], Tensor]) -> nn.Module:
        return Written(
            lambda m, x: m.head(squeeze(F.adaptive_avg_pool2d(m.f(x), 1))), f=block(3, 12), head=nn.Linear(12, 3)
        ).eval()  # fmt: skip

    for squeeze, least in ((lambda x: x.squeeze(), 2), (lambda x: x.squeeze(-1).squeeze(-1), 1)):
        model = network(squeeze)
        masks = ChannelMasks(model, coupling(model, 8).spaces, min_channels=0.0)
        assert [space.least for space in masks.spaces] == [least]
        keep = masks.select(masks.magnitude(), 1 - (27 * least + 2 * least + 3 * least + 3) / (27 * 12 + 24 + 36 + 3))
        assert int(keep.sum()) == least
    model = network(lambda x: x.squeeze())
    masks = ChannelMasks(model, coupling(model, 8).spaces, min_channels=0.0)
    with pytest.raises(FairpruneError, match="cannot be reached"):
        masks.select(masks.magnitude(), 0.92)


def test_a_failure_that_is_not_about_numbers_of_channels_is_told_as_it_is() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.f(x)
        if x.shape[1]:
            raise ValueError("not today")
        return x

    with pytest.raises(WalkFailed, match="ValueError: not today"):
        coupling(Written(forward, f=block(3, 6)).eval(), 8)


def test_numbers_that_only_training_code_needs_plain_do_not_end_the_walk_there() -> None:
    def forward(m: Any, x: Tensor) -> Any:
        x = m.f(x)
        logits = m.head(x.mean((2, 3)))
        if not m.training:
            return logits
        return logits, m.side(x * torch.arange(m.odd(x).size(1)).sum()).mean((2, 3))

    network = Written(forward, f=block(3, 6), odd=nn.Conv2d(6, 5, 1), side=nn.Conv2d(6, 2, 1), head=nn.Linear(6, 2))
    slots = {(slot.tensor, slot.dim) for space in coupling(network, 8).spaces for slot in space.slots}
    assert {("f.0.weight", 0), ("side.weight", 1)} <= slots
    assert ("odd.weight", 0) not in slots


def test_a_norm_without_tensors_does_not_complain_of_fewer_channels() -> None:
    network = built(FOLLOWED["instance norm"])
    spaces = coupling(network, 8).spaces
    smaller = removed(network, spaces, drawn(spaces, 0))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        importlib.reload(widths)
        outputs(smaller, 8)
    assert not told
