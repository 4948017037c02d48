"""Which channels of a model can go, and their physical removal.

Channels that must be removed together, because layers are chained or meet in a skip connection, are one channel of a
`ChannelSpace`; `coupling` finds them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape, Shape
from fairprune_cli.models.inference import blank_images
from fairprune_cli.models.strides import is_channels_last
from fairprune_cli.models.widths import set_widths
from fairprune_cli.pruning.channels import FROZEN, ChannelSpace, Coupling, Slot, WalkFailed, coupling
from fairprune_cli.pruning.options import TargetOptions

__all__ = [
    "ChannelSpace", "Coupling", "Slot", "channel_coupling", "channel_spaces", "kept_per_space", "remove_channels",
    "take",
]  # fmt: skip
_HINT = "use --granularity weight"


def channel_spaces(model: nn.Module, shape: Shape) -> list[ChannelSpace]:
    """`channel_coupling(model, shape).spaces`."""
    return channel_coupling(model, shape).spaces


def channel_coupling(model: nn.Module, shape: Shape, prune_frozen: bool = TargetOptions.prune_frozen) -> Coupling:
    """What can be removed from a model, in the order of its modules, and what cannot; left as it was.

    Args:
        shape: of the images.
        prune_frozen: whether parameters that do not train may lose channels.

    Raises:
        FairpruneError: the network cannot be walked through, nothing in it can be removed, or what is left of it
            after a removal does not run.
    """
    try:
        found = coupling(model, shape, prune_frozen)
    except WalkFailed as error:
        _check_images(model, shape)
        raise FairpruneError(
            f"channels of this architecture cannot be traced ({error})", where=error.at, hint=_HINT
        ) from error
    if not found.spaces:
        layer, why = next(iter(found.fixed.items()), ("", ""))
        reason = f"; {layer}: {why}" if layer else ""
        hint = f"{_HINT}, or --prune-frozen" if any(why.endswith(FROZEN) for why in found.fixed.values()) else _HINT
        raise FairpruneError(f"the model has no channels that can be removed{reason}", hint=hint)
    _try_removal(model, found.spaces, shape)
    return found


@torch.no_grad()
def _check_images(model: nn.Module, shape: Shape, training: bool = False) -> None:
    """Raise a FairpruneError where it is the images that the network does not take."""
    dense = copy.deepcopy(model, {id(p): p for p in model.parameters()}).train(training)
    try:
        dense(blank_images(model, 2, shape))
    except FairpruneError:
        raise
    except Exception as error:
        when = " in training" if training else ""
        raise FairpruneError(
            f"the network does not take {ImageShape.of(shape)}{when}: {str(error).splitlines()[0]}",
            hint="set `transform: {size: ...}` of the manifest to what it was trained on",
        ) from error


@torch.no_grad()
def _try_removal(model: nn.Module, spaces: Sequence[ChannelSpace], shape: Shape) -> None:
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
    images = blank_images(model, 2, shape)
    try:
        # Dropout draws random numbers, and a trial must not move those of the run.
        with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
            smaller.eval()(images[:1])
            smaller.train()(images)
    except Exception as error:
        _check_images(model, shape, training=True)
        raise FairpruneError(
            f"the network does not run with fewer channels ({type(error).__name__}: {str(error).splitlines()[0]})",
            where=last[0], hint=_HINT,
        ) from error  # fmt: skip


def kept_per_space(spaces: Sequence[ChannelSpace], keep: np.ndarray) -> list[int]:
    """Number of kept channels of each space; `keep` is bool [sum of sizes] in the order of the spaces."""
    edges = np.cumsum([space.size for space in spaces])
    return [int(np.count_nonzero(part)) for part in np.split(keep, edges[:-1])]


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
    _replace(model, indices)
    return indices


def _replace(model: nn.Module, indices: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Put the kept indices of each tensor in its place, or places: a weight that is tied stays one."""
    tensors = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    places: dict[int, list[tuple[nn.Module, dict[str, Any], str]]] = {}
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = module._parameters, module._buffers
        for table in tables:
            for leaf, tensor in table.items():
                places.setdefault(id(tensor), []).append((module, table, leaf))
    # A layer without tensors may declare a width all the same.
    changed = {m: None for m in model.modules() if not any(True for _ in (*m.parameters(False), *m.buffers(False)))}
    for name, dims in indices.items():
        old = tensors[name]
        new = take(old.detach(), dims)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, old.requires_grad)
        for module, table, leaf in places[id(old)]:
            table[leaf] = new
            changed[module] = None
    for module in changed:
        set_widths(module)


def take(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """The kept indices of `tensor` along each dimension, as a tensor of its own, channels-last where this one is."""
    form = torch.channels_last if is_channels_last(tensor) else torch.contiguous_format
    for dim, index in dims.items():
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor.clone(memory_format=form)
