"""What an operator of a program would make, by its shapes alone, before it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fairprune_cli.core import limits


def refuse_large_results(run: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], images: int) -> None:
    """Refuse an operator whose results take more than the limit `graph_bytes` for each of the images at hand.

    An operator makes no more than some times what it is given, save by numbers among its arguments, which a file may
    choose: where their product stays within the limit, nothing is tried.

    Raises:
        FairpruneError: they do.
    """
    given = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
    most, product = limits.limit("graph_bytes"), max((tensor.nbytes for tensor in tensors), default=8)
    for number in given:
        if type(number) is int and number > 1 and product <= most * images:
            product *= number
    if product <= most * images:
        return
    named = dict(kwargs)
    schema: Any = getattr(run, "_schema", None)
    if not tensors and schema is not None and any(argument.name == "device" for argument in schema.arguments):
        named["device"] = torch.device("meta")  # nothing else would keep it from being made
    try:
        with torch.no_grad():
            planned = run(*tree_map(_without_numbers, list(args)), **tree_map(_without_numbers, named))
    except Exception:  # an operator that needs the numbers, and says itself what is wrong with its arguments
        return
    made = sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(planned) if isinstance(leaf, Tensor))
    limits.refuse_above(
        made // images, "graph_bytes", what=f"what the operator {getattr(run, '__name__', run)} makes of an image"
    )


def _without_numbers(value: Any) -> Any:
    """On the meta device, tensors and devices alike."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value
