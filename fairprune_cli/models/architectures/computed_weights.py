"""A network without what computes its weights anew at each pass, and without layers that need several processes.

weight_norm, spectral_norm and any other parametrization keep numbers from which a weight is computed. What is pruned is
that weight, as it is in eval mode; torch.nn.utils.prune's masks are multiplied in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.inference import evaluating

_NAMES = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}


class AnyRankBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What SyncBatchNorm is in one process: a batch norm over [B, C, ...] of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [B, C, ...], got {input.dim()} dimension")


def make_plain(model: nn.Module) -> list[str]:
    """Let every weight be a parameter of its own, in place.

    Returns:
        A sentence for each kind of thing that was computed and dropped; empty where there was none.
    """
    found: Counter[str] = Counter()
    with evaluating(model):  # in training mode a pass of spectral_norm changes what it computes with
        for module in list(model.modules()):
            if isinstance(module, nn.SyncBatchNorm):
                module.__class__ = AnyRankBatchNorm  # type: ignore[assignment]
            found.update(_without_hooks(module))
            found.update(_without_parametrizations(module))
    return [
        f"{f'{count} weights' if count > 1 else 'a weight'} that {kind} computes at each pass "
        f"{'are' if count > 1 else 'is'} pruned as what it gives"
        for kind, count in sorted(found.items())
    ]


def materialise(model: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the layers that take their widths from their first images the widths of a file's tensors, in place.

    They have no numbers before a state is loaded.

    Args:
        shapes: of the network's tensors, by name, before any channel was removed.

    Raises:
        FairpruneError: such a layer has no tensor there.
    """
    for name, module in model.named_modules():
        tables: tuple[dict[str, Any], ...] = module._parameters, module._buffers
        waiting = [(table, leaf) for table in tables for leaf, tensor in table.items() if is_lazy(tensor)]
        for table, leaf in waiting:
            key = f"{name}.{leaf}".lstrip(".")
            if key not in shapes:
                raise FairpruneError(f"{name} takes its width from its first images, and {key} is missing")
            # Without memory: how wide it was before a removal is only what a file says.
            empty = torch.empty(tuple(shapes[key]), dtype=table[leaf].data.dtype, device="meta")
            wanted = table[leaf].requires_grad
            table[leaf] = nn.Parameter(empty, wanted) if table is module._parameters else empty
        if waiting and isinstance(module, LazyModuleMixin):
            _settle(module)


def refuse_lazy(model: nn.Module) -> None:
    """Raise a FairpruneError where a layer has no weights yet, as no image has gone through it."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise FairpruneError(
                f"{name} has no numbers yet: its layer takes its width from its first images",
                hint="run the network once, on images of the right size, before it is saved",
            )


def _settle(module: Any) -> None:
    """What the first pass of a lazy layer does, but for drawing numbers: it is one of the ordinary kind."""
    for hook in ("_initialize_hook", "_load_hook"):
        if hook in vars(module):
            getattr(module, hook).remove()
            delattr(module, hook)
    if (ordinary := getattr(module, "cls_to_become", None)) is not None:
        module.__class__ = ordinary
    weight = module._parameters.get("weight")
    if weight is None:
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.conv._ConvNd):
        module.in_channels = weight.shape[0] if module.transposed else weight.shape[1] * module.groups
    elif isinstance(module, _NormBase):
        module.num_features = weight.shape[0]


def _hooks(module: nn.Module) -> list[object]:
    """What is called in front of a layer's forward."""
    return list(module._forward_pre_hooks.values())


def _kind(hook: object) -> str:
    """What a hook in front of a layer's forward computes, "" where that is no weight."""
    if isinstance(hook, WeightNorm):
        return "weight_norm"
    if isinstance(hook, SpectralNorm):
        return "spectral_norm"
    return "torch.nn.utils.prune" if isinstance(hook, prune.BasePruningMethod) else ""


def _without_hooks(module: nn.Module) -> list[str]:
    """Remove the hooks that compute a weight; the kind of each."""
    kinds = []
    for hook in _hooks(module):
        kind = _kind(hook)
        if not kind:
            continue
        leaf = str(getattr(hook, "name", None) or getattr(hook, "_tensor_name", "weight"))
        sources = [module._parameters.get(f"{leaf}{end}") for end in ("_g", "_v", "_orig")]
        trains = any(source is not None and source.requires_grad for source in sources)
        if kind == "weight_norm":
            remove_weight_norm(module, leaf)
        elif kind == "spectral_norm":
            remove_spectral_norm(module, leaf)
            _forget_loading(module, leaf)
        else:
            prune.remove(module, leaf)
        _own(module, leaf, trains)
        kinds.append(kind)
    return kinds


def _forget_loading(module: nn.Module, leaf: str) -> None:
    """Remove what asks for spectral_norm's numbers when a state is loaded; torch's removal does not find it."""
    hooks = module._load_state_dict_pre_hooks  # noqa: SLF001
    for key, wrapped in list(hooks.items()):
        hook = getattr(wrapped, "hook", wrapped)
        if isinstance(hook, SpectralNormLoadStateDictPreHook) and hook.fn.name == leaf:
            del hooks[key]


def _without_parametrizations(module: nn.Module) -> list[str]:
    """Remove the parametrizations of all tensors of a module; the kind of each."""
    if not parametrize.is_parametrized(module):
        return []
    chains = dict(cast(nn.ModuleDict, module.parametrizations).items())
    with torch.no_grad():
        values = {leaf: getattr(module, leaf).detach().clone() for leaf in chains}
    # Not by torch's function: it takes the tensor from a class that copies of the module have as well.
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    kinds = []
    for leaf, chain in chains.items():
        kinds.append(" and ".join(_NAMES.get(type(one).__name__, type(one).__name__) for one in chain.children()))
        sources = list(chain.parameters())
        if sources:
            trains = any(source.requires_grad for source in sources)
            module.register_parameter(leaf, nn.Parameter(values[leaf], trains))
        else:
            module.register_buffer(leaf, values[leaf])
    return kinds


def _own(module: nn.Module, leaf: str, trains: bool) -> None:
    """A parameter in memory of its own, that trains or not as what it was computed from."""
    value = module._parameters[leaf]
    assert value is not None
    module._parameters[leaf] = nn.Parameter(value.detach().clone(), trains)
