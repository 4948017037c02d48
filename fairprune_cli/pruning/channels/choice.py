"""Which channels go: what each choice saves, and the choice that comes nearest to a target.

Saving is counted in parameters, in multiply-adds or in channels. All three are sums of products of the widths that
the spaces keep, so a choice is judged without building the smaller model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.multiply_adds import multiply_adds
from fairprune_cli.pruning.channels.removal import ChannelSpace
from fairprune_cli.pruning.options import TargetOptions

CLOSE = 1e-12


class Count(Protocol):
    """What is left, in some unit, when space s keeps kept[s] channels."""

    def __call__(self, kept: Sequence[int]) -> int: ...


class ParameterCount:
    """Parameters that are left as a function of how many channels each space keeps.

    Exact for whole channels: a tensor's size is the product of its dimensions, and a dimension that shrinks holds a
    fixed number of indices per channel of each space that shares it, and some that stay.

    Args:
        uses: how often each entry of a tensor counts, by name; once when None, and 0 times where not named.
        rest: what is there whatever the channels.
    """

    def __init__(
        self,
        model: nn.Module,
        spaces: Sequence[ChannelSpace],
        uses: Mapping[str, int | Fraction] | None = None,
        rest: int = 0,
    ) -> None:
        self._rest = rest
        where: dict[tuple[str, int], list[tuple[int, int]]] = {}  # (space, indices per channel)
        for s, space in enumerate(spaces):
            for slot in space.slots:
                per = int((slot.channel >= 0).sum()) // space.size
                where.setdefault((slot.tensor, slot.dim), []).append((s, per))
        # Per tensor: how often an entry counts; per dimension: indices that stay, and what shrinks.
        self._tensors: list[tuple[int | Fraction, list[tuple[int, list[tuple[int, int]]]]]] = []
        for name, parameter in model.named_parameters():
            times = 1 if uses is None else uses.get(name, 0)
            if not times:
                continue
            dims = []
            for dim, size in enumerate(parameter.shape):
                shrinking = where.get((name, dim), [])
                dims.append((size - sum(per * spaces[s].size for s, per in shrinking), shrinking))
            self._tensors.append((times, dims))
        # A choice asks thousands of times, mostly about one space after the other: only what that changes is new.
        self._of_space: list[list[int]] = [[] for _ in spaces]
        for t, (_, dims) in enumerate(self._tensors):
            for s in {s for _, shrinking in dims for s, _ in shrinking}:
                self._of_space[s].append(t)
        self._last = [space.size for space in spaces]
        self._left = [self._in_tensor(t, self._last) for t in range(len(self._tensors))]
        self._sum = sum(self._left)

    def __call__(self, kept: Sequence[int]) -> int:
        """Parameters left when space s keeps kept[s] channels."""
        changed = [s for s, (now, before) in enumerate(zip(kept, self._last, strict=True)) if now != before]
        for t in {t for s in changed for t in self._of_space[s]}:
            left = self._in_tensor(t, kept)
            self._sum += left - self._left[t]
            self._left[t] = left
        self._last = list(kept)
        return self._rest + int(self._sum)

    def _in_tensor(self, t: int, kept: Sequence[int]) -> int | Fraction:
        times, dims = self._tensors[t]
        return times * _product(stay + sum(kept[s] * per for s, per in shrinking) for stay, shrinking in dims)


def channel_count(kept: Sequence[int]) -> int:
    """Channels left."""
    return sum(kept)


def mac_count(model: nn.Module, spaces: Sequence[ChannelSpace], shape: Shape) -> ParameterCount:
    """Multiply-adds that are left for one image.

    An entry of a weight counts as often as it is multiplied. The scores of N tokens and their sum over the values cost
    2 N^2 per inner channel, of which a head of `SelfAttention` has as many as a third of its rows of in_proj_bias: each
    of these counts 2 N^2 / 3 times. What is no product of an entry and its inputs stays as it is in the dense model.
    """
    found = multiply_adds(model, shape)
    known = dict(model.named_parameters())
    by_name = {**found.weights, **{f"{name}.in_proj_bias": count for name, count in found.attention.items()}}
    counted = {name: count for name, count in by_name.items() if name in known}
    uses = {name: _ratio(count, known[name].numel()) for name, count in counted.items()}
    return ParameterCount(model, spaces, uses, found.total - sum(counted.values()))


def _ratio(count: int, entries: int) -> int | Fraction:
    """Whole where it can be: a choice asks thousands of times."""
    return Fraction(count, entries) if count % entries else count // entries


def choose_channels(
    scores: np.ndarray,
    spaces: Sequence[ChannelSpace],
    count: Count,
    sparsity: float,
    floor: Sequence[int],
    round_to: int = TargetOptions.round_to,
) -> np.ndarray:
    """Remove channels in the order of their scores until the share that is gone is nearest to the target.

    With `round_to` N channels of a space go in groups that leave a multiple of N, in the order of the groups' mean
    scores; a group that would overshoot is passed over for later ones that still fit. A space that loses nothing
    keeps its width, whatever it is.

    Args:
        scores: [sum of sizes]; low goes first. Ties go by position.
        count: unit that the sparsity is a share of.
        sparsity: wanted share that is gone, 0..1.
        floor: channels that each space keeps at least.
        round_to: the widths of shrunk spaces are multiples of it.

    Returns:
        bool [sum of sizes], True where kept. The achieved share differs from the target by less than what one
        more channel (one more group of `round_to`) would change.

    Raises:
        FairpruneError: the target cannot be reached with `floor` channels in every space.
    """
    sizes = [space.size for space in spaces]
    total = count(sizes)
    owner = np.repeat(np.arange(len(spaces)), sizes)
    order, ends = _order(scores, owner, sizes, floor, round_to)

    def gone(removed: np.ndarray) -> float:
        lost = np.bincount(owner[removed], minlength=len(spaces)).tolist()
        return 1.0 - count([size - less for size, less in zip(sizes, lost, strict=True)]) / total

    most = gone(order)
    if most < sparsity - CLOSE:
        least = "a channel" if round_to == 1 else f"a multiple of {round_to} channels"
        raise FairpruneError(
            f"sparsity {sparsity} cannot be reached: {most:.4f} is the most when every layer keeps {least}",
            where="--sparsity", hint="ask for less, or use --granularity weight",
        )  # fmt: skip
    low = _least_groups(order, ends, gone, sparsity)
    removed = order[: ends[low]]
    if low:
        less = order[: ends[low - 1]]
        if round_to > 1:
            less = _filled(order, ends[low - 1 :], owner, gone, sparsity)
        if abs(gone(less) - sparsity) < abs(gone(removed) - sparsity):
            removed = less
    keep = np.ones(len(scores), dtype=bool)
    keep[removed] = False
    return keep


def _least_groups(order: np.ndarray, ends: Sequence[int], gone: Callable[[np.ndarray], float], sparsity: float) -> int:
    """Smallest number of removed groups that reaches the target; all of them do."""
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if gone(order[: ends[middle]]) >= sparsity - CLOSE:
            high = middle
        else:
            low = middle + 1
    return low


def _order(
    scores: np.ndarray, owner: np.ndarray, sizes: Sequence[int], floor: Sequence[int], round_to: int
) -> tuple[np.ndarray, list[int]]:
    """Positions that may be removed, worst first, and how many of them the first 0, 1, 2, ... groups have."""
    order = np.argsort(scores, kind="stable")
    if round_to == 1:
        order = order[~_best_of_each(scores, sizes, floor)[order]]
        return order, list(range(len(order) + 1))
    means: list[float] = []
    groups: list[np.ndarray] = []
    for s, least in enumerate(floor):
        ranked = order[owner[order] == s]
        least = -(-max(least, 1) // round_to) * round_to
        for start in range(-(-sizes[s] // round_to) * round_to - round_to, least - 1, -round_to):
            # The first group takes what leaves a multiple, the later ones a whole one.
            group = ranked[max(sizes[s] - start - round_to, 0) : sizes[s] - start]
            groups.append(group)
            means.append(scores[group].mean(dtype=np.float64))
    ranks = np.argsort(np.asarray(means, dtype=scores.dtype), kind="stable").tolist()
    ends = [0]
    for rank in ranks:
        ends.append(ends[-1] + len(groups[rank]))
    return np.concatenate([groups[rank] for rank in ranks] or [np.zeros(0, dtype=np.int64)]), ends


def _filled(
    order: np.ndarray, ends: Sequence[int], owner: np.ndarray, gone: Callable[[np.ndarray], float], sparsity: float
) -> np.ndarray:
    """The first ends[0] positions, and every later group that still fits below the target.

    A space whose next group does not fit loses nothing more: its later groups are better ones.
    """
    chosen = order[: ends[0]]
    full: set[int] = set()
    for start, end in itertools.pairwise(ends):
        space = int(owner[order[start]])
        if space in full:
            continue
        more = np.concatenate([chosen, order[start:end]])
        if gone(more) <= sparsity + CLOSE:
            chosen = more
        else:
            full.add(space)
    return chosen


def _best_of_each(scores: np.ndarray, sizes: Sequence[int], floor: Sequence[int]) -> np.ndarray:
    """bool [sum of sizes]: as many of each space's best as its floor says; ties go by position."""
    best = np.zeros(len(scores), dtype=bool)
    edges = np.cumsum([0, *sizes])
    for start, end, least in zip(edges[:-1], edges[1:], floor, strict=True):
        best[start + np.argsort(-scores[start:end], kind="stable")[:least]] = True
    return best


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result
