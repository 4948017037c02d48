"""From whatever a checkpoint holds to a plain state dict: unwrap, name, convert, check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.models.checkpoint.inert import Inert, TensorRef, printable

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "module", "ema")
"""Names under which a checkpoint keeps its weights, in the order in which they are looked for."""

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
"""What DataParallel, torch.compile and training frameworks put before every name."""

_MAX_DEPTH = 64
_MAX_MODULES = 100_000
Weights = dict[str, TensorRef | Tensor]


def find_weights(root: Any) -> Weights:
    """The tensors of the network in a checkpoint, by their names in the file.

    Args:
        root: a state dict, a dict that holds one under one of `WRAPPERS`, or a whole pickled network,
            as `read_pickle` gives it or with real tensors.

    Raises:
        FairpruneError: there are no weights in it; the message says what there is.
    """
    node = root
    for _ in range(8):
        if _is_module(node):
            return _walk(node)
        table = _table(node)
        wrapped = next((key for key in WRAPPERS if key in table and _holds_weights(table[key])), None)
        if wrapped is None:
            break
        node = table[wrapped]
    weights = {key: value for key, value in _table(node).items() if isinstance(key, str) and _is_tensor(value)}
    if not weights:
        raise FairpruneError(f"it holds no weights of a network, but {_describe(root)}", hint=_wrapper_hint())
    return weights


def clean_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without the prefixes that all of them share -> the name as it was."""
    cleaned = {name.replace("_orig_mod.", "") if "._orig_mod." in name else name: name for name in names}
    # torch.optim.swa_utils.AveragedModel counts its updates beside the averaged network.
    if len(cleaned) > 1:
        cleaned.pop("n_averaged", None)
    while cleaned:
        shared = next((prefix for prefix in PREFIXES if all(n.startswith(prefix) for n in cleaned)), None)
        if shared is None:
            break
        cleaned = {name[len(shared) :]: origin for name, origin in cleaned.items()}
    return cleaned


@dataclass
class PlainState:
    """A state dict as networks take it, and what it was.

    Attributes:
        tensors: by name, on the CPU, float32 or whole numbers.
        notes: a sentence for each change that was made.
        dtypes: the number formats that the tensors had, by the same names.
    """

    tensors: dict[str, Tensor]
    notes: list[str]
    dtypes: dict[str, torch.dtype]


def to_state(weights: Weights, read: Callable[[TensorRef], Tensor]) -> PlainState:
    """Read the tensors, drop prefixes, fold masks in, make every number float32, refuse NaN and infinity.

    Args:
        weights: tensors or references to them.
        read: reads a reference.

    Raises:
        FairpruneError: numbers that are not finite, or complex; all such tensors are named.
    """
    notes: list[str] = []
    odd = next((name for name in weights if not name.isprintable() or len(name) > 500), None)
    if odd is not None:
        raise FairpruneError(f"a tensor's name is not one of a network: {printable(odd, 60)}")
    state: dict[str, Tensor] = {}
    for name, origin in clean_names(weights).items():
        found = weights[origin]
        tensor = read(found) if isinstance(found, TensorRef) else found.detach().cpu()
        state[name] = tensor
    state = _fold_masks(state, notes)
    dtypes = {name: tensor.dtype for name, tensor in state.items()}
    converted = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values() if _narrow(tensor)}
    if converted:
        notes.append(f"weights were converted from {' and '.join(sorted(converted))} to float32")
    state = {name: tensor.float() if _narrow(tensor) else tensor for name, tensor in state.items()}
    problems = Problems("")
    for name, tensor in state.items():
        if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
            problems.add(f"{name} holds {tensor.dtype} numbers in a form that no supported layer has")
        elif tensor.is_floating_point() and not _finite(tensor):
            count = int((~torch.isfinite(tensor)).sum())
            problems.add(f"{name} has {count} of {tensor.numel()} numbers that are NaN or infinite")
    problems.raise_if_any(hint="training has diverged; take an earlier checkpoint")
    return PlainState(state, notes, dtypes)


def _finite(tensor: Tensor) -> bool:
    """Least and greatest show NaN and infinity too, and need no memory, unlike `isfinite` of each number."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _narrow(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32


def _fold_masks(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """torch.nn.utils.prune keeps `weight_orig` and `weight_mask`; their product is the weight."""
    masked = [name[:-5] for name in state if name.endswith("_orig") and f"{name[:-5]}_mask" in state]
    folded = dict(state)
    for name in masked:
        weight, mask = folded.pop(f"{name}_orig"), folded.pop(f"{name}_mask")
        if weight.shape != mask.shape:
            raise FairpruneError(f"{name}_mask has shape {tuple(mask.shape)}, not {tuple(weight.shape)}")
        folded[name] = weight * mask
    if masked:
        notes.append(f"the masks of torch.nn.utils.prune on {len(masked)} tensors were multiplied in")
    return folded


def _is_tensor(value: Any) -> bool:
    return isinstance(value, TensorRef | Tensor)


def _is_module(value: Any) -> bool:
    state = value.state if isinstance(value, Inert) else None
    return isinstance(state, dict) and isinstance(state.get("_modules"), dict) and "_parameters" in state


def _table(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Inert):
        return value.items or (value.state if isinstance(value.state, dict) else {})
    return {}


def _holds_weights(value: Any) -> bool:
    for _ in range(8):
        table = _table(value)
        if _is_module(value) or any(_is_tensor(entry) for entry in table.values()):
            return True
        inner = next((key for key in WRAPPERS if key in table), None)
        if inner is None:
            return False
        value = table[inner]
    return False


def _walk(root: Inert) -> Weights:
    """Parameters and persistent buffers of a pickled module tree, named as its own state dict names them."""
    weights: Weights = {}
    waiting: list[tuple[str, Inert, int]] = [("", root, 0)]
    for _ in range(_MAX_MODULES):
        if not waiting:
            return weights
        prefix, module, depth = waiting.pop()
        state = module.state
        transient = state.get("_non_persistent_buffers_set")
        hidden = transient if isinstance(transient, set | frozenset) else frozenset()
        for kind in ("_parameters", "_buffers"):
            for name, value in _table(state.get(kind)).items():
                if _is_tensor(value) and isinstance(name, str) and not (kind == "_buffers" and name in hidden):
                    weights[f"{prefix}{name}"] = value
        children = [(k, v) for k, v in state["_modules"].items() if isinstance(k, str) and _is_module(v)]
        if depth > _MAX_DEPTH or any(len(name) > 256 for name, _ in children):
            raise FairpruneError(f"the pickled network is nested more than {_MAX_DEPTH} deep or badly named")
        waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in reversed(children)]
    raise FairpruneError(f"the pickled network has more than {_MAX_MODULES} modules")


def _describe(root: Any) -> str:
    table = _table(root)
    if isinstance(root, Inert) and not table:
        return f"an object of {printable(root.origin, 80)}"
    if table:
        keys = ", ".join(printable(key, 30) for key in list(table)[:8])
        return f"a dict with the keys {keys}{' …' if len(table) > 8 else ''}"
    return "a tensor alone" if _is_tensor(root) else f"a {type(root).__name__}"


def _wrapper_hint() -> str:
    return f"save model.state_dict(), alone or in a dict under one of {', '.join(WRAPPERS)}"
