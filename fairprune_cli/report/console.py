"""What the commands print: tables of figures on the terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairprune_cli.audit.options import FigureOptions
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.report import words
from fairprune_cli.report.figure_cells import (
    BETWEEN_CHANGES_ROW,
    GAP_ROW,
    accuracy_cell,
    change_cell,
    gap_cell,
    group_row,
    percents,
)
from fairprune_cli.report.sections.gates import bound
from fairprune_cli.report.view import Gate, View

VERDICTS = {
    "pass": "every gate passed",
    "fail": "a gate failed",
    "inconclusive": "the test images do not decide every gate",
    "none": "no gate was asked for",
}


def print_report(report: dict[str, Any], terminal: Terminal, folder: Path | None) -> None:
    """The table of a prune or audit run: groups and gaps, size and speed, gates, where to look."""
    tasks = report.get("tasks") or {report.get("task", ""): report}
    first = report.get("task", "")
    for task in sorted(tasks, key=lambda name: name != first):
        _print_groups(report, tasks[task], task, terminal)
    if several := report.get("models"):
        terminal.table("size", ["", *several], [
            [label, *(_shown(entry[key], show) for entry in several.values())] for label, key, show in (
                ("parameters", "parameters", "{:,}".format), ("MACs (millions)", "macs", _millions),
                ("bytes (MB)", "file_bytes", _megabytes),
            )
        ])  # fmt: skip
    elif size := _size_rows(report):
        terminal.table("size and speed", ["", "dense", "pruned", "ratio"], size)
    elif own := report.get("size"):
        known = [
            show(own[key]) for key, show in (
                ("parameters", "{:,} parameters".format), ("macs", lambda macs: f"{macs / 1e6:.1f} M MACs"),
                ("file_bytes", lambda size: f"{size / 1e6:.2f} MB"),
            ) if own.get(key) is not None
        ]  # fmt: skip
        if known:
            terminal.result(", ".join(known))
    _print_other_outputs(report, terminal)
    for text in report.get("notices", []):
        terminal.result(f"note: {text}")
    for task, record in tasks.items():
        if task != first:
            for text in record.get("notices", []):
                terminal.result(f"note: {task}: {text}")
    for gate, seen in zip(report["gates"], View(report).gates, strict=True):
        terminal.result(f"gate {gate['name']}: {gate['verdict']}: {_judged(seen)}{gate['reason']}")
    lenient = "; ".join(report.get("leniency", ()))
    lenient = f"; judged more leniently than by default: {lenient}" if lenient else ""
    terminal.result(f"verdict: {report['verdict']} ({VERDICTS[report['verdict']]}{lenient})")
    if folder is not None:
        terminal.result(f"written: {folder} (open {folder / 'report.html'} in a browser)")


def _judged(gate: Gate) -> str:
    """What a gate held against its bound, such as `8.4 [6.1, 10.6], at most 5.0 %: `; empty without a bound."""
    if gate.bound is None:
        return ""
    figure = percents(gate.measure.value, gate.measure.low, gate.measure.high)
    figure = "no figure" if gate.measure.value is None else figure
    return f"{figure}, {bound(gate).replace(words.SPACE, ' ')}: "


def _print_other_outputs(report: dict[str, Any], terminal: Terminal) -> None:
    """A line per model on the outputs that no task uses: the worst of them."""
    for model, moves in (report.get("other_outputs") or {}).items():
        known = [move for move in moves if move["correlation"] is not None]
        if known:
            worst = min(known, key=lambda move: move["correlation"])
            mean = sum(move["correlation"] for move in known) / len(known)
            terminal.result(
                f"other outputs of {model}: {len(moves)}, correlation with the dense model's {mean:.3f} on average, "
                f"least {worst['correlation']:.3f} (output {worst['name']})"
            )


def _print_groups(report: dict[str, Any], record: dict[str, Any], task: str, terminal: Terminal) -> None:
    """Groups and gaps of a task; `record` has its figures."""
    results, degradation = record["results"], record.get("degradation") or {}
    models = list(results)
    paired = models == ["dense", "pruned"]
    confidence = 100 * _setting(report, "confidence", FigureOptions.confidence)
    columns = ["%", *(models if len(models) > 1 else ["accuracy"]), *(["change"] if paired else []), "images"]
    whole = [results[m] for m in models]
    rows = [["all", *map(accuracy_cell, whole), *([change_cell(whole[1].get("against_dense"))] if paired else []),
             f"{whole[0]['n']:,}"]]  # fmt: skip
    for attribute, first in whole[0]["attributes"].items():
        changes = degradation.get(attribute, {})
        rows.append([attribute, *[""] * (len(columns) - 1)])
        for group, entry in first["groups"].items():
            cells = [accuracy_cell(w["attributes"][attribute]["groups"][group]) for w in whole]
            if paired:
                cells.append(change_cell(changes.get("groups", {}).get(group)))
            rows.append([group_row(attribute, group), *cells, f"{entry['n']:,}"])
        cells = [gap_cell(w["attributes"][attribute]) for w in whole]
        if paired:
            cells.append(gap_cell(changes, "gap_change", signed=True))
        rows.append([GAP_ROW, *cells, ""])
        if paired:
            rows.append([BETWEEN_CHANGES_ROW, "", "", gap_cell(changes), ""])
    title = f"{task}: accuracy per group" if task else "accuracy per group"
    terminal.table(f"{title}, with {confidence:g} % intervals", columns, rows)
    for model in models:
        _print_churn(results[model].get("faithfulness") or {}, model if len(models) > 2 else "", task, terminal)
    if len(models) > 2 and (losses := record.get("degradations") or {}):
        _print_losses(losses, results, terminal)


def _print_churn(record: dict[str, Any], model: str, task: str, terminal: Terminal) -> None:
    """A line for each attribute on the predictions that are not the dense model's any more."""
    whole = (record.get("all") or {}).get("churn") or {}
    for attribute, found in (record.get("attributes") or {}).items():
        name = ": ".join(filter(None, [task, model, attribute]))
        text = f"{name}: {percents(whole.get('value'))} % of the predictions are not the dense model's"
        if largest := found["largest"]:
            share = percents(largest["value"], largest["low"], largest["high"])
            text += f", most for {largest['group']}: {share} %"
            times = found["groups"][largest["group"]]["representation"]
            text += f", {times['value']:.1f} times its share of the images" if times else ""
        terminal.result(text)


def _print_losses(losses: dict[str, Any], results: dict[str, Any], terminal: Terminal) -> None:
    """What each of several models changes against the dense one, on the same images."""
    rows = [["all", *(change_cell(results[model].get("against_dense")) for model in losses)]]
    first: dict[str, Any] = next(iter(losses.values()))
    for attribute, record in first.items():
        entries = [of[attribute] for of in losses.values()]
        rows.append([attribute, *[""] * len(entries)])
        for group in record["groups"]:
            rows.append([group_row(attribute, group), *(change_cell(entry["groups"][group]) for entry in entries)])
        rows.append([GAP_ROW, *(gap_cell(entry, "gap_change", signed=True) for entry in entries)])
        rows.append([BETWEEN_CHANGES_ROW, *map(gap_cell, entries)])
    terminal.table("change against dense, in points", ["", *losses], rows)


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.2f}"


def _setting(report: dict[str, Any], key: str, otherwise: float) -> float:
    entry = report.get("config", {}).get(key)
    return float(entry["value"]) if entry else otherwise


def _size_rows(report: dict[str, Any]) -> list[list[str]]:
    size = report.get("size") or {}
    if not size.get("dense_parameters"):
        return []
    rows = [
        [label, _shown(size[before], show), _shown(size[after], show), _times(size[before], size[after])]
        for label, before, after, show in (
            ("parameters", "dense_parameters", "parameters", "{:,}".format),
            ("MACs (millions)", "dense_macs", "macs", _millions),
            ("bytes (MB)", "dense_bytes", "file_bytes", _megabytes),
        )
    ]
    speed = report.get("speed") or {}
    if "dense" in speed and "pruned" in speed:
        for batch, dense in speed["dense"]["batch"].items():
            pruned = speed["pruned"]["batch"][batch]
            rows.append([
                f"ms per batch of {batch}", f"{dense['median_ms']:.2f}", f"{pruned['median_ms']:.2f}",
                _times(dense["median_ms"], pruned["median_ms"]),
            ])  # fmt: skip
    return rows


def _times(dense: float | None, pruned: float | None) -> str:
    return f"{dense / pruned:.1f}x" if dense is not None and pruned else "–"


def _shown(value: float | None, show: Callable[[float], str]) -> str:
    return "–" if value is None else show(value)


def print_plan(plan: dict[str, Any], terminal: Terminal) -> None:
    """What a --dry-run found."""
    for key, value in plan.items():
        if key == "dry_run":
            continue
        if key == "splits":
            value = ", ".join(f"{split} {part['n']:,}" for split, part in value.items())
        elif isinstance(value, dict):
            value = "; ".join(f"{k}: {', '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in value.items())
        terminal.result(f"{key.replace('_', ' ')}: {value}")
    terminal.result("dry run: everything was checked, nothing was computed or written")


def print_training(document: dict[str, Any], terminal: Terminal) -> None:
    """The result of `fairprune train`."""
    terminal.result(
        f"{document['path']}: {document['architecture']}, validation accuracy {percents(document['val_accuracy'])} %, "
        f"{len(document['training'])} epochs in {document['seconds']:.0f} s"
    )


def _counted(count: int) -> str:
    return f"{count} output{'s' * (count != 1)}"


def _outputs(document: dict[str, Any]) -> str:
    """The outputs in words: 18 outputs, or those of each tensor that the network gives."""
    widths = document["outputs"]
    if list(widths) == ["output"]:
        return _counted(widths["output"])
    return ", ".join(f"{_counted(width)} in {name!r}" for name, width in widths.items()) or "no table of outputs"


def print_inspection(document: dict[str, Any], terminal: Terminal) -> None:
    """The result of `fairprune inspect`."""
    sparsity = document["sparsity"]
    terminal.table(
        f"{document['model']}: {document['architecture']}, {_outputs(document)}, {document['granularity']}",
        ["layer", "shape", "kept", "of", "sparsity"],
        [
            [layer["name"], "x".join(map(str, layer["shape"])), f"{layer['kept']:,}", f"{layer['total']:,}",
             f"{layer['sparsity']:.3f}"]
            for layer in document["layers"]
        ],
    )  # fmt: skip
    terminal.result(f"parameters {document['parameters']:,}, of which not zero {document['nonzero']:,}")
    shape = ImageShape.sized(document["input_channels"], document["input_size"])
    terminal.result(f"MACs {document['macs']:,} on {shape}")
    file = document["bytes"]["file"]
    terminal.result(f"bytes {document['bytes']['dense']:,} as dense tensors, {file:,} in the file")
    terminal.result(f"sparsity {sparsity['achieved']:.4f} of {sparsity['total']:,} prunable weights")
