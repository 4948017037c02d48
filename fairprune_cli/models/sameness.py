"""Whether two networks compute the same, and where they begin not to."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.models.inference import evaluating, hooked
from fairprune_cli.models.strides import like


def same_network(one: nn.Module, other: nn.Module, images: Tensor) -> str:
    """Where two networks differ on images, in eval mode; "" where all they give is equal to the bit.

    Their layers are held against each other by name, in the order in which those of `one` finish. The tensors of
    `other` lie in memory as those of `one` meanwhile: another order would be another order of summing, too.

    Args:
        images: [B, C, H, W], of the dtype and on the device of both.

    Returns:
        A clause that names the first layer whose output differs or that raises, such as "layer1.0.conv1 gives other
        numbers, by up to 0.3".
    """
    with _laid_out_alike(one, other):
        # Layers are only looked at where something differs: all their outputs take much memory.
        with evaluating(one, other), torch.no_grad(), contextlib.suppress(Exception):
            if not _difference(_copy(one(images)), _copy(other(images))):
                return ""
        given, failure = _outputs(one, images)
        if failure:
            return failure
        found, failure = _outputs(other, images)
    for (name, turn), value in given.items():
        if (name, turn) not in found and failure:
            return failure
        if (name, turn) in found and (difference := _difference(value, found[name, turn])):
            return f"{name or 'the network'} gives {difference}"
    return failure or "the networks do not give the same twice"


@contextlib.contextmanager
def _laid_out_alike(one: nn.Module, other: nn.Module) -> Iterator[None]:
    """A block in which the second's tensors have the strides of the first's."""
    wanted = {**dict(one.named_buffers()), **dict(one.named_parameters())}
    before: list[tuple[Tensor, Tensor]] = []
    for name, tensor in (*other.named_buffers(), *other.named_parameters()):
        if name in wanted and wanted[name].shape == tensor.shape and wanted[name].stride() != tensor.stride():
            before.append((tensor, tensor.data))
            tensor.data = like(tensor.data, wanted[name])
    try:
        yield
    finally:
        for tensor, data in before:
            tensor.data = data


def _outputs(model: nn.Module, images: Tensor) -> tuple[dict[tuple[str, int], Any], str]:
    """What each layer gave, by its name and the count of its calls, in the order in which they finished.

    With it what was raised and in which layer, "" where nothing was.
    """
    outputs: dict[tuple[str, int], Any] = {}
    inside: list[str] = []
    with _recording(model, outputs, inside), evaluating(model), torch.no_grad():
        try:
            model(images)
        except Exception as error:  # whatever the network's own code raises
            line = (str(error).splitlines() or [""])[0]
            where = inside[-1] if inside else ""
            return outputs, f"{where or 'the network'} fails with {type(error).__name__}: {line}"
    return outputs, ""


@contextlib.contextmanager
def _recording(model: nn.Module, outputs: dict[tuple[str, int], Any], inside: list[str]) -> Iterator[None]:
    calls: dict[str, int] = {}

    def enter(name: str, _inputs: Any) -> None:
        inside.append(name)

    def leave(name: str, output: Any) -> None:
        inside.pop()
        calls[name] = calls.get(name, 0) + 1
        outputs[name, calls[name]] = _copy(output)

    with hooked(model, enter, leave):
        yield


def _copy(value: Any) -> Any:
    """Of all tensors in it: the layer after it may work in place."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(part) for part in value]
    return {name: _copy(part) for name, part in _held(value).items()} or value


def _held(value: Any) -> dict[str, Any]:
    """The tensors, and containers of such, that an object of the network's own class has; {} where it has none."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, type | nn.Module) or callable(value):
        return {}
    parts = getattr(value, "__dict__", {}).items()
    return {name: part for name, part in parts if isinstance(part, Tensor | Mapping | list | tuple)}


def _difference(one: Any, other: Any) -> str:
    """How the second differs, as an object of "gives"; "" where it does not."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape:
            return f"a tensor of shape {list(other.shape)}, not {list(one.shape)}"
        if one.dtype != other.dtype:
            return f"{other.dtype} numbers, not {one.dtype}"
        if torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all()):
            return ""
        return f"other numbers, by up to {float((one.double() - other.double()).abs().nan_to_num().max()):.3g}"
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return "other keys"
        return next((found for key in one if (found := _difference(one[key], other[key]))), "")
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{len(other)} values, not {len(one)}"
        return next((found for a, b in zip(one, other, strict=True) if (found := _difference(a, b))), "")
    if isinstance(one, int | float) and isinstance(other, int | float):
        return "" if one == other or (one != one and other != other) else f"other numbers, by {abs(one - other):.3g}"
    return "" if type(one) is type(other) else f"{type(other).__name__}, not {type(one).__name__}"
