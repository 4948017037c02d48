"""Self-attention that can lose heads: torch's multi-head attention with an inner width of its own.

torch.nn.MultiheadAttention ties the width inside (heads times width of a head) to the width outside, so no head can
leave it. `SelfAttention` has the same tensors under the same names and gives the same results, but its inner width is
whatever its tensors say:

    in_proj_weight [3 h d, e], in_proj_bias [3 h d]     queries, keys and values of h heads of width d, in this order
    out_proj.weight [e, h d], out_proj.bias [e]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V per head, joined and projected (Vaswani et al., arXiv 1706.03762).

    Args:
        width: e, of what goes in and comes out.
        head_width: d, fixed; `heads` follows from the tensors.
        heads: h.
        dropout: of the attention's weights, in training.
        bias: whether the projections have one.
    """

    def __init__(self, width: int, head_width: int, heads: int, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        self.head_width, self.dropout = head_width, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * heads * head_width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * heads * head_width)) if bias else None
        self.out_proj = nn.Linear(heads * head_width, width, bias)
        nn.init.xavier_uniform_(self.in_proj_weight)

    @property
    def heads(self) -> int:
        return self.in_proj_weight.shape[0] // (3 * self.head_width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """The call of torch.nn.MultiheadAttention; the three tensors are one, [B, N, e], and so is the result."""
        if key is not query or value is not query:
            raise NotImplementedError("attention between different sequences")
        batch, tokens, _ = query.shape
        joined = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        q, k, v = joined.reshape(batch, tokens, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, -1)), None


def with_free_heads(model: nn.Module) -> nn.Module:
    """Put `SelfAttention` in the place of each multi-head attention that it can stand for; tensors are kept.

    torch's own encoder layers read the insides of theirs, and keep them.
    """
    inside = {
        id(child)
        for layer in model.modules()
        if isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
        for child in layer.children()
    }
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.MultiheadAttention and id(child) not in inside and _plain(child):
                setattr(parent, name, _from_multihead(child))
    return model


def _plain(layer: nn.MultiheadAttention) -> bool:
    return bool(layer._qkv_same_embed_dim and layer.batch_first and layer.bias_k is None and not layer.add_zero_attn)


def _from_multihead(layer: nn.MultiheadAttention) -> SelfAttention:
    with torch.device("meta"):
        new = SelfAttention(layer.embed_dim, layer.head_dim, layer.num_heads, layer.dropout)
    new.in_proj_weight, new.in_proj_bias = layer.in_proj_weight, layer.in_proj_bias
    new.out_proj = layer.out_proj
    return new.train(layer.training)
