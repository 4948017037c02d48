"""What an export in 8-bit integers says on the terminal: the file, and what each group pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.figure_cells import GAP_ROW, accuracy_cell, change_cell, gap_cell, group_row


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
    rows = [["all", *map(accuracy_cell, (before, after)), change_cell(after["against_dense"]), f"{before['n']:,}"]]
    for attribute, entry in before["attributes"].items():
        now, changes = after["attributes"][attribute], audit["degradation"][attribute]
        rows.append([attribute, "", "", "", ""])
        rows += [
            [group_row(attribute, name), accuracy_cell(group), accuracy_cell(now["groups"][name]),
             change_cell(changes["groups"][name]), f"{group['n']:,}"]
            for name, group in entry["groups"].items()
        ]  # fmt: skip
        rows.append([GAP_ROW, gap_cell(entry), gap_cell(now), gap_cell(changes, "gap_change", signed=True), ""])
    terminal.table(
        f"{title}accuracy per group of {audit['split']}, with {100 * audit['confidence']:g} % intervals",
        ["%", "float", "int8", "change", "images"], rows,
    )  # fmt: skip
