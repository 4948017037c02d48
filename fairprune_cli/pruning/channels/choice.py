"""Which channels go: what each choice saves, and the choice that comes nearest to a target.

Saving is counted in parameters, in multiply-adds or in channels. All three are sums of products of the widths that
the spaces keep, so a choice is judged without building the smaller model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
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

    def __call__(self, kept: Sequence[int]) -> int:
        """Parameters left when space s keeps kept[s] channels."""
        left = sum(
            times * _product(stay + sum(kept[s] * per for s, per in shrinking) for stay, shrinking in dims)
            for times, dims in self._tensors
        )
        return self._rest + int(left)


def channel_count(kept: Sequence[int]) -> int:
    """Channels left."""
    return sum(kept)


def mac_count(model: nn.Module, spaces: Sequence[ChannelSpace], size: int) -> ParameterCount:
    """Multiply-adds that are left for one image of edge `size` in pixels.

    An entry of a weight counts as often as it is multiplied. The scores of N tokens and their sum over the values cost
    2 N^2 per inner channel, of which a head of `SelfAttention` has as many as a third of its rows of in_proj_bias: each
    of these counts 2 N^2 / 3 times. What is no product of an entry and its inputs stays as it is in the dense model.
    """
    found = multiply_adds(model, size)
    known = dict(model.named_parameters())
    by_name = {**found.weights, **{f"{name}.in_proj_bias": count for name, count in found.attention.items()}}
    counted = {name: count for name, count in by_name.items() if name in known}
    uses = {name: _ratio(count, known[name].numel()) for name, count in counted.items()}
    return ParameterCount(model, spaces, uses, found.total - sum(counted.values()))


def _ratio(count: int, entries: int) -> int | Fraction:
    """Whole where it can be: a choice asks thousands of times."""
    return Fraction(count, entries) if count % entries else count // entries


def choose_channels(
    scores: Tensor,
    spaces: Sequence[ChannelSpace],
    count: Count,
    sparsity: float,
    floor: Sequence[int],
    round_to: int = TargetOptions.round_to,
) -> Tensor:
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
    owner = torch.repeat_interleave(torch.arange(len(spaces)), torch.tensor(sizes))
    order, ends = _order(scores.cpu(), owner, sizes, floor, round_to)

    def gone(removed: Tensor) -> float:
        lost = torch.bincount(owner[removed], minlength=len(spaces)).tolist()
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
    keep = torch.ones(len(scores), dtype=torch.bool)
    keep[removed] = False
    return keep


def _least_groups(order: Tensor, ends: Sequence[int], gone: Callable[[Tensor], float], sparsity: float) -> int:
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
    scores: Tensor, owner: Tensor, sizes: Sequence[int], floor: Sequence[int], round_to: int
) -> tuple[Tensor, list[int]]:
    """Positions that may be removed, worst first, and how many of them the first 0, 1, 2, ... groups have."""
    if round_to == 1:
        parts = zip(scores.split(list(sizes)), floor, strict=True)
        protected = torch.cat([_top(part, least) for part, least in parts])
        order = torch.argsort(scores, stable=True)
        order = order[~protected[order]]
        return order, list(range(len(order) + 1))
    means: list[float] = []
    groups: list[Tensor] = []
    for s, least in enumerate(floor):
        positions = torch.nonzero(owner == s)[:, 0]
        ranked = positions[torch.argsort(scores[positions], stable=True)]
        least = -(-max(least, 1) // round_to) * round_to
        for start in range(-(-sizes[s] // round_to) * round_to - round_to, least - 1, -round_to):
            # The first group takes what leaves a multiple, the later ones a whole one.
            group = ranked[max(sizes[s] - start - round_to, 0) : sizes[s] - start]
            groups.append(group)
            means.append(float(scores[group].mean()))
    ranks = torch.argsort(torch.tensor(means, dtype=torch.float64), stable=True).tolist()
    ends = [0]
    for rank in ranks:
        ends.append(ends[-1] + len(groups[rank]))
    return torch.cat([groups[rank] for rank in ranks] or [torch.zeros(0, dtype=torch.int64)]), ends


def _filled(
    order: Tensor, ends: Sequence[int], owner: Tensor, gone: Callable[[Tensor], float], sparsity: float
) -> Tensor:
    """The first ends[0] positions, and every later group that still fits below the target.

    A space whose next group does not fit loses nothing more: its later groups are better ones.
    """
    chosen = order[: ends[0]]
    full: set[int] = set()
    for start, end in itertools.pairwise(ends):
        space = int(owner[order[start]])
        if space in full:
            continue
        more = torch.cat([chosen, order[start:end]])
        if gone(more) <= sparsity + CLOSE:
            chosen = more
        else:
            full.add(space)
    return chosen


def _top(scores: Tensor, number: int) -> Tensor:
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[torch.argsort(scores, descending=True, stable=True)[:number]] = True
    return chosen


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result
