"""Attention that can lose heads: torch's multi-head attention with an inner width of its own.

torch.nn.MultiheadAttention ties the width inside (heads times width of a head) to the width outside, so no head can
leave it. `SelfAttention` has the same tensors under the same names and gives the same results, but its inner width is
whatever its tensors say:

    in_proj_weight [3 h d, e], in_proj_bias [3 h d]     queries, keys and values of h heads of width d, in this order
    out_proj.weight [e, h d], out_proj.bias [e]
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V per head, joined and projected (Vaswani et al., arXiv 1706.03762).

    It takes every call that torch.nn.MultiheadAttention takes, and says of itself what that does.

    Args:
        width: e, of what goes in and comes out.
        head_width: d, fixed; `heads` follows from the tensors.
        heads: h.
        dropout: of the attention's weights, in training.
        bias: whether the projections have one.
        batch_first: sequences are [B, N, e]; else [N, B, e].
    """

    bias_k = bias_v = None
    add_zero_attn = False
    _qkv_same_embed_dim = True

    def __init__(
        self, width: int, head_width: int, heads: int, dropout: float = 0.0, bias: bool = True, batch_first: bool = True
    ) -> None:
        super().__init__()
        self.head_width, self.dropout, self.batch_first = head_width, dropout, batch_first
        self.in_proj_weight = nn.Parameter(torch.empty(3 * heads * head_width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * heads * head_width)) if bias else None
        self.out_proj = nn.Linear(heads * head_width, width, bias)
        nn.init.xavier_uniform_(self.in_proj_weight)

    @property
    def heads(self) -> int:
        return self.in_proj_weight.shape[0] // (3 * self.head_width)

    num_heads = heads

    @property
    def head_dim(self) -> int:
        return self.head_width

    @property
    def embed_dim(self) -> int:
        return self.in_proj_weight.shape[1]

    kdim = vdim = embed_dim

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """The call of torch.nn.MultiheadAttention: sequences [B, N, e], [N, B, e] or [N, e].

        Raises:
            RuntimeError: is_causal without attn_mask, as there.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        single, same = query.dim() == 2, key is query and value is query
        query, key, value = (self._batched(sequence, single) for sequence in (query, key, value))
        if same:
            q, k, v = self._split(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3).unbind(0)
        else:
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            q, k, v = (
                self._split(F.linear(sequence, weight, bias), 1)[0]
                for sequence, weight, bias in zip(
                    (query, key, value), self.in_proj_weight.chunk(3), biases, strict=True
                )
            )
        mask = self._mask(attn_mask, key_padding_mask, q, single)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q / math.sqrt(self.head_width)) @ k.transpose(-2, -1)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout, self.training)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights[0] if single else weights
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        result = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if single:
            return result[0], weights
        return (result if self.batch_first else result.transpose(0, 1)), weights

    def _batched(self, sequence: Tensor, single: bool) -> Tensor:
        """[B, N, e]."""
        if single:
            return sequence[None]
        return sequence if self.batch_first else sequence.transpose(0, 1)

    def _split(self, joined: Tensor, parts: int) -> Tensor:
        """[parts, B, h, N, d] from [B, N, parts h d]."""
        batch, tokens, _ = joined.shape
        return joined.reshape(batch, tokens, parts, self.heads, self.head_width).permute(2, 0, 3, 1, 4)

    def _mask(self, mask: Tensor | None, padding: Tensor | None, query: Tensor, single: bool) -> Tensor | None:
        """What is added to the scores, broadcastable to [B, h, N, M]; a mask per head has as many as there are."""
        batch, heads = query.shape[:2]
        if mask is not None:
            mask = _added(mask, query.dtype)
            mask = mask if mask.dim() == 2 else mask.view(batch, heads, *mask.shape[1:])
        if padding is not None:
            padding = _added(padding, query.dtype)
            padding = padding.view(1 if single else batch, 1, 1, -1)
            mask = padding if mask is None else mask + padding
        return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask of truths, True where a place is not looked at, as numbers."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def with_free_heads(model: nn.Module) -> nn.Module:
    """Put `SelfAttention` in the place of each multi-head attention that it can stand for; tensors are kept.

    Which ones these are follows from the layers alone, not from their numbers or their calls, of which it takes all. A
    subclass, a layer with hooks, one with widths of its own for keys and values and one with learned places stay; so do
    those in torch's own encoder layers, which read the insides of theirs.
    """
    inside = {
        id(child)
        for layer in model.modules()
        if isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
        for child in layer.children()
    }
    exchanged: dict[int, SelfAttention] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if type(child) is nn.MultiheadAttention and id(child) not in inside and _plain(child):
                if id(child) not in exchanged:
                    exchanged[id(child)] = _from_multihead(child)
                parent._modules[name] = exchanged[id(child)]
    return model


def _plain(layer: nn.MultiheadAttention) -> bool:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer.out_proj._forward_hooks)
    alone = not any(hooks) and "forward" not in vars(layer) and type(layer.out_proj).__module__.startswith("torch.nn.")
    return bool(alone and layer._qkv_same_embed_dim and layer.bias_k is None and not layer.add_zero_attn)


def _from_multihead(layer: nn.MultiheadAttention) -> SelfAttention:
    biased = layer.in_proj_bias is not None
    with torch.device("meta"):
        new = SelfAttention(
            layer.embed_dim, layer.head_dim, layer.num_heads, layer.dropout, biased, bool(layer.batch_first)
        )
    new.in_proj_weight, new.in_proj_bias = layer.in_proj_weight, layer.in_proj_bias
    new.out_proj = layer.out_proj
    return new.train(layer.training)
