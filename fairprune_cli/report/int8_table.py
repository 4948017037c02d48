"""What an export in 8-bit integers says on the terminal: the file, and what each group pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.console import percents


def print_int8(document: Mapping[str, Any], terminal: Terminal) -> None:
    """The result of `fairprune export --int8`; `document` is what --json prints."""
    made = document["int8"]
    balanced = f", balanced over {' and '.join(made['attributes'])}" if made["attributes"] else ""
    terminal.result(
        f"{document['path']}: onnx in 8-bit integers, {document['bytes'] / 1e6:.2f} MB "
        f"({made['float_bytes'] / 1e6:.2f} in float), {made['layers']} layers, read again; "
        f"calibrated on {made['images']} images of {made['split']}{balanced}"
    )
    tasks = document.get("tasks") or {"": {"agreement": made["agreement"], "audit": document["audit"]}}
    for task, found in tasks.items():
        title, same = f"{task}: " if task else "", found["agreement"]
        kappa = "" if same["kappa"] is None else f", Cohen's kappa {same['kappa']:.3f}"
        terminal.result(
            f"{title}same prediction as the float graph's on {100 * same['same']:.1f} % of {same['images']} images of "
            f"{made['split']}{kappa}"
        )
        _print_groups(title, found["audit"], terminal)


def _print_groups(title: str, audit: Mapping[str, Any], terminal: Terminal) -> None:
    before, after = audit["results"]["float"], audit["results"]["int8"]
    rows = [["all", *map(_accuracy, (before, after)), _change(after["against_dense"], "change"), f"{before['n']:,}"]]
    for attribute, entry in before["attributes"].items():
        now, changes = after["attributes"][attribute], audit["degradation"][attribute]
        rows += [
            [f"{attribute} = {name}", _accuracy(group), _accuracy(now["groups"][name]),
             _change(changes["groups"][name], "change"), f"{group['n']:,}"]
            for name, group in entry["groups"].items()
        ]  # fmt: skip
        gaps = (percents(of["gap"], of["gap_low"], of["gap_high"]) for of in (entry, now))
        rows.append([f"{attribute}: gap", *gaps, _change(changes, "gap_change"), ""])
    terminal.table(
        f"{title}accuracy per group of {audit['split']}, with {100 * audit['confidence']:g} % intervals",
        ["%", "float", "int8", "change", "images"], rows,
    )  # fmt: skip


def _accuracy(entry: Mapping[str, Any]) -> str:
    return percents(entry["accuracy"], entry["low"], entry["high"])


def _change(entry: Mapping[str, Any], key: str) -> str:
    """A signed change with its interval."""
    low, high = ("low", "high") if key == "change" else (f"{key}_low", f"{key}_high")
    return percents(entry.get(key), entry.get(low), entry.get(high), signed=True)
