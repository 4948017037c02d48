"""Whether a saved state has the form that a trainer's own has, seen before anything of it is taken up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_RECORD = {"epoch": int, "step": int, "loss": float, "sparsity": float, "exact_gap": dict, "surrogate_gap": dict,
           "multipliers": dict, "lower_accuracy": float, "group_accuracy": dict, "images_per_second": float,
           "gradient_norm": float, "clipped": float, "mask_moves": int}  # fmt: skip


def refuse_other_form(state: Mapping[str, Any], own: Mapping[str, Any], steps: int) -> None:
    """Refuse a state whose values are of other kinds than those of a trainer that has just begun.

    Args:
        state: what was saved; own: the trainer's; steps: that it takes in all.

    Raises:
        TypeError, ValueError: a value is of another kind, or the step is none of the run's.
    """
    _refuse(state, own, "state")
    if not 0 <= state["done"] <= steps:
        raise ValueError(f"it stands at step {state['done']} of {steps}")
    for group, usual in zip(state["optimizer"]["param_groups"], own["optimizer"]["param_groups"], strict=True):
        changed = [key for key in usual if key not in ("lr", "params") and group[key] != usual[key]]
        if changed:
            raise ValueError(f"the optimizer has another {changed[0]}")
    for record in state["records"]:
        for key, kind in _RECORD.items():
            if not _is(record[key], kind):
                raise TypeError(f"records: {key} is {type(record[key]).__name__}")


def _refuse(saved: Any, own: Any, where: str) -> None:
    if own is None:
        return
    kind = next((kind for kind in (bool, int, float, str, Tensor, Mapping, list, tuple) if isinstance(own, kind)), None)
    if kind is not None and not _is(saved, kind):
        raise TypeError(f"{where} is {type(saved).__name__}")
    if isinstance(own, Tensor) and saved.dtype != own.dtype:
        raise TypeError(f"{where} is {saved.dtype}")
    if isinstance(own, Mapping):
        for key in own.keys() & saved.keys():
            _refuse(saved[key], own[key], f"{where}.{key}")
    elif isinstance(own, list | tuple) and len(own) == len(saved):
        for number, (one, other) in enumerate(zip(saved, own, strict=True)):
            _refuse(one, other, f"{where}.{number}")


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a kind; a whole number will do for a number, and true is none."""
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)
