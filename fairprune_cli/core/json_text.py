"""JSON out of files, bounded in depth and in values, whatever the stack of the one who reads on can bear."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fairprune_cli.core.limits import how_to_raise, limit


def json_values(text: str, of_pairs: Callable[[Sequence[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a document.

    Args:
        of_pairs: what becomes of the pairs of an object, in place of a dictionary.

    Raises:
        ValueError: it is no JSON, or beyond the limits `report_depth` and `report_values`.
    """
    most, deepest = limit("report_values"), limit("report_depth")
    too_deep = f"nested more than {deepest} deep; {how_to_raise(deepest + 1, 'report_depth')}"
    try:
        document = json.loads(text, object_pairs_hook=of_pairs)
    except RecursionError:
        raise ValueError(too_deep) from None
    level, depth, count = [document], 0, 0
    while level:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level, depth, count = inner, depth + 1, count + len(inner)
        if depth > deepest + 1:
            raise ValueError(too_deep)
        if count > most:
            raise ValueError(f"holds more than {most:,} values; {how_to_raise(count, 'report_values')}")
    return document
