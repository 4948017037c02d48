"""Counts per split, group and class as a table, in the form that fits the line."""

from __future__ import annotations

from typing import Any

from fairprune_cli.core.table_layout import fits
from fairprune_cli.core.terminal import Terminal


def print_counts(title: str, counts: dict[str, dict[str, Any]], classes: list[str], terminal: Terminal) -> None:
    """The classes side by side where they fit the line, else below each other, with the splits side by side."""
    rows: list[list[str]] = []
    for split, part in counts.items():
        rows.append(_row(f"{split}: all", part, classes))
        for attribute, groups in part["attributes"].items():
            rows += [_row(f"  {attribute} = {group}", entry, classes) for group, entry in groups.items()]
    table = [["", "images", *classes], *rows]
    if fits(table, terminal.width):
        terminal.table(title, table[0], table[1:])
        return
    parts = list(counts.values())
    table = [["", *counts], *_listed("all", parts, classes)]
    for attribute, groups in parts[0]["attributes"].items():
        for group in groups:
            entries = [part["attributes"][attribute][group] for part in parts]
            table += _listed(f"{attribute} = {group}", entries, classes)
    terminal.table(title, table[0], table[1:])


def _row(name: str, entry: dict[str, Any], classes: list[str]) -> list[str]:
    return [name, f"{entry['n']:,}", *(f"{entry['labels'].get(label, 0):,}" for label in classes)]


def _listed(name: str, entries: list[dict[str, Any]], classes: list[str]) -> list[list[str]]:
    """A row for what is counted, and below it one for each class; a column for each of the entries."""
    own = [_row(name, entry, classes)[1:] for entry in entries]
    names = [name, *(f"  {label}" for label in classes)]
    return [list(row) for row in zip(names, *own, strict=True)]
