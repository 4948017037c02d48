"""Arguments and results of a program's operators, out of the JSON that torch.export writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

# Numbers of torch._export.serde.schema.ScalarType, MemoryFormat and Layout.
SCALAR_TYPES: dict[int, torch.dtype] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format,
}  # fmt: skip
_STRIDED = 7
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_strings", "as_bool", "as_bools",
          "as_int_lists", "as_float_lists")  # fmt: skip
_SYMBOLIC = ("as_sym_int", "as_sym_bool", "as_sym_float")
_OPTIONAL = ("as_optional_tensor",)


class Refused(ValueError):
    """The program needs what is not run."""


@dataclass(frozen=True)
class Inside:
    """A graph that is an operator's argument."""

    graph: Mapping[str, Any]


@dataclass(frozen=True)
class Ref:
    """A value that is computed: its name."""

    name: str


class OnDevice:
    """Stands for the device that the program is on, wherever it was exported."""


def value_of(arg: Mapping[str, Any]) -> Any:
    """An argument, with references for what is computed."""
    ((kind, told),) = arg.items()
    if kind in _PLAIN:
        return told
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Ref(told["name"])
    if kind == "as_tensors":
        return [Ref(one["name"]) for one in told]
    if kind in _OPTIONAL:
        return value_of(told)
    if kind == "as_optional_tensors":
        return [value_of(one) for one in told]
    if kind in _SYMBOLIC:
        return _number(told)
    if kind.endswith("s") and kind[:-1] in _SYMBOLIC:
        return [_number(one) for one in told]
    if kind == "as_scalar_type" and told in SCALAR_TYPES:
        return SCALAR_TYPES[told]
    if kind == "as_memory_format" and told in _MEMORY_FORMATS:
        return _MEMORY_FORMATS[told]
    if kind == "as_layout" and told == _STRIDED:
        return torch.strided
    if kind == "as_device":
        return OnDevice()
    if kind == "as_complex":
        return complex(told["real"], told["imag"])
    if kind == "as_graph":
        return Inside(told["graph"])
    raise Refused(f"the program has an argument of the kind {kind[:40]}, which is not run")


def _number(told: Mapping[str, Any]) -> Any:
    ((kind, value),) = told.items()
    return Ref(value) if kind == "as_name" else value


def output_of(arg: Mapping[str, Any]) -> str | tuple[str, ...] | None:
    ((kind, told),) = arg.items()
    if kind == "as_tensor":
        return str(told["name"])
    if kind == "as_tensors":
        return tuple(one["name"] for one in told)
    if kind in _SYMBOLIC:
        return str(told["as_name"])
    if kind == "as_none":
        return None
    raise Refused(f"the program has a result of the kind {kind[:40]}, which is not run")


def values_named_in(described: Any) -> Iterator[str]:
    """The names of computed values in arguments; those of arguments themselves are among them, which does no harm."""
    if isinstance(described, Mapping):
        for key, value in described.items():
            if key in ("name", "as_name") and isinstance(value, str):
                yield value
            elif key != "graph":
                yield from values_named_in(value)
    elif isinstance(described, list):
        for one in described:
            yield from values_named_in(one)
