"""Which channels of a model can go, what removing them saves, and their physical removal.

Channels that must be removed together, because layers are chained or meet in a skip connection, are one channel of a
`ChannelSpace`; fairprune_cli/coupling finds them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fairprune_cli.coupling import ChannelSpace, Coupling, Slot, WalkFailed, coupling
from fairprune_cli.errors import FairpruneError

__all__ = [
    "ChannelSpace", "Coupling", "ParameterCount", "Slot", "channel_coupling", "channel_spaces", "choose_channels",
    "kept_per_space", "remove_channels", "take",
]  # fmt: skip
_HINT = "use --granularity weight"


def channel_spaces(model: nn.Module, size: int) -> list[ChannelSpace]:
    """`channel_coupling(model, size).spaces`."""
    return channel_coupling(model, size).spaces


def channel_coupling(model: nn.Module, size: int) -> Coupling:
    """What can be removed from a model, in the order of its modules, and what cannot; left as it was.

    Args:
        size: side of the square input in pixels.

    Raises:
        FairpruneError: the network cannot be walked through, nothing in it can be removed, or what is left of it
            after a removal does not run.
    """
    try:
        found = coupling(model, size)
    except WalkFailed as error:
        _check_images(model, size)
        raise FairpruneError(
            f"channels of this architecture cannot be traced ({error})", where=error.at, hint=_HINT
        ) from error
    if not found.spaces:
        layer, why = next(iter(found.fixed.items()), ("", ""))
        reason = f"; {layer}: {why}" if layer else ""
        raise FairpruneError(f"the model has no channels that can be removed{reason}", hint=_HINT)
    _try_removal(model, found.spaces, size)
    return found


@torch.no_grad()
def _check_images(model: nn.Module, size: int, training: bool = False) -> None:
    """Raise a FairpruneError where it is the images that the network does not take."""
    dense = copy.deepcopy(model, {id(p): p for p in model.parameters()}).train(training)
    image = _image(model, size)
    try:
        dense(torch.cat([image, image]))
    except FairpruneError:
        raise
    except Exception as error:
        when = " in training" if training else ""
        raise FairpruneError(
            f"the network does not take images of {size}x{size} pixels{when}: {str(error).splitlines()[0]}",
            hint="set `transform: {size: ...}` of the manifest to what it was trained on",
        ) from error


def _image(model: nn.Module, size: int) -> Tensor:
    first = next(model.parameters())
    return torch.zeros(1, 3, size, size, device=first.device, dtype=first.dtype)


@torch.no_grad()
def _try_removal(model: nn.Module, spaces: Sequence[ChannelSpace], size: int) -> None:
    """Run a copy without half of all channels: what does not fit shows here, not in the midst of training.

    That is code with a width written into it, or layers that only training runs, such as auxiliary classifiers.
    """
    # The copy shares its parameters, of which removal makes new ones; the statistics are its own.
    smaller = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    last = [""]
    for name, module in smaller.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(lambda *_, name=name: last.__setitem__(0, name))
    remove_channels(smaller, spaces, torch.cat([torch.arange(space.size) % 2 == 0 for space in spaces]))
    image = _image(model, size)
    try:
        # Dropout draws random numbers, and a trial must not move those of the run.
        with torch.random.fork_rng(devices=[image.device] if image.device.type == "cuda" else []):
            smaller.eval()(image)
            logits = smaller.train()(torch.cat([image, image]))
    except Exception as error:
        _check_images(model, size, training=True)
        raise FairpruneError(
            f"the network does not run with fewer channels ({type(error).__name__}: {str(error).splitlines()[0]})",
            where=last[0], hint=_HINT,
        ) from error  # fmt: skip
    if not isinstance(logits, Tensor):
        raise FairpruneError(
            f"in training the network gives {type(logits).__name__}, not one tensor of logits",
            hint="give a version of it without auxiliary outputs as --arch package.module:factory",
        )


class ParameterCount:
    """Parameters that are left as a function of how many channels each space keeps.

    Exact for whole channels: a tensor's size is the product of its dimensions, and a dimension that shrinks holds a
    fixed number of indices per channel of each space that shares it, and some that stay.
    """

    def __init__(self, model: nn.Module, spaces: Sequence[ChannelSpace]) -> None:
        where: dict[tuple[str, int], list[tuple[int, int]]] = {}  # (space, indices per channel)
        for s, space in enumerate(spaces):
            for slot in space.slots:
                per = int((slot.channel >= 0).sum()) // space.size
                where.setdefault((slot.tensor, slot.dim), []).append((s, per))
        # Per tensor, per dimension: indices that stay, and what shrinks.
        self._tensors: list[list[tuple[int, list[tuple[int, int]]]]] = []
        for name, parameter in model.named_parameters():
            dims = []
            for dim, size in enumerate(parameter.shape):
                shrinking = where.get((name, dim), [])
                dims.append((size - sum(per * spaces[s].size for s, per in shrinking), shrinking))
            self._tensors.append(dims)

    def __call__(self, kept: Sequence[int]) -> int:
        """Parameters left when space s keeps kept[s] channels."""
        return sum(
            _product(stay + sum(kept[s] * per for s, per in shrinking) for stay, shrinking in dims)
            for dims in self._tensors
        )


def _product(numbers: Iterator[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def kept_per_space(spaces: Sequence[ChannelSpace], keep: Tensor) -> list[int]:
    """Number of kept channels of each space; `keep` is bool [sum of sizes] in the order of the spaces."""
    return [int(part.sum()) for part in keep.split([space.size for space in spaces])]


def choose_channels(
    scores: Tensor, spaces: Sequence[ChannelSpace], count: ParameterCount, sparsity: float, floor: Sequence[int]
) -> Tensor:
    """Remove channels in the order of their scores until the share of removed parameters is nearest to the target.

    Args:
        scores: [sum of sizes]; low goes first. Ties go by position.
        sparsity: wanted share of all parameters that is gone, 0..1.
        floor: channels that each space keeps at least.

    Returns:
        bool [sum of sizes], True where kept. The achieved share differs from the target by less than what one
        more channel would change.

    Raises:
        FairpruneError: the target cannot be reached with `floor` channels in every space.
    """
    sizes = [space.size for space in spaces]
    total = count(sizes)
    owner = torch.repeat_interleave(torch.arange(len(spaces)), torch.tensor(sizes))
    protected = torch.cat([_top(part, least) for part, least in zip(scores.cpu().split(sizes), floor, strict=True)])
    order = torch.argsort(scores.cpu(), stable=True)
    order = order[~protected[order]]
    removed_from = owner[order]

    def gone(number: int) -> float:
        lost = torch.bincount(removed_from[:number], minlength=len(spaces)).tolist()
        return 1.0 - count([size - less for size, less in zip(sizes, lost, strict=True)]) / total

    low, high = 0, len(order)
    if gone(high) < sparsity - 1e-12:
        raise FairpruneError(
            f"sparsity {sparsity} cannot be reached: {gone(high):.4f} is the most when every layer keeps a channel",
            where="--sparsity", hint="ask for less, or use --granularity weight",
        )  # fmt: skip
    while low < high:  # smallest number of removed channels that reaches the target
        middle = (low + high) // 2
        if gone(middle) >= sparsity - 1e-12:
            high = middle
        else:
            low = middle + 1
    number = low
    if number and abs(gone(number - 1) - sparsity) < abs(gone(number) - sparsity):
        number -= 1
    keep = torch.ones(len(scores), dtype=torch.bool)
    keep[order[:number]] = False
    return keep


def _top(scores: Tensor, number: int) -> Tensor:
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[torch.argsort(scores, descending=True, stable=True)[:number]] = True
    return chosen


def remove_channels(model: nn.Module, spaces: Sequence[ChannelSpace], keep: Tensor) -> dict[str, dict[int, Tensor]]:
    """Physically remove channels, in place; parameters are replaced by new, smaller ones.

    Args:
        model: any model the spaces were made from.
        keep: bool [sum of sizes], True where a channel stays.

    Returns:
        For each tensor that shrank, the kept indices per dimension (what carries optimiser state over).
    """
    left: dict[tuple[str, int], Tensor] = {}
    for space, kept in zip(spaces, keep.cpu().split([space.size for space in spaces]), strict=True):
        for slot in space.slots:
            stays = (slot.channel < 0) | kept[slot.channel]
            left[slot.tensor, slot.dim] = stays & left.get((slot.tensor, slot.dim), stays)
    indices: dict[str, dict[int, Tensor]] = {}
    for (name, dim), stays in left.items():
        if not bool(stays.all()):
            indices.setdefault(name, {})[dim] = torch.nonzero(stays)[:, 0]
    for name, dims in indices.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        tensor = take(getattr(module, leaf).detach(), dims)
        if leaf in module._parameters:
            module._parameters[leaf] = nn.Parameter(tensor)
        else:
            module._buffers[leaf] = tensor
        if leaf == "weight":
            _set_width(module, tensor)
    return indices


def take(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """The kept indices of `tensor` along each dimension, as a tensor of its own."""
    for dim, index in dims.items():
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor.clone(memory_format=torch.contiguous_format)


def _set_width(module: nn.Module, weight: Tensor) -> None:
    """Make the module's declared widths agree with its weight."""
    if isinstance(module, nn.Conv2d):
        # Groups go as a whole, so the outputs of one stay as many as they were.
        module.groups = module.groups * weight.shape[0] // module.out_channels if module.groups > 1 else 1
        module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = (weight.shape[0],)
