"""Attention that can lose heads gives what torch's own does, however it is called."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.models.architectures.attention import SelfAttention, with_free_heads


def exchanged(layer: nn.MultiheadAttention) -> nn.Module:
    return with_free_heads(nn.Sequential(copy.deepcopy(layer)))[0]


def attention(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(24, 4, **options).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-0.5, 0.5)
    return layer


CAUSAL = torch.ones(5, 5).triu(1).bool()
PADDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [True] + [False] * 4])
CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no weights": {"need_weights": False},
    "weights of each head": {"average_attn_weights": False},
    "masked": {"attn_mask": CAUSAL},
    "masked by numbers": {"attn_mask": torch.rand(5, 5), "need_weights": False},
    "masked by head": {"attn_mask": torch.rand(12, 5, 5)},
    "padded": {"key_padding_mask": PADDED},
    "padded and masked": {"key_padding_mask": PADDED, "attn_mask": torch.eye(5).bool(), "need_weights": False},
    "causal": {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
}


@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_gives_what_torchs_own_gives(
    name: str, batch_first: bool, crossing: bool, options: dict[str, Any]
) -> None:
    dense = attention(batch_first=batch_first, **options)
    ours = exchanged(dense)
    assert isinstance(ours, SelfAttention)
    assert list(ours.state_dict()) == list(dense.state_dict())
    x = torch.randn(3, 5, 24)
    given = [x, x.flip(0), x * 2] if crossing else [x, x, x]
    if not batch_first:
        shared = {id(one): one.transpose(0, 1) for one in given}
        given = [shared[id(one)] for one in given]
    (one, weights), (other, others) = dense(*given, **CALLS[name]), ours(*given, **CALLS[name])
    assert torch.allclose(one, other, atol=1e-5)
    assert (weights is None) == (others is None)
    if isinstance(weights, Tensor):
        assert torch.allclose(weights, others, atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
def test_one_sequence_alone_and_queries_of_another_length(batch_first: bool) -> None:
    dense = attention(batch_first=batch_first)
    ours, x = exchanged(dense), torch.randn(5, 24)
    for given in ([x, x, x], [x[:2], x, x]):
        for one, other in zip(dense(*given), ours(*given), strict=True):
            assert one.shape == other.shape
            assert torch.allclose(one, other, atol=1e-5)


def test_it_says_of_itself_what_torchs_own_says() -> None:
    dense = attention(batch_first=True)
    ours = exchanged(dense)
    for name in ("embed_dim", "num_heads", "head_dim", "kdim", "vdim", "batch_first", "dropout", "bias_k", "bias_v",
                 "add_zero_attn", "_qkv_same_embed_dim"):  # fmt: skip
        assert getattr(ours, name) == getattr(dense, name), name
    with pytest.raises(RuntimeError, match="attn_mask"):
        ours(*[torch.rand(1, 5, 24)] * 3, is_causal=True)


def test_a_layer_under_two_names_stays_one_and_the_gradients_are_torchs() -> None:
    dense = nn.ModuleDict({"a": attention(batch_first=True)})
    dense["b"] = dense["a"]
    ours = with_free_heads(copy.deepcopy(dense))
    assert ours["a"] is ours["b"]
    x = torch.randn(3, 5, 24)
    for model in (dense, ours):
        model["a"](x, x, x)[0].square().sum().backward()
    for one, other in zip(dense.parameters(), ours.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-4)


class Own(nn.MultiheadAttention):
    pass


def _hooked() -> nn.Module:
    layer = attention()
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: attention(kdim=12, vdim=24), lambda: attention(add_bias_kv=True), lambda: attention(add_zero_attn=True),
        lambda: Own(24, 4), _hooked,
    ],
)  # fmt: skip
def test_what_is_more_than_that_is_left(make: Any) -> None:
    layer = make()
    assert with_free_heads(nn.Sequential(layer))[0] is layer
    encoder = nn.TransformerEncoderLayer(24, 4, 8)
    assert type(with_free_heads(encoder).self_attn) is nn.MultiheadAttention


def test_a_skeleton_without_numbers_is_exchanged_as_the_network_is() -> None:
    def make() -> nn.Module:
        return nn.ModuleList([attention(bias=False), attention(add_zero_attn=True), nn.TransformerEncoderLayer(24, 4)])

    with torch.device("meta"):
        parts = [nn.MultiheadAttention(24, 4, bias=False), nn.MultiheadAttention(24, 4, add_zero_attn=True)]
        skeleton = with_free_heads(nn.ModuleList([*parts, nn.TransformerEncoderLayer(24, 4)]))
    assert [type(m) for m in skeleton.modules()] == [type(m) for m in with_free_heads(make()).modules()]
