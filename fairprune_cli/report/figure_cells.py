"""Cells and names of the tables that a terminal gets: a figure with its interval, groups under their attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNDEFINED = "–"
GAP_ROW = "  gap"
BETWEEN_CHANGES_ROW = "  degradation gap"


def percents(value: float | None, low: float | None = None, high: float | None = None, signed: bool = False) -> str:
    """A share in percent, with its interval: 91.2 [89.9, 92.4]; an en dash where undefined."""
    if value is None:
        return UNDEFINED
    sign = "+z" if signed else "z"  # a change that is rounded to nothing has the sign of none
    text = f"{100 * value:{sign}.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def accuracy_cell(entry: Mapping[str, Any]) -> str:
    """The accuracy of all images or of a group."""
    return percents(entry["accuracy"], entry["low"], entry["high"])


def gap_cell(entry: Mapping[str, Any], key: str = "gap", signed: bool = False) -> str:
    """The gap of an attribute, or what else of it `key` names."""
    return percents(entry.get(key), entry.get(f"{key}_low"), entry.get(f"{key}_high"), signed)


def change_cell(entry: Mapping[str, Any] | None) -> str:
    """How an accuracy changed against the dense model's, with its sign."""
    entry = entry or {}
    return percents(entry.get("change"), entry.get("low"), entry.get("high"), signed=True)


def group_row(attribute: str, group: str) -> str:
    """The name of a group's row under its attribute's; with the attribute where a row of gaps is called so."""
    name = f"  {group}"
    return f"  {attribute} = {group}" if name in (GAP_ROW, BETWEEN_CHANGES_ROW) else name
