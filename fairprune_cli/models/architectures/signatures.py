"""Recognise an architecture by the names and shapes of its tensors, whatever its number of classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.fingerprints import COUNTER, TABLE, candidates
from fairprune_cli.models.architectures.registry import build, names, other_names, skeleton

_PROBE = 1009
"""A number of classes that no layer has as its width, so that the tensors of the head can be told."""


class Growth(NamedTuple):
    """How a tensor's size depends on the number of classes: along `axis` it is `each` x classes + `more`."""

    axis: int = 0
    each: int = 1
    more: int = 0

    def classes(self, shape: Sequence[int]) -> int | None:
        """The number of classes at which the tensor has this shape; None where there is none."""
        if len(shape) <= self.axis:
            return None
        found, left = divmod(shape[self.axis] - self.more, self.each)
        return None if left or found < 1 else found

    def shape(self, of_one: Sequence[int], classes: int) -> tuple[int, ...]:
        """The tensor's shape for so many classes, from that for another number."""
        return (*of_one[: self.axis], self.each * classes + self.more, *of_one[self.axis + 1 :])


@dataclass(frozen=True)
class Signature:
    """Shapes of all tensors of an architecture, counters left out.

    Attributes:
        heads: the tensors whose shape depends on the number of classes, and how.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    heads: Mapping[str, Growth]

    def classes_of(self, state: Mapping[str, Tensor]) -> int | None:
        """Number of classes in the head of `state`; None where it has no such head or heads that differ."""
        found = {growth.classes(state[head].shape) if head in state else None for head, growth in self.heads.items()}
        return found.pop() if len(found) == 1 else None

    def difference(self, state: Mapping[str, Tensor]) -> str:
        """The first tensor in which `state` differs, in words; empty where it fits."""
        classes = self.classes_of(state)
        for key, shape in self.shapes.items():
            if key not in state:
                return f"{key} is missing"
            wanted = self.heads[key].shape(shape, classes) if classes and key in self.heads else shape
            if tuple(state[key].shape) != wanted:
                return f"{key} is {_by(wanted)} there and {_by(tuple(state[key].shape))} here"
        extra = [key for key in state if key not in self.shapes and not key.endswith(COUNTER)]
        return f"{extra[0]} does not belong to it" if extra else ""

    def likeness(self, state: Mapping[str, Tensor]) -> tuple[float, int]:
        """How close it is: share of names in common, then number of equal shapes."""
        keys = {key for key in state if not key.endswith(COUNTER)}
        common = keys & self.shapes.keys()
        equal = sum(tuple(state[key].shape) == self.shapes[key] for key in common)
        return len(common) / max(1, len(keys | self.shapes.keys())), equal


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def _growth(shape: Sequence[int], next_shape: Sequence[int]) -> Growth | None:
    """How a tensor grows that has these shapes for `_PROBE` classes and for one more; None where it does not."""
    if len(shape) != len(next_shape):
        return None
    differing = [axis for axis, (a, b) in enumerate(zip(shape, next_shape, strict=True)) if a != b]
    if len(differing) != 1:
        return None
    (axis,) = differing
    each = next_shape[axis] - shape[axis]
    return Growth(axis, each, shape[axis] - each * _PROBE)


@functools.cache
def signature(name: str) -> Signature:
    """The signature of an architecture; of `package.module:factory` too, which is imported and called."""
    if is_import_path(name):
        shapes, others = _shapes(build(name, _PROBE)), _shapes(build(name, _PROBE + 1))
        heads = {key: growth for key, shape in shapes.items() if (growth := _growth(shape, others.get(key, ())))}
    else:
        shapes = _shapes(skeleton(name, _PROBE))
        heads = {key: Growth() for key, shape in shapes.items() if shape[:1] == (_PROBE,)}
    kept = {key: shape for key, shape in shapes.items() if not key.endswith(COUNTER)}
    return Signature(name, kept, heads)


def identify(state: Mapping[str, Tensor]) -> tuple[str, int]:
    """Name and number of classes of the one architecture, ours or torchvision's, that `state` fits entirely.

    Args:
        state: tensors by name, without prefixes such as `module.`.

    Raises:
        FairpruneError: none fits (the message names the closest one and where it differs), or several do.
    """
    # torchvision's are found by their digest; only what that leaves open has to be built.
    own = [name for name in names() if name not in TABLE.values()]
    found = [name for name in candidates(state) if name in {*names(), *other_names()}]
    fitting = [one for one in map(signature, [*own, *found]) if not one.difference(state)]
    if len(fitting) == 1:
        classes = fitting[0].classes_of(state)
        if classes:
            return fitting[0].name, classes
    if len(fitting) > 1:
        choices = " and ".join(one.name for one in fitting)
        raise FairpruneError(f"the tensors fit several architectures: {choices}", hint="say which one with --arch NAME")
    closest = max(map(signature, names()), key=lambda one: one.likeness(state))
    difference = closest.difference(state) or "it has no outputs"
    alike = closest.likeness(state)[0] > 0.5
    text = f"closest is {closest.name}, but {difference}" if alike else f"none of {', '.join(names())} is near"
    hint = "name it with --arch timm/NAME or --arch package.module:factory"
    if alike and closest.likeness(state)[0] == 1.0:
        hint += "; a network with channels removed can be read from the model.safetensors of its run only"
    raise FairpruneError(f"the architecture cannot be told from the tensors: {text}", hint=hint)
