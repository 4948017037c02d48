"""From a table of weights to a plain state dict: masks folded in, numbers converted and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.models.architectures import COUNTER
from fairprune_cli.models.checkpoint.inert import TensorRef, printable
from fairprune_cli.models.checkpoint.weight_tables import Weights
from fairprune_cli.models.checkpoint.wrappers import INSERTED

_LIMIT = 500


def read_tensors(weights: Weights, read: Callable[[TensorRef | Tensor], Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors as they are in the file, with masks folded in and without what wrappers put into names.

    Args:
        weights: tensors or references to them.
        read: reads a reference.

    Returns:
        The tensors on the CPU, and a sentence for each change that was made.
    """
    odd = next((name for name in weights if not name.isprintable() or len(name) > _LIMIT), None)
    if odd is not None:
        raise FairpruneError(f"a tensor's name is not one of a network: {printable(odd, 60)}")
    names = without_inserted(weights)
    return _fold_masks({name: read(weights[origin]) for name, origin in names.items()})


def without_inserted(names: Iterable[str]) -> dict[str, str]:
    """Each name without what wrappers put into it -> the name as it was."""
    listed = list(names)
    cleaned = {}
    for name in listed:
        short = name
        for part in INSERTED:
            if short.startswith(part) or f".{part}" in short:
                short = short.replace(part, "")
        cleaned[short] = name
    return cleaned if len(cleaned) == len(listed) else {name: name for name in listed}


def converted(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Every number float32, batch counters whole numbers; NaN and infinity are refused.

    Returns:
        The state dict (float32 or whole numbers) and a sentence for each change that was made.

    Raises:
        FairpruneError: numbers that are not finite, or complex; all such tensors are named.
    """
    notes: list[str] = []
    kinds = {str(tensor.dtype).removeprefix("torch.") for name, tensor in state.items() if _narrow(name, tensor)}
    if kinds:
        notes.append(f"weights were converted from {' and '.join(sorted(kinds))} to float32")
    result = {name: tensor.float() if _narrow(name, tensor) else tensor for name, tensor in state.items()}
    result = {name: _counter(tensor) if name.endswith(COUNTER) else tensor for name, tensor in result.items()}
    problems = Problems("")
    for name, tensor in result.items():
        if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
            problems.add(f"{name} holds {tensor.dtype} numbers in a form that no supported layer has")
    problems.raise_if_any(hint="save the network with real, dense numbers, before any quantisation")
    for name, tensor in result.items():
        if tensor.is_floating_point() and not _finite(tensor):
            count = int((~torch.isfinite(tensor)).sum())
            problems.add(f"{name} has {count} of {tensor.numel()} numbers that are NaN or infinite")
    problems.raise_if_any(hint="training has diverged; take an earlier checkpoint")
    return result, notes


def _counter(tensor: Tensor) -> Tensor:
    """A count of batches, as averaging over all tensors, `.half()` and tools without scalars leave it."""
    if tensor.numel() != 1 or tensor.is_complex():
        return tensor
    # In half precision more than 65,504 batches are infinite; evaluation does not need the count.
    return torch.nan_to_num(tensor.detach().double(), 0.0, 0.0, 0.0).round().long().reshape(())


def _finite(tensor: Tensor) -> bool:
    """Least and greatest show NaN and infinity too, and need no memory, unlike `isfinite` of each number."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _narrow(name: str, tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.dtype == torch.float32:
        return False
    return tensor.itemsize == 1 or not name.endswith(COUNTER)  # for eight bits torch has no arithmetic


def _fold_masks(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """torch.nn.utils.prune keeps `weight_orig` and `weight_mask`; their product is the weight."""
    masked = [name[:-5] for name in state if name.endswith("_orig") and f"{name[:-5]}_mask" in state]
    folded = dict(state)
    for name in masked:
        weight, mask = folded.pop(f"{name}_orig"), folded.pop(f"{name}_mask")
        if weight.shape != mask.shape:
            raise FairpruneError(f"{name}_mask has shape {tuple(mask.shape)}, not {tuple(weight.shape)}")
        folded[name] = weight * mask
    if masked:
        return folded, [f"the masks of torch.nn.utils.prune on {len(masked)} tensors were multiplied in"]
    return folded, []
