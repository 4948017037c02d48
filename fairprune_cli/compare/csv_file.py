"""compare.csv: one line per cell with every figure, in full precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.compare.grid import value_text
from fairprune_cli.core.csv_text import written_csv

CELL = ("name", "method", "granularity", "sparsity", "seed", "notion", "status", "reason")


def write_csv(document: Mapping[str, Any]) -> str:
    """The text of the file; an undefined value is an empty field, and floats read back as the same floats."""
    lines = [_line(cell) for cell in document["cells"]]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    return written_csv(columns, lines)


def _line(cell: Mapping[str, Any]) -> dict[str, str]:
    line = {key: _text(cell[key]) for key in CELL}
    line |= {f"grid {key}": value_text(tuple(v) if isinstance(v, list) else v) for key, v in cell["grid"].items()}
    for prefix in ("figures", "dense"):
        for key, value in _flat(cell[prefix] or {}):
            line[key if prefix == "figures" else f"dense {key}"] = _text(value)
    return line


def _flat(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(column, value): `accuracy`, `gender: gap`, `gender = male`."""
    found = [(key, value) for key, value in figures.items() if key != "attributes" and not key.endswith("_undefined")]
    for attribute, entry in figures.get("attributes", {}).items():
        found += [
            (f"{attribute}: {key}", value)
            for key, value in entry.items()
            if key != "groups" and not key.endswith("_undefined")
        ]
        found += [(f"{attribute} = {group}", value) for group, value in entry["groups"].items()]
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else " ".join(str(value).split())
