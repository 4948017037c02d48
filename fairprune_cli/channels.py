"""Which channels of which tensors go together, and their physical removal.

The dependency graph comes from torch-pruning and is used nowhere else; its own ratios and importances are not
used at all. Channels that must be removed together, because layers are chained or meet in a skip connection,
form a `ChannelSpace`: channel c of the space is one row or column in each of its slots.
"""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fairprune_cli.errors import FairpruneError

GRAPH_SECONDS = 60
_OUT, _IN = 0, 1


@dataclass(frozen=True)
class Slot:
    """The place of a space's channels in one tensor.

    Attributes:
        tensor: name of the parameter or buffer.
        dim: dimension that shrinks.
        channel: int64 [size of that dimension]; the channel of the space that each index belongs to.
    """

    tensor: str
    dim: int
    channel: Tensor


@dataclass(frozen=True)
class ChannelSpace:
    """Channels that are removed together.

    Attributes:
        name: the first layer that produces them.
        size: number of channels C.
        slots: every tensor dimension that shrinks with them.
        gates: names of the parameters whose zeros silence a channel (scale and shift of batch norms; weight
            and bias of producing layers without one); their first dimension is the channel.
        filters: names of the parameters that produce the channels, first dimension the channel.
    """

    name: str
    size: int
    slots: tuple[Slot, ...]
    gates: tuple[str, ...]
    filters: tuple[str, ...]


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the main thread of a POSIX process when the block takes longer."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def expired(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def channel_spaces(model: nn.Module, size: int) -> list[ChannelSpace]:
    """All channel spaces of a model, in the order of its modules; outputs of the classifier excluded.

    Args:
        model: convolutions, batch norms and linear layers; left as it was.
        size: side of the square input in pixels.

    Raises:
        FairpruneError: the graph cannot be built, or takes longer than a minute.
    """
    import torch_pruning as tp

    was_training = model.training
    model.eval()
    first = next(model.parameters())
    example = torch.zeros(1, 3, size, size, device=first.device, dtype=first.dtype)
    logging.getLogger("torch_pruning").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _time_limit(GRAPH_SECONDS), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
            return _collect(model, graph, tp)
    except TimeoutError as error:
        raise FairpruneError(
            f"the dependency graph of this architecture was not built within {GRAPH_SECONDS} s",
            hint="use --granularity weight",
        ) from error
    except FairpruneError:
        raise
    except Exception as error:
        raise FairpruneError(
            f"channels of this architecture cannot be traced ({type(error).__name__}: {error})",
            hint="use --granularity weight",
        ) from error
    finally:
        model.train(was_training)


def _collect(model: nn.Module, graph: object, tp: object) -> list[ChannelSpace]:
    names = {module: name for name, module in model.named_modules()}
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    classifier = layers[-1][1]
    known = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    seen: set[str] = set()
    spaces: list[ChannelSpace] = []
    for name, layer in layers:
        if layer is classifier or name in seen:
            continue
        count = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
        prune = tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels  # type: ignore[attr-defined]
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            # A depthwise layer belongs to the space that feeds it; other grouped layers are refused below.
            if layer.groups != layer.in_channels or layer.groups != layer.out_channels:
                raise FairpruneError(
                    "grouped convolutions that are not depthwise cannot be pruned by channel",
                    where=name, hint="use --granularity weight",
                )  # fmt: skip
            continue
        group = graph.get_pruning_group(layer, prune, idxs=list(range(count)))  # type: ignore[attr-defined]
        slots: dict[tuple[str, int], Slot] = {}
        gates: list[str] = []
        filters: list[str] = []
        closed = False
        for item in group:
            module = item.dep.target.module
            if module is classifier and "out" in item.dep.handler.__name__:
                closed = True
            if module not in names:
                continue  # an operation without parameters
            outward = "out" in item.dep.handler.__name__
            for tensor, dim in _touched(names[module], module, outward, known):
                parameter = _get(model, tensor)
                channel = torch.full((parameter.shape[dim],), -1, dtype=torch.int64)
                channel[torch.as_tensor(list(item.idxs))] = torch.as_tensor(list(item.root_idxs))
                if (channel < 0).any():
                    raise FairpruneError(
                        "only a part of the layer's channels is coupled (a concatenation?)",
                        where=names[module], hint="use --granularity weight",
                    )  # fmt: skip
                slots.setdefault((tensor, dim), Slot(tensor, dim, channel))
            if outward and isinstance(module, nn.Conv2d | nn.Linear):
                seen.add(names[module])
                filters.append(f"{names[module]}.weight")
                followers = graph.module2node[module].outputs  # type: ignore[attr-defined]
                if not any(isinstance(node.module, nn.modules.batchnorm._BatchNorm) for node in followers):
                    gates += [t for t, _ in _touched(names[module], module, True, known)]
            elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                gates += [f"{names[module]}.weight", f"{names[module]}.bias"]
        if not closed:
            unique = tuple(dict.fromkeys(gates)), tuple(dict.fromkeys(filters))
            spaces.append(ChannelSpace(name, count, tuple(slots.values()), *unique))
    if not spaces:
        raise FairpruneError("the model has no channels that can be removed", hint="use --granularity weight")
    return spaces


def _touched(name: str, module: nn.Module, outward: bool, known: set[str]) -> list[tuple[str, int]]:
    """(tensor, dimension) pairs that shrink when channels leave (outward) or no longer enter the module."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        pairs = [(f"{name}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]
    elif isinstance(module, nn.Conv2d | nn.Linear):
        depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
        if outward or depthwise:
            pairs = [(f"{name}.weight", _OUT), (f"{name}.bias", _OUT)]
        else:
            pairs = [(f"{name}.weight", _IN)]
    else:
        raise FairpruneError(
            f"layers of type {type(module).__name__} cannot lose channels yet", where=name,
            hint="use --granularity weight",
        )  # fmt: skip
    return [(tensor, dim) for tensor, dim in pairs if tensor in known]


def _get(model: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    value: Tensor = getattr(model.get_submodule(owner), leaf)
    return value


def kept_per_space(spaces: Sequence[ChannelSpace], keep: Tensor) -> list[int]:
    """Number of kept channels of each space; `keep` is bool [sum of sizes] in the order of the spaces."""
    return [int(part.sum()) for part in keep.split([space.size for space in spaces])]


def remove_channels(model: nn.Module, spaces: Sequence[ChannelSpace], keep: Tensor) -> dict[str, dict[int, Tensor]]:
    """Physically remove channels, in place; parameters are replaced by new, smaller ones.

    Args:
        model: any model the spaces were made from.
        keep: bool [sum of sizes], True where a channel stays.

    Returns:
        For each tensor that shrank, the kept indices per dimension (what carries optimiser state over).
    """
    indices: dict[str, dict[int, Tensor]] = {}
    for space, kept in zip(spaces, keep.cpu().split([space.size for space in spaces]), strict=True):
        for slot in space.slots:
            index = torch.nonzero(kept[slot.channel])[:, 0]
            if len(index) != len(slot.channel):
                indices.setdefault(slot.tensor, {})[slot.dim] = index
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
        module.out_channels = weight.shape[0]
        if module.groups > 1:
            module.groups = module.in_channels = weight.shape[0]
        else:
            module.in_channels = weight.shape[1]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = weight.shape[0]
