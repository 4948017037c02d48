"""Odd values for the structured mutations of benchmarks/_fuzz_models.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_DIGITS = 10**30
_SCALARS: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 7, 255, 4096, 20_000, 2**31, 2**53, 2**62, 2**70, _DIGITS, -(2**62), 0.0, -0.0,
    0.5, 1e-300, 1e308, float("nan"), float("inf"), "", "x", "0", "evil:make", "evil.name", "regnet_y_128gf",
    "\x1b[31m", "timm/eva02_enormous_patch14_clip_224", "../../x", "/dev/zero", "fairprune",
    "torch.ops.aten.repeat.default",
    "torch.ops.aten.zeros.default", "\ud800", "\u202e", "a" * 5000,
)  # fmt: skip


def odd_value(chance: random.Random) -> Any:
    """A value that JSON and YAML can hold."""
    draw = chance.randrange(10)
    if draw < 6:
        return chance.choice(_SCALARS)
    if draw == 6:
        return [chance.choice(_SCALARS) for _ in range(chance.choice((0, 1, 3, 9, 70)))]
    if draw == 7:
        return {str(chance.choice(_SCALARS)): chance.choice(_SCALARS) for _ in range(chance.choice((0, 1, 3)))}
    if draw == 8:
        value: Any = chance.choice(_SCALARS)
        for _ in range(chance.choice((5, 60, 400))):
            value = [value] if chance.random() < 0.5 else {"a": value}
        return value
    return [1] * chance.choice((1000, 100_000))


def odd_object(chance: random.Random, hashable: bool = False) -> Any:
    """A value that a pickle can hold, tensors among them."""
    draw = chance.randrange(8 if hashable else 20)
    if draw < 4:
        return chance.choice(_SCALARS)
    if draw == 4:
        return doubled(lambda inner: (inner, inner), chance.choice((3, 30)))
    if draw == 5:
        return frozenset((1, "a", doubled(lambda inner: (inner, 1), 3)))
    if draw == 6:
        return chance.choice((b"", b"\xff" * 1000, 1j, range(10**9), int, torch.float32))
    if draw == 7:
        return 1 << 800_000
    if draw < 11:
        return odd_value(chance)
    if draw == 11:
        return doubled(lambda inner: [inner, inner], 40)
    if draw == 12:
        return doubled(lambda inner: {"a": inner, "b": inner}, 40)
    if draw == 13:
        endless: list[Any] = []
        endless.append(endless)
        return endless
    if draw == 14:
        return chance.choice((np.zeros((2, 3)), np.zeros(3, dtype=complex), np.array(["a", None], dtype=object)))
    return odd_tensor(chance)


def odd_tensor(chance: random.Random) -> torch.Tensor:
    """Of any number format and shape, also shared, strided and without numbers."""
    kinds = (torch.float32, torch.complex64, torch.bool, torch.int8, torch.int64, torch.float16, torch.bfloat16,
             torch.float64, torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2)  # fmt: skip
    shapes = ((), (0,), (1,), (2,), (16, 3, 3, 3), (2, 128), (1, 1, 1, 1, 1, 1, 1, 1, 1), (0, 5), (100_000,))
    made = torch.ones(chance.choice(shapes)).to(chance.choice(kinds))
    draw = chance.randrange(8)
    if draw == 0:
        return torch.full((4, 4), chance.choice((float("nan"), float("inf"), -1e38)))
    if draw == 1:
        return torch.ones(1).expand(1 << 20)
    if draw == 2:
        return torch.ones(3, 4).to_sparse()
    if draw == 3:
        return torch.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, torch.qint8)
    return made


def doubled(make: Any, times: int) -> Any:
    """A value that holds the one before it twice, and so on: 2^times values by name, `times` in memory."""
    value: Any = 1
    for _ in range(times):
        value = make(value)
    return value


def deep(start: str, end: str, times: int) -> str:
    """Text of values within values."""
    return start * times + end * times


def replaced(root: Any, chance: random.Random, odd: Callable[[random.Random], Any]) -> Any:
    """The tree with one value in it, at any depth, replaced, left out, doubled under another name, or of an odd key."""
    node, above = root, []
    while isinstance(node, dict | list) and node and (not above or chance.random() < 0.8):
        key = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
        above.append((node, key))
        node = node[key]
    if not above:
        return odd(chance)
    holder, key = above[-1]
    draw = chance.random()
    if draw < 0.75:
        holder[key] = odd(chance)
    elif draw < 0.85 or isinstance(holder, list):
        del holder[key]
    else:
        holder[chance.choice(("", "x", "a.b", "0", "\x1b[31m", "n" * 2000, "conv1.weight.values"))] = holder[key]
    return root
