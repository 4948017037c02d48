"""Names and shapes of an architecture's tensors, whatever its number of classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.fingerprints import COUNTER
from fairprune_cli.models.architectures.registry import build, outlined

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

    def absent_biases(self, state: Mapping[str, Tensor]) -> frozenset[str]:
        """Biases of the head that `state` lacks although it has their weights: a head without bias."""
        biases = [head for head in self.heads if head not in state and head.endswith("bias")]
        weights = self.heads.keys() & state.keys()
        return frozenset(bias for bias in biases if f"{bias.removesuffix('bias')}weight" in weights)

    def classes_of(self, state: Mapping[str, Tensor]) -> int | None:
        """Number of classes in the head of `state`; None where it has no such head or heads that differ."""
        heads = self.heads.keys() - self.absent_biases(state)
        found = {self.heads[head].classes(state[head].shape) if head in state else None for head in heads}
        return found.pop() if len(found) == 1 else None

    def differences(self, state: Mapping[str, Tensor]) -> list[str]:
        """Every tensor in which `state` differs, in words; none where it fits. A head may be without bias."""
        found, absent, classes = [], self.absent_biases(state), self.classes_of(state)
        for key, shape in self.shapes.items():
            if key in absent:
                continue
            if key not in state:
                found.append(f"{key} is missing")
                continue
            here, wanted = tuple(state[key].shape), shape
            if key in self.heads:
                own = classes or self.heads[key].classes(here)
                if own is None:
                    found.append(f"{key} is {_by(here)} here, which fits no number of classes")
                    continue
                wanted = self.heads[key].shape(shape, own)
            if here != wanted:
                found.append(f"{key} is {_by(wanted)} there and {_by(here)} here")
        if self.heads and not found and classes is None:
            found.append("the tensors of its head give different numbers of outputs")
        extra = [key for key in state if key not in self.shapes and not key.endswith(COUNTER)]
        return found + [f"{key} does not belong to it" for key in extra]

    def narrower(self, state: Mapping[str, Tensor]) -> list[str]:
        """Tensors that are smaller than the architecture's, where all names and kinds of shapes fit; else none."""
        if self.shapes.keys() - self.absent_biases(state) != {key for key in state if not key.endswith(COUNTER)}:
            return []
        smaller = []
        for key, shape in self.shapes.items():
            if key not in state:
                continue
            here = tuple(state[key].shape)
            if key in self.heads and (classes := self.heads[key].classes(here)):
                shape = self.heads[key].shape(shape, classes)
            wrong = len(here) != len(shape) or here[2:] != shape[2:] or 0 in here
            if wrong or any(n > most for n, most in zip(here, shape, strict=True)):
                return []
            if here != shape:
                smaller.append(key)
        return smaller

    def likeness(self, state: Mapping[str, Tensor]) -> tuple[float, int]:
        """How close it is: share of names in common, then number of equal shapes."""
        keys = {key for key in state if not key.endswith(COUNTER)}
        common = keys & self.shapes.keys()
        equal = sum(tuple(state[key].shape) == self.shapes[key] for key in common)
        return len(common) / max(1, len(keys | self.shapes.keys())), equal


def shortened(differences: list[str], shown: int = 3) -> str:
    """The first few, and how many more there are."""
    more = len(differences) - shown
    return ", ".join(differences[:shown]) + (f", and {more} more" if more > 0 else "")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    # A layer that takes its width from its first images has no shapes yet.
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if not is_lazy(tensor)}


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
        shapes = _shapes(outlined(name, _PROBE))
        heads = {key: Growth() for key, shape in shapes.items() if shape[:1] == (_PROBE,)}
    kept = {key: shape for key, shape in shapes.items() if not key.endswith(COUNTER)}
    return Signature(name, kept, heads)
