"""Shrink a network to the tensors of a channel-pruned one, and load tensors strictly, without copies.

What a removal did is told by `account_of`: for every tensor that shrank its shape before, and which of its dimensions
are shorter now. Whoever writes a file takes it down there; whoever reads one holds the network that the architecture
builds, and the tensors of the file, against it. Without an account the shapes alone have to do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.models.architectures.computed_weights import make_plain, materialise
from fairprune_cli.models.architectures.fingerprints import COUNTER
from fairprune_cli.models.architectures.image_size import own_size
from fairprune_cli.models.architectures.ties import memory_of, owner_of, tie, tied, with_all_names
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.widths import set_widths

Account = Mapping[str, Mapping[str, Any]]
"""{tensor: {"shape": before any removal, "kept": entries left, "dims": that are shorter, "persistent": False}}; "dims"
is there where any is, and "persistent" where the tensor is a buffer that state dicts leave out."""

_HINT = "the file belongs to another architecture, or is damaged"
_VECTORS = ("weight", "bias", "running_mean", "running_var")
_SIZES = (64, 224, 160, 256, 384, 32)  # edges of images that a network of unknown taste may take


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters and buffers, those that state dicts leave out included, by name."""
    return {name: tuple(tensor.shape) for name, tensor in _tensors(model)}


def shapes_before(state: Mapping[str, Tensor], account: Account) -> dict[str, tuple[int, ...]]:
    """Shapes of a file's tensors before what the account tells."""
    return {
        name: tuple(account[name]["shape"] if "dims" in account.get(name, {}) else tensor.shape)
        for name, tensor in state.items()
    }


def account_of(model: nn.Module, dense: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Any]]:
    """What a removal did to a model, as an `Account`.

    Args:
        model: after it; dense: `shapes_of` the same before it.
    """
    saved, account = model.state_dict(), {}
    for name, tensor in _tensors(model):
        shape, now = dense.get(name, tuple(tensor.shape)), tuple(tensor.shape)
        if shape != now:
            dims = [dim for dim, (before, size) in enumerate(zip(shape, now, strict=True)) if before != size]
            account[name] = {"shape": list(shape), "kept": tensor.numel(), "dims": dims}
            if name not in saved:
                account[name]["persistent"] = False
    return account


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], where: str = "") -> nn.Module:
    """Make the tensors of `state` those of `model`, without copying them; missing batch counters become 0.

    Weights that are tied stay so; one name of each is enough.

    Raises:
        FairpruneError: lists the missing, unexpected and differently shaped tensors, all at once; or names of one
            weight hold different numbers.
    """
    materialise(model, {name: tensor.shape for name, tensor in state.items()})
    groups = tied(model)
    given, expected = OrderedDict(with_all_names(state, groups)), model.state_dict()
    # Some layers ask which version of themselves a state is of; one that fits this model is of this model's.
    given._metadata = expected._metadata  # type: ignore[attr-defined]
    for key in expected:
        if key.endswith(COUNTER) and key not in given:
            given[key] = torch.zeros((), dtype=torch.long)
    problems = Problems(where, limit=12)
    problems.extend(f"{key} is missing" for key in expected if key not in given)
    problems.extend(f"{key} is unexpected" for key in given if key not in expected)
    problems.extend(
        f"{key} has shape {tuple(given[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in given and given[key].shape != tensor.shape
    )
    problems.extend(
        f"{key} holds {given[key].dtype} numbers, not {tensor.dtype}"
        for key, tensor in expected.items()
        if key in given and given[key].is_floating_point() != tensor.is_floating_point()
    )
    problems.raise_if_any(hint=_HINT)
    _part(given, groups)
    try:
        model.load_state_dict(given, strict=True, assign=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise FairpruneError(f"the weights cannot be loaded: {error}", where=where, hint=_HINT) from error
    tie(model, groups)
    _refuse_meta(model, where)
    return model


def load_plain(model: nn.Module, state: Mapping[str, Tensor], where: str = "") -> list[str]:
    """Load strictly into a network as it was built, and let its weights be plain parameters then.

    A state without the numbers that some weights are computed from is loaded after that.

    Returns:
        What `make_plain` says.

    Raises:
        FairpruneError: as `load_strictly`.
    """
    materialise(model, {name: tensor.shape for name, tensor in state.items()})
    names = with_all_names(state, tied(model))
    computed = any(name not in names and not name.endswith(COUNTER) for name in model.state_dict())
    notes = make_plain(model) if computed else []
    load_strictly(model, state, where)
    return notes + make_plain(model)


def _part(state: dict[str, Tensor], groups: list[list[str]]) -> None:
    """Tensors that share memory, as a checkpoint's of tied weights do, get memory of their own unless they are tied."""
    one = {name: group[0] for group in groups for name in group}
    taken: dict[object, str] = {}
    for name, tensor in state.items():
        if tensor.numel() and taken.setdefault(memory_of(tensor), one.get(name, name)) != one.get(name, name):
            state[name] = tensor.clone()


def fit_to_state(
    model: nn.Module, state: Mapping[str, Tensor], account: Account | None = None, shape: ImageShape | None = None
) -> nn.Module:
    """Give the layers of `model` the widths that the tensors in `state` have, then load them strictly.

    Any parameter or buffer may become smaller, never larger; a convolution's kernel stays. No tensor is copied. Where
    something is smaller, the network is run once: whether neighbouring layers agree shows only then.

    Args:
        model: the dense network; changed in place and returned. Its own numbers are dropped.
        state: tensors by name, with the smaller ones of the buffers that state dicts leave out.
        account: what a removal did, where a file tells; each dimension may be shorter otherwise.
        shape: of the images that the network is for, where it is known.

    Raises:
        FairpruneError: a tensor's shape is impossible for its layer or not what the account says, or the widths of
            neighbouring layers do not fit together; every such tensor is named.
    """
    # What lost single weights has an entry as well; files from before there were accounts have no others.
    told = {name: entry for name, entry in (account or {}).items() if "dims" in entry}
    materialise(model, shapes_before(state, told))
    groups = tied(model)
    told |= {name: told[known] for names in groups for known in names if known in told for name in names}
    full, problems = with_all_names(state, groups), Problems("", limit=12)
    changed = _narrow(model, full, told, problems)
    loose = {name: full.pop(name) for name, entry in told.items() if entry.get("persistent") is False and name in full}
    left_out = dict(model.named_buffers(remove_duplicate=False)).keys() - model.state_dict().keys()
    problems.extend(f"{name} is unexpected" for name in loose if name not in left_out)
    for name, module in model.named_modules():
        set_widths(module)
        problems.extend(_disagreement(name, module))
    problems.raise_if_any(hint=_HINT)
    if changed:  # a pass takes one dtype, and there are machines without arithmetic in 16 bits
        _put(model, _float(loose))
        load_strictly(model, _float(full))
        _try_forward(model, shape)
    _put(model, loose)
    return load_strictly(model, full)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _narrow(model: nn.Module, state: Mapping[str, Tensor], account: Account, problems: Problems) -> bool:
    """Put tensors without numbers and of the state's shapes in place; whether any differs from what was there."""
    made: dict[int, Tensor] = {}
    for name, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for leaf, tensor in list(table.items()):
                key = f"{name}.{leaf}" if name else leaf
                if tensor is None or (key not in state and key not in account):
                    continue
                fault = f"{key} is missing" if key not in state else _unlike_account(key, state, tensor, account)
                if not fault and state[key].shape != tensor.shape:
                    fault = _impossible(module, leaf, tuple(state[key].shape), tuple(tensor.shape))
                    fault = f"{key} has shape {tuple(state[key].shape)}: {fault}" if fault else ""
                if fault:
                    problems.add(fault)
                elif state[key].shape != tensor.shape:
                    # A weight that is tied stays one.
                    table[leaf] = made.setdefault(id(tensor), _without_numbers(tensor, state[key].shape))
    return bool(made)


def _unlike_account(key: str, state: Mapping[str, Tensor], built: Tensor, account: Account) -> str:
    """Where what was built is not what the account says that there was before; "" without an account."""
    shape, dense = tuple(state[key].shape), tuple(built.shape)
    told = tuple(account[key]["shape"]) if key in account else shape
    if not account or told == dense:
        return ""
    before = f", of {told} before it was pruned" if key in account else ", of which nothing was removed"
    return f"{key} has shape {shape}{before}, the network has {dense}"


def _impossible(module: nn.Module, leaf: str, shape: tuple[int, ...], dense: tuple[int, ...]) -> str:
    """Why a layer's tensor cannot have shrunk from one shape to the other; "" where it can."""
    if len(shape) != len(dense) or not all(shape):
        return f"it needs {len(dense)} sizes, none of them 0"
    if any(size > most for size, most in zip(shape, dense, strict=True)):
        return f"the network has {dense}{_groups_of(module)}"
    if isinstance(module, nn.modules.conv._ConvNd) and leaf == "weight":
        if shape[2:] != dense[2:]:
            return f"the kernel is {dense[2:]}"
        if module.groups > 1 and (shape[1] != dense[1] or shape[0] % (dense[0] // module.groups)):
            return f"the network has {dense}{_groups_of(module)}"
    if isinstance(module, SelfAttention) and leaf == "in_proj_weight" and shape[0] % (3 * module.head_width):
        return f"a head is 3 times {module.head_width} rows"
    return ""


def _groups_of(module: nn.Module) -> str:
    """What a convolution does with its channels, for a message."""
    groups = module.groups if isinstance(module, nn.modules.conv._ConvNd) else 1
    if groups == 1:
        return ""
    depthwise = groups == module.in_channels
    return f", and the convolution is {'depthwise' if depthwise else f'grouped, by {groups}'}"


def _disagreement(name: str, module: nn.Module) -> list[str]:
    """Vectors of a layer that are not as long as the layer is wide; some would pass, as one number for all channels."""
    if isinstance(module, nn.modules.conv._ConvNd):
        width = module.out_channels
    elif isinstance(module, nn.Linear):
        width = module.out_features
    elif isinstance(module, _NormBase):
        width = module.num_features
    elif isinstance(module, nn.GroupNorm):
        width = module.num_channels
    else:
        return []
    own = ((leaf, t) for leaf, t in (*module._parameters.items(), *module._buffers.items()) if t is not None)
    return [
        f"{name}.{leaf} has shape {tuple(tensor.shape)}, the layer is {width} wide".lstrip(".")
        for leaf, tensor in own
        if leaf in _VECTORS and tensor.dim() == 1 and len(tensor) != width
    ]


def _without_numbers(tensor: Tensor, shape: torch.Size) -> Tensor:
    """For the strict loading to compare with and to replace."""
    empty = torch.empty(shape, dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _put(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Buffers that state dicts leave out."""
    for name, tensor in buffers.items():
        owner, leaf = owner_of(model, name)
        owner._buffers[leaf] = tensor


def _float(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _refuse_meta(model: nn.Module, where: str) -> None:
    """Tensors outside the state dict stay without numbers when a skeleton is filled."""
    loose = [
        f"{name}.{key}".lstrip(".")
        for name, module in model.named_modules()
        for key, value in {**vars(module), **module._buffers, **module._parameters}.items()
        if isinstance(value, Tensor) and value.is_meta
    ]
    if loose:
        raise FairpruneError(f"the architecture has tensors that no checkpoint holds: {loose[0]}", where=where)


@torch.no_grad()
def _try_forward(model: nn.Module, shape: ImageShape | None) -> None:
    """Widths of neighbouring layers are not in the tensors' names: only a forward pass shows they agree."""
    inputs = [layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    channels = next((count for count in (3, 1) if count in inputs), inputs[0] if inputs else 3)
    squares = dict.fromkeys((own_size(model) or _SIZES[0], *_SIZES))
    failure = ""
    for images in ([] if shape is None else [shape]) + [ImageShape.sized(channels, side) for side in squares]:
        try:
            with evaluating(model):
                model(torch.zeros(1, *images.dimensions, dtype=torch.float32))
            return
        except Exception as error:  # whatever the network's own code raises
            failure = failure or (str(error).splitlines() or [type(error).__name__])[0]
    raise FairpruneError(f"the widths of the layers do not fit together: {failure}", hint=_HINT)
