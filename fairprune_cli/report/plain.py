"""Make a report document plain JSON: no NaN, no array types, no text that cannot be written as UTF-8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

NOT_FINITE = "not a finite number"


def plain(value: Any) -> Any:
    """A copy of `value` made of dict, list, str, int, float, bool and None alone.

    A number that is not finite becomes None, and inside a mapping its reason is added as `<name>_undefined`
    unless one is given: undefined is never zero, and a report is worth more than one bad number in it.
    Arrays and their scalars are taken by their `tolist()`, so numpy need not be imported here.

    Raises:
        TypeError: an object that JSON cannot hold, which is a mistake of the caller.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, PurePath):
        return writable(str(value))
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"a report cannot hold {type(value).__name__}")


def _plain_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = writable(str(key.value if isinstance(key, Enum) else key))
        result[name] = plain(item)
        if result[name] is None and item is not None and not isinstance(item, str):
            reason = value.get(f"{key}_undefined")
            result[f"{name}_undefined"] = plain(reason) if reason else NOT_FINITE
    return result


def writable(text: str) -> str:
    """`text` with lone surrogates (file names that are no UTF-8) written as visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
