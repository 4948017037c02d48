"""What was removed where: sparsity of every layer."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Bar, Bars, Block, Column, Note, Plot, Rule, Section, Table
from fairprune_cli.report.values import number
from fairprune_cli.report.view import View

ORDER = 70
_BY_GRANULARITY = {
    "channel": (
        "Whole channels were removed, so the layers themselves became smaller: file and arithmetic both shrink."
    ),
    "weight": ("Single weights were set to zero. The file shrinks; the arithmetic does not, on ordinary hardware."),
    "2:4": ("Two of every four neighbouring weights were set to zero, the pattern that some accelerators can use."),
}


def build(view: View) -> Section | None:
    if not view.mapping("sparsity") and not view.items("layers"):
        return None
    blocks: list[Block] = []
    if text := _achieved(view):
        blocks.append(Note(text))
    layers = [layer for layer in view.items("layers") if isinstance(layer, dict)]
    bars = [
        Bar(str(layer.get("name", "")), share, f"{words.fixed(100 * share)}{words.SPACE}%")
        for layer in layers
        if (share := _share(layer)) is not None
    ]
    if bars:
        target = view.number("sparsity", "target")
        rules = [Rule(target, f"target {words.percent(target)}")] if target is not None else []
        most, least = max(bars, key=lambda bar: bar.share), min(bars, key=lambda bar: bar.share)
        sentence = f"Longest bar: {most.label}, {most.text} gone. Shortest: {least.label}, {least.text}."
        blocks.append(Plot("Share removed from each layer", sentence, Bars(bars, rules, "removed, in percent")))
    if layers:
        blocks.append(_table(layers))
    lead = ["The share of each layer's parameters that is gone, in the order of the network."]
    if text := _BY_GRANULARITY.get(view.text("sparsity", "granularity"), ""):
        lead.append(text)
    return Section("sparsity", "Sparsity by layer", lead, blocks) if blocks else None


def _achieved(view: View) -> str:
    achieved, target = view.number("sparsity", "achieved"), view.number("sparsity", "target")
    kept, total = view.number("sparsity", "kept"), view.number("sparsity", "total")
    if achieved is None:
        return ""
    text = f"Sparsity {words.percent(achieved, 2)}"
    text += f", asked for {words.percent(target, 2)}" if target is not None else ""
    if kept is not None and total is not None:
        text += f": {words.count(kept)} of {words.count(total)} prunable parameters were kept"
    return f"{text}."


def _share(layer: dict[str, Any]) -> float | None:
    share, kept, total = (number(layer.get(key)) for key in ("sparsity", "kept", "total"))
    if share is not None:
        return share
    return None if kept is None or not total else 1 - kept / total


def _table(layers: list[dict[str, Any]]) -> Table:
    columns = [
        Column("Layer", "code"),
        Column("Shape before", "number"),
        Column("Shape now", "number"),
        Column("Kept", "number"),
        Column("Of", "number"),
        Column("Sparsity (%)", "number"),
    ]
    rows = []
    for layer in layers:
        share = _share(layer)
        rows.append(
            [
                str(layer.get("name", "")),
                _shape(layer.get("dense_shape")),
                _shape(layer.get("shape")),
                words.count(number(layer.get("kept"))),
                words.count(number(layer.get("total"))),
                words.NOTHING if share is None else words.fixed(100 * share, 2),
            ]
        )
    return Table("Layers", columns, rows)


def _shape(value: Any) -> str:
    return " × ".join(words.shown(item) for item in value) if isinstance(value, list) and value else words.NOTHING
