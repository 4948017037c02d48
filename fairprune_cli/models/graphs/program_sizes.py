"""What an operator of a program would make, by its shapes alone, before it is run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fairprune_cli.core import limits
from fairprune_cli.core.errors import FairpruneError

_MOST_PRODUCTS = 1 << 41  # of one operator for an image: a minute of a slow processor
_PRODUCTS = ("mm", "linear", "matmul", "conv", "einsum", "dot", "attention")  # parts of names


class ProgramBudget:
    """What one run of a program may take: the limits `graph_bytes` for what is held at once, and `graph_seconds`.

    Both are for the first run, of few images; of more images, so much more.
    """

    def __init__(self) -> None:
        self._each: float | None = None  # bytes an image that the first run held
        self._most = self._begun = 0.0
        self._images = 1

    def begin(self, images: int) -> None:
        """A run of so many images begins."""
        self._most, self._images, self._begun = 0.0, max(images, 1), time.monotonic()

    def hold(self, values: Iterable[Any], where: str) -> None:
        """Note what is held after a step.

        Raises:
            FairpruneError: it is too much, or came too late.
        """
        stores = [leaf.untyped_storage() for leaf in values if isinstance(leaf, Tensor)]
        held = sum({store.data_ptr(): store.nbytes() for store in stores}.values())  # views share what they show
        self._most = max(self._most, held)
        most = limits.limit("graph_bytes")
        if held > max(most, self._images * min(most, 4 * (self._each or most))):
            limits.refuse_above(held, "graph_bytes", where, "what the program holds at once")
        seconds = limits.limit("graph_seconds")
        if time.monotonic() - self._begun > seconds * max(1, self._images / _FEW):
            raise FairpruneError(
                f"the program takes more than {seconds:,} seconds for {min(self._images, _FEW)} images", where=where,
                hint=limits.how_to_raise(2 * seconds, "graph_seconds"),
            )  # fmt: skip

    def end(self) -> None:
        """It has ended."""
        self._each = self._each or self._most / self._images


_FEW = 16  # images that the seconds are for


def refuse_large_results(run: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], images: int) -> None:
    """Refuse an operator whose results take more than the limit `graph_bytes` for each of the images at hand.

    An operator makes no more than some times what it is given, save by numbers among its arguments, which a file may
    choose: where their product stays within the limit, nothing is tried.

    Raises:
        FairpruneError: they do.
    """
    given = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
    _refuse_many_products(run, tensors, images)
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


def _refuse_many_products(run: Callable[..., Any], tensors: Sequence[Tensor], images: int) -> None:
    """A product of two tensors takes up, for each number of the larger one, at most a row or kernel of the other."""
    name = str(getattr(run, "__name__", run))
    if len(tensors) < 2 or not any(sign in name for sign in _PRODUCTS):
        return
    large, small = sorted((tensor.numel() for tensor in tensors), reverse=True)[:2]
    if large * math.isqrt(small) > _MOST_PRODUCTS * images and large * small > _MOST_PRODUCTS * images:
        raise FairpruneError(
            f"the operator {name} multiplies tensors of {large:,} and {small:,} numbers, which takes minutes",
            hint="audit its predictions, made where it runs, with --predictions",
        )


def _without_numbers(value: Any) -> Any:
    """On the meta device, tensors and devices alike."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value
