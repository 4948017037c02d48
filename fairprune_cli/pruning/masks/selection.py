"""The selection of exactly so many of many numbers, by numpy on the host, and without a number read on accelerators."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host, sent

SAMPLE = 1 << 16  # numbers that `bracket` looks at first


def top_k_mask(scores: Tensor, keep: int) -> Tensor:
    """Exactly `keep` entries with the largest scores; ties go to the lower index.

    Args:
        scores: [n], without NaN.
        keep: 0..n.

    Returns:
        bool [n].
    """
    count = scores.numel()
    if not 0 <= keep <= count:
        raise ValueError(f"cannot keep {keep} of {count}")
    if on_host(scores):
        return torch.from_numpy(_largest_on_host(scores.detach().numpy(), keep))
    if keep in (0, count):
        return torch.full_like(scores, bool(keep), dtype=torch.bool)
    return _largest(scores, keep)


def top_k_with_floors(scores: Tensor, sizes: Sequence[int], floors: Sequence[int], keep: int) -> Tensor:
    """As `top_k_mask`, but of every part its best entries come first, as many as its floor says.

    Args:
        scores: [n], without NaN.
        sizes: of consecutive parts of the scores; they add up to n.
        floors: 0..size for each part; at most `keep` in all.
        keep: 0..n.

    Returns:
        bool [n].
    """
    if on_host(scores):
        return torch.from_numpy(_floored_on_host(scores.detach().numpy(), sizes, floors, keep))
    first = _best_of_each(scores, sizes, floors) if any(floors) else None
    return top_k_mask(scores if first is None else scores.masked_fill(first, torch.inf), keep)


def stable_order(values: np.ndarray) -> np.ndarray:
    """What `argsort(kind="stable")` of values [n] without NaN gives; twice as fast where they are float32."""
    if values.dtype != np.float32:
        return np.argsort(values, kind="stable")
    bits = (values + np.float32(0.0)).view(np.int32)  # zeros without a sign
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)  # integers in the order of the numbers
    keys = (rising << 32) | np.arange(len(values))
    keys.sort()
    return keys & 0xFFFFFFFF


def bracket(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
    """What of values [n] is surely above the k-th largest, bool [n], and where it may be, ascending; k in 1..n.

    Selection over many numbers is slow on a CPU, comparing them is not: a sample says between which two values the
    answer lies almost surely, and only what lies there needs to be searched. Where the sample is wrong, everything
    does, and the positions are None.
    """
    count = len(values)
    if count > 4 * SAMPLE:
        sample = np.sort(values[:: count // SAMPLE])[::-1]
        share = k / count
        at, margin = int(share * len(sample)), int(4.0 * (len(sample) * share * (1.0 - share)) ** 0.5) + 2
        above = values > sample[at - margin] if at > margin else np.zeros(count, dtype=bool)
        least = values >= sample[min(at + margin, len(sample) - 1)]
        if np.count_nonzero(above) < k <= np.count_nonzero(least):
            return above, np.flatnonzero(least ^ above)
    return np.zeros(count, dtype=bool), None


def _largest_on_host(values: np.ndarray, keep: int) -> np.ndarray:
    if keep == 0:
        return np.zeros(len(values), dtype=bool)
    mask, inside = bracket(values, keep)
    candidates = values if inside is None else values[inside]
    lacking = keep - np.count_nonzero(mask)
    at = len(candidates) - lacking
    threshold = np.partition(candidates, at)[at]
    better, ties = np.flatnonzero(candidates > threshold), np.flatnonzero(candidates == threshold)
    chosen = np.concatenate([better, ties[: lacking - len(better)]])
    mask[chosen if inside is None else inside[chosen]] = True
    return mask


def _floored_on_host(scores: np.ndarray, sizes: Sequence[int], floors: Sequence[int], keep: int) -> np.ndarray:
    """A part that falls short of its floor gets its best entries first, until none falls short.

    Parts above their floor need nothing: what they would be given they have.
    """
    edges = np.cumsum([0, *sizes])
    parts = [slice(start, end) for start, end in itertools.pairwise(edges)]
    mask, ranked = _largest_on_host(scores, keep), scores
    while True:
        short = [i for i, part in enumerate(parts) if np.count_nonzero(mask[part]) < floors[i]]
        if not short:
            return mask
        ranked = ranked.copy() if ranked is scores else ranked
        for i in short:
            ranked[parts[i]][_largest_on_host(scores[parts[i]], floors[i])] = np.inf
        mask = _largest_on_host(ranked, keep)


def _largest(scores: Tensor, keep: int) -> Tensor:
    """`top_k_mask` for 0 < keep < n; `kthvalue` is slow on a GPU, and not the same twice."""
    above_all = len(scores) - keep + 1  # the keep-th largest is that smallest
    if keep <= above_all:
        least = scores.topk(keep, sorted=False).values.amin()
    else:
        least = scores.topk(above_all, largest=False, sorted=False).values.amax()
    above, ties = scores > least, scores == least
    rank = ties.cumsum(0, dtype=torch.int32)
    return (rank <= keep - above.sum()).logical_and_(ties).logical_or_(above)


def _best_of_each(scores: Tensor, sizes: Sequence[int], floors: Sequence[int]) -> Tensor:
    """bool [n]: the `floors` largest of each part, ties to the lower index."""
    worth = -scores  # so that the best are the smallest, whose largest one call finds for all parts
    tops = [
        part.topk(floor, largest=False, sorted=False).values
        for part, floor in zip(worth.split(list(sizes)), floors, strict=True) if floor
    ]  # fmt: skip
    last = iter(torch._foreach_max(tops))
    none = worth.new_full((), -torch.inf)
    least = _spread([next(last) if floor else none for floor in floors], sizes)
    above, ties = worth < least, worth == least
    # A tie is among the best while those above in its part and the ties before it are fewer than the floor.
    known = torch.stack([above, ties]).cumsum(1, dtype=torch.int32)
    edges = np.cumsum(sizes)
    ends = [known[:, end - 1] for end in edges]
    before = [known.new_zeros(2), *ends[:-1]]
    at = torch.stack([*ends, *before]).view(2, len(edges), 2)
    wanted = sent(np.asarray(floors, dtype=np.int32), scores.device)
    limit = wanted - (at[0, :, 0] - at[1, :, 0]) + at[1, :, 1]
    return (known[1] <= _spread(list(limit.unbind()), sizes)).logical_and_(ties).logical_or_(above)


def _spread(values: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Each of the values, scalars, as often as its size says, [sum of sizes]."""
    return torch.cat([value.expand(size) for value, size in zip(values, sizes, strict=True)])
