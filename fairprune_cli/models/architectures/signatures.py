"""Recognise an architecture by the names and shapes of its tensors, whatever its number of classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.fingerprints import COUNTER, TABLE, candidates
from fairprune_cli.models.architectures.registry import build, names, other_names, skeleton

_PROBE = 1009
"""A number of classes that no layer has as its width, so that the tensors of the head can be told."""


@dataclass(frozen=True)
class Signature:
    """Shapes of all tensors of an architecture, counters left out; `heads` have the classes as first size."""

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    heads: frozenset[str]

    def classes_of(self, state: Mapping[str, Tensor]) -> int | None:
        """Number of classes in the head of `state`; None where it has no such head or heads that differ."""
        found = {state[head].shape[0] if head in state and state[head].ndim else None for head in self.heads}
        return found.pop() if len(found) == 1 else None

    def difference(self, state: Mapping[str, Tensor]) -> str:
        """The first tensor in which `state` differs, in words; empty where it fits."""
        classes = self.classes_of(state)
        for key, shape in self.shapes.items():
            if key not in state:
                return f"{key} is missing"
            wanted = (classes or shape[0], *shape[1:]) if key in self.heads else shape
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
    # A layer that takes its width from its first images has no shapes yet.
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if not is_lazy(tensor)}


@functools.cache
def signature(name: str) -> Signature:
    """The signature of an architecture; of `package.module:factory` too, which is imported and called."""
    if is_import_path(name):
        shapes, others = _shapes(build(name, _PROBE)), _shapes(build(name, _PROBE + 1))
        heads = {key for key, shape in shapes.items() if shape != others.get(key)}
    else:
        shapes = _shapes(skeleton(name, _PROBE))
        heads = {key for key, shape in shapes.items() if shape[:1] == (_PROBE,)}
    kept = {key: shape for key, shape in shapes.items() if not key.endswith(COUNTER)}
    return Signature(name, kept, frozenset(heads))


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
