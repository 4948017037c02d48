"""What the commands print: tables of figures on the terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairprune_cli.audit.options import FigureOptions
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.report import words
from fairprune_cli.report.sections.gates import bound
from fairprune_cli.report.view import Gate, View

VERDICTS = {
    "pass": "every gate passed",
    "fail": "a gate failed",
    "inconclusive": "the test images do not decide every gate",
    "none": "no gate was asked for",
}


BETWEEN_CHANGES = "degradation gap"


def percents(value: float | None, low: float | None = None, high: float | None = None, signed: bool = False) -> str:
    """A share in percent, with its interval: 91.2 [89.9, 92.4]; an en dash where undefined."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{100 * value:{sign}.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


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
    """What a gate held against its bound, such as `8.4 [6.1, 10.6], at most 5.0 %: `; empty without a figure."""
    if gate.measure.value is None or gate.bound is None:
        return ""
    figure = percents(gate.measure.value, gate.measure.low, gate.measure.high)
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
    rows = [["all", *map(_accuracy, whole), *([_change(whole[1].get("against_dense"))] if paired else []),
             f"{whole[0]['n']:,}"]]  # fmt: skip
    for attribute, first in whole[0]["attributes"].items():
        changes = degradation.get(attribute, {})
        for group, entry in first["groups"].items():
            cells = [_accuracy(w["attributes"][attribute]["groups"][group]) for w in whole]
            if paired:
                cells.append(_change(changes.get("groups", {}).get(group)))
            rows.append([f"{attribute} = {group}", *cells, f"{entry['n']:,}"])
        cells = [_gap(w["attributes"][attribute], "gap") for w in whole]
        if paired:
            cells.append(_gap(changes, "gap_change", signed=True))
        rows.append([f"{attribute}: gap", *cells, ""])
        if paired:
            rows.append([f"{attribute}: {BETWEEN_CHANGES}", "", "", _gap(changes, "gap"), ""])
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
    rows = [["all", *(_change(results[model].get("against_dense")) for model in losses)]]
    first: dict[str, Any] = next(iter(losses.values()))
    for attribute, record in first.items():
        for group in record["groups"]:
            rows.append(
                [f"{attribute} = {group}", *(_change(of[attribute]["groups"][group]) for of in losses.values())]
            )
        rows.append([f"{attribute}: gap", *(_gap(of[attribute], "gap_change", signed=True) for of in losses.values())])
        rows.append([f"{attribute}: {BETWEEN_CHANGES}", *(_gap(of[attribute], "gap") for of in losses.values())])
    terminal.table("change against dense, in points", ["", *losses], rows)


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.2f}"


def _setting(report: dict[str, Any], key: str, otherwise: float) -> float:
    entry = report.get("config", {}).get(key)
    return float(entry["value"]) if entry else otherwise


def _accuracy(entry: dict[str, Any]) -> str:
    return percents(entry["accuracy"], entry["low"], entry["high"])


def _gap(entry: dict[str, Any], key: str, signed: bool = False) -> str:
    return percents(entry.get(key), entry.get(f"{key}_low"), entry.get(f"{key}_high"), signed)


def _change(entry: dict[str, Any] | None) -> str:
    entry = entry or {}
    return percents(entry.get("change"), entry.get("low"), entry.get("high"), signed=True)


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
