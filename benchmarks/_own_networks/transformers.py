"""Networks of tokens: own attention in the ways it is written, torch's in the ways it is called, mixers."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_dim, dim),
            nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    """As in the most copied ViT: to_qkv, chunk, reshape to heads, softmax, to_out."""

    def __init__(self, dim, heads=4, dim_head=8):
        super().__init__()
        inner_dim = dim_head * heads
        self.heads, self.scale = heads, dim_head**-0.5
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, inner_dim * 3, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner_dim, dim), nn.Dropout(0.0))

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in qkv)
        attn = (torch.matmul(q, k.transpose(-1, -2)) * self.scale).softmax(dim=-1)
        out = torch.matmul(attn, v).transpose(1, 2).reshape(b, n, -1)
        return self.to_out(out)


class SmallViT(nn.Module):
    """Patches by a strided convolution, a class token, positions, blocks of attention and MLP."""

    def __init__(self, num_classes=2, dim=32, depth=2, image_size=64, patch=16):
        super().__init__()
        self.to_patch_embedding = nn.Conv2d(3, dim, patch, patch)
        n = (image_size // patch) ** 2
        self.pos_embedding = nn.Parameter(torch.randn(1, n + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.layers = nn.ModuleList([nn.ModuleList([Attention(dim), FeedForward(dim, 64)]) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.mlp_head = nn.Linear(dim, num_classes)

    def forward(self, img):
        x = self.to_patch_embedding(img).flatten(2).transpose(1, 2)
        b = x.shape[0]
        x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1)
        x += self.pos_embedding[:, : x.shape[1]]
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.mlp_head(self.norm(x)[:, 0])


class PatchesByReshape(nn.Module):
    """simple_vit: patches cut by reshape and permute, fixed sine positions, mean over tokens, three projections."""

    def __init__(self, num_classes=2, dim=32, p=8):
        super().__init__()
        self.p, self.h = p, 4
        self.norm0 = nn.LayerNorm(3 * p * p)
        self.embed = nn.Linear(3 * p * p, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = FeedForward(dim, 48)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def positions(self, n, dim, device):
        at = torch.arange(n, device=device).float()[:, None]
        freq = torch.exp(torch.arange(0, dim, 2, device=device).float() * (-math.log(10000.0) / dim))
        return torch.cat([torch.sin(at * freq), torch.cos(at * freq)], dim=1)

    def forward(self, x):
        b, c, h, w = x.shape
        p = self.p
        x = x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, p * p * c)
        x = self.embed(self.norm0(x))
        x = x + self.positions(x.shape[1], x.shape[2], x.device)
        y = self.norm1(x)
        q, k, v = (
            f(y).view(b, -1, self.h, y.shape[-1] // self.h).permute(0, 2, 1, 3) for f in (self.q, self.k, self.v)
        )
        att = F.softmax(q @ k.transpose(2, 3) / math.sqrt(q.size(-1)), dim=-1)
        x = x + self.proj((att @ v).permute(0, 2, 1, 3).contiguous().view(b, -1, x.shape[-1]))
        x = x + self.mlp(x)
        return self.head(x.mean(dim=1))


class EinsumAttention(nn.Module):
    """Heads by einsum over a map, without tokens of its own; positions are relative and multiplied in."""

    def __init__(self, num_classes=2, c=32, heads=4):
        super().__init__()
        self.heads = heads
        self.stem = nn.Sequential(nn.Conv2d(3, c, 4, 4), nn.BatchNorm2d(c), nn.ReLU())
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.proj = nn.Conv2d(c, c, 1)
        self.ffn = nn.Sequential(nn.Conv2d(c, 64, 1), nn.ReLU(), nn.Conv2d(64, c, 1))
        self.fc = nn.Linear(c, num_classes)

    def forward(self, x):
        x = self.stem(x)
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).view(b, 3, self.heads, c // self.heads, h * w).unbind(1)
        att = torch.einsum("bhci,bhcj->bhij", q, k).mul(q.size(2) ** -0.5).softmax(-1)
        y = torch.einsum("bhij,bhcj->bhci", att, v).reshape(b, c, h, w)
        x = x + self.proj(y)
        x = x + self.ffn(x)
        return self.fc(x.mean((2, 3)))


class ScaledDotProduct(nn.Module):
    """nanoGPT's block on image tokens: one projection, split, scaled_dot_product_attention, a buffer for the mask."""

    def __init__(self, num_classes=2, n_embd=32, n_head=4):
        super().__init__()
        self.n_embd, self.n_head = n_embd, n_head
        self.wte = nn.Conv2d(3, n_embd, 8, 8)
        self.ln_1 = nn.LayerNorm(n_embd)
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(n_embd, 64), c_proj=nn.Linear(64, n_embd)))
        self.ln_f = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, num_classes, bias=False)

    def forward(self, idx):
        x = self.wte(idx).flatten(2).transpose(1, 2)
        B, T, C = x.size()
        q, k, v = self.c_attn(self.ln_1(x)).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))
        m = self.mlp
        x = x + m["c_proj"](F.gelu(m.c_fc(self.ln_2(x))))
        return self.head(self.ln_f(x)[:, -1, :])


class Tokens(nn.Module):
    """Image tokens for what follows: a convolution of stride 8, flattened to [B, N, C]."""

    def __init__(self, dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, 4, 4)
        self.conv2 = nn.Conv2d(dim, dim, 3, 2, 1)

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(2).transpose(1, 2)


class MultiheadBatchFirst(nn.Module):
    """nn.MultiheadAttention with batch_first, need_weights=False, on itself."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.tokens = Tokens(dim)
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.ff = FeedForward(dim, 64)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.tokens(x)
        y = self.norm(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        x = x + self.ff(x)
        return self.fc(x.mean(1))


class MultiheadSequenceFirst(MultiheadBatchFirst):
    """torch's default: the sequence first, weights asked for and thrown away."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__(num_classes, dim)
        self.attn = nn.MultiheadAttention(dim, 4)

    def forward(self, x):
        x = self.tokens(x).permute(1, 0, 2)
        attn_output, _ = self.attn(x, x, x)
        x = self.norm(x + attn_output)
        x = x + self.ff(x)
        return self.fc(x.mean(0))


class MultiheadWeights(MultiheadBatchFirst):
    """The weights are used: features are averaged by what the tokens look at."""

    def forward(self, x):
        x = self.tokens(x)
        y, w = self.attn(x, x, x, need_weights=True, average_attn_weights=True)
        x = torch.bmm(w, x) + y
        x = x + self.ff(x)
        return self.fc(x.mean(1))


class MultiheadCross(MultiheadBatchFirst):
    """Learned queries look at the tokens: query differs from key and value."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__(num_classes, dim)
        self.query = nn.Parameter(torch.randn(1, 3, dim))

    def forward(self, x):
        x = self.tokens(x)
        q = self.query.expand(x.size(0), -1, -1)
        y, _ = self.attn(query=q, key=x, value=x)
        y = y + self.ff(y)
        return self.fc(self.norm(y).mean(1))


class MultiheadMasked(MultiheadBatchFirst):
    """A mask of which tokens may see which, and one of padding, both from buffers."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__(num_classes, dim)
        self.register_buffer("mask", torch.triu(torch.full((64, 64), float("-inf")), 1), persistent=False)

    def forward(self, x):
        x = self.tokens(x)
        pad = torch.zeros(x.size(0), x.size(1), dtype=torch.bool, device=x.device)
        pad[:, -2:] = True
        y = self.norm(x)
        y = self.attn(y, y, y, attn_mask=self.mask[: x.size(1), : x.size(1)], key_padding_mask=pad.float())[0]
        x = x + y
        return self.fc(self.ff(x).mean(1))


class MultiheadOtherWidths(nn.Module):
    """Keys and values of another width than the queries, with learned bias_k and a token of zeros."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.tokens = Tokens(24)
        self.to_query = nn.Linear(24, 32)
        self.attn = nn.MultiheadAttention(
            32, 4, kdim=24, vdim=24, batch_first=True, add_bias_kv=True, add_zero_attn=True
        )
        self.hidden = nn.Linear(32, 64)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.tokens(x)
        y, _ = self.attn(self.to_query(x), x, x)
        return self.fc(F.relu(self.hidden(y.mean(1))))


class EncoderNet(nn.Module):
    """nn.TransformerEncoder over features, with positions from nn.Embedding."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.tokens = Tokens(dim)
        self.pos = nn.Embedding(256, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, batch_first=True, norm_first=False)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.tokens(x)
        x = x + self.pos(torch.arange(x.size(1), device=x.device)).unsqueeze(0)
        return self.fc(self.encoder(x).mean(1))


class EncoderPreNorm(nn.Module):
    """The same layers norm-first and sequence-first, behind more convolutions."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 48, 3, 2, 1))
        self.proj = nn.Conv2d(48, dim, 1)
        layer = nn.TransformerEncoderLayer(dim, 2, dim_feedforward=96, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = F.max_pool2d(self.proj(F.relu(self.stem(x))), 2)
        return self.fc(self.encoder(x.flatten(2).permute(2, 0, 1))[0])


class DecoderQueries(nn.Module):
    """DETR in small: nn.Transformer between tokens and object queries."""

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())
        self.conv = nn.Conv2d(64, dim, 1)
        self.transformer = nn.Transformer(dim, 2, 1, 1, 64)
        self.query_pos = nn.Parameter(torch.rand(4, dim))
        self.linear_class = nn.Linear(dim, num_classes)

    def forward(self, inputs):
        h = F.avg_pool2d(self.conv(self.backbone(inputs)), 4)
        h = h.flatten(2).permute(2, 0, 1)
        out = self.transformer(h, self.query_pos.unsqueeze(1).repeat(1, h.shape[1], 1))
        return self.linear_class(out.transpose(0, 1)).mean(1)


class MLPMixer(nn.Module):
    """Tokens mixed by a linear layer over the transposed, channels by another; one image size."""

    class Block(nn.Module):
        def __init__(self, tokens, dim):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.token = nn.Sequential(nn.Linear(tokens, 24), nn.GELU(), nn.Linear(24, tokens))
            self.channel = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))

        def forward(self, x):
            x = x + self.token(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channel(self.norm2(x))

    def __init__(self, num_classes=2, dim=32):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 16, 16)
        self.blocks = nn.Sequential(self.Block(16, dim), self.Block(16, dim))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.embed(x)
        x = x.view(x.shape[0], x.shape[1], -1).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


def conv_mixer(num_classes=2, dim=32, depth=3, kernel_size=5, patch_size=4):
    """ConvMixer in the form of its paper's figure: a Residual by subclassing Sequential."""
    Seq, ActBn = nn.Sequential, lambda x: Seq(x, nn.GELU(), nn.BatchNorm2d(dim))
    Residual = type("Residual", (Seq,), {"forward": lambda self, x: self[0](x) + x})
    return Seq(
        ActBn(nn.Conv2d(3, dim, patch_size, stride=patch_size)),
        *[Seq(Residual(ActBn(nn.Conv2d(dim, dim, kernel_size, groups=dim, padding="same"))),
              ActBn(nn.Conv2d(dim, dim, 1))) for i in range(depth)],
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(dim, num_classes),
    )  # fmt: skip


class WindowAttention(nn.Module):
    """Swin's: windows by view and permute, a shift by torch.roll, relative positions from a table."""

    def __init__(self, num_classes=2, dim=32, w=4, heads=2):
        super().__init__()
        self.w, self.heads = w, heads
        self.embed = nn.Conv2d(3, dim, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn((2 * w - 1) ** 2, heads) * 0.02)
        at = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")).flatten(1)
        where = at[:, :, None] - at[:, None, :] + w - 1
        self.register_buffer("relative_position_index", where[0] * (2 * w - 1) + where[1])
        self.mlp = nn.Sequential(nn.Linear(dim, 96), nn.GELU(), nn.Linear(96, dim))
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.embed(x).permute(0, 2, 3, 1)
        B, H, W, C = x.shape
        w, n = self.w, self.w * self.w
        y = torch.roll(self.norm1(x), shifts=(-w // 2, -w // 2), dims=(1, 2))
        y = y.view(B, H // w, w, W // w, w, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, n, C)
        qkv = self.qkv(y).reshape(-1, n, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        bias = self.table[self.relative_position_index.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        att = (q * (C // self.heads) ** -0.5 @ k.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1)
        y = self.proj((att @ v).transpose(1, 2).reshape(-1, n, C))
        y = y.view(B, H // w, W // w, w, w, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(B, H, W, C)
        x = x + torch.roll(y, shifts=(w // 2, w // 2), dims=(1, 2))
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean((1, 2)))


class PoolFormer(nn.Module):
    """Pooling minus identity as the mixer, with layer scales [C] opened by unsqueeze."""

    class Block(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.norm1, self.norm2 = nn.GroupNorm(1, dim), nn.GroupNorm(1, dim)
            self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            self.fc1, self.act, self.fc2 = nn.Conv2d(dim, 64, 1), nn.GELU(), nn.Conv2d(64, dim, 1)
            self.layer_scale_1 = nn.Parameter(1e-5 * torch.ones(dim))
            self.layer_scale_2 = nn.Parameter(1e-5 * torch.ones(dim))

        def forward(self, x):
            y = self.norm1(x)
            x = x + self.layer_scale_1.unsqueeze(-1).unsqueeze(-1) * (self.pool(y) - y)
            return x + self.layer_scale_2.unsqueeze(-1).unsqueeze(-1) * self.fc2(self.act(self.fc1(self.norm2(x))))

    def __init__(self, num_classes=2, dim=24):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 7, 4, 2)
        self.blocks = nn.Sequential(self.Block(dim), self.Block(dim))
        self.norm = nn.GroupNorm(1, dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.patch(x))).mean([-2, -1]))
