"""What was removed where: sparsity of every layer."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Bar, Bars, Block, BoundLine, Column, Note, Plot, Section, Table
from fairprune_cli.report.values import number
from fairprune_cli.report.view import View

ORDER = 70
_BY_GRANULARITY = {
    "channel": (
        "Whole channels were removed, so the layers themselves became smaller: file and arithmetic both shrink."
    ),
    "weight": ("Single weights were set to zero. The file shrinks; the arithmetic does not, on ordinary hardware."),
    "2:4": (
        "Two of every four neighbouring weights were set to zero. The file shrinks; on a CPU nothing gets faster. A "
        "CUDA GPU of compute capability 8.0 or newer can gain where the weights of linear layers are converted with "
        "torch.sparse.to_sparse_semi_structured and computed in 16 or 8 bits."
    ),
}


def build(view: View) -> Section | None:
    if not view.mapping("sparsity") and not view.items("layers"):
        return None
    blocks: list[Block] = []
    blocks += [Note(text) for text in (_achieved(view), _before(view), _dense(view)) if text]
    layers = [layer for layer in view.items("layers") if isinstance(layer, dict)]
    bars = [
        Bar(str(layer.get("name", "")), share, f"{words.fixed(100 * share)}{words.SPACE}%")
        for layer in layers
        if (share := _share(layer)) is not None
    ]
    if bars:
        target = view.number("sparsity", "target")
        rules = [BoundLine(target, f"target {words.percent(target)}")] if target is not None else []
        most, least = max(bars, key=lambda bar: bar.share), min(bars, key=lambda bar: bar.share)
        sentence = f"Most is gone from {most.label}, {most.text}; least from {least.label}, {least.text}."
        blocks.append(Plot("Share removed from each layer", sentence, Bars(bars, rules, "removed, in percent")))
    if layers:
        blocks.append(_table(layers))
    lead = ["The share of each layer's parameters that is gone, in the order of the network."]
    if text := _BY_GRANULARITY.get(view.text("sparsity", "granularity"), ""):
        lead.append(text)
    return Section("sparsity", "Sparsity by layer", lead, blocks, folded=True) if blocks else None


_UNITS = {"parameters": "prunable parameters", "macs": "multiply-adds per image", "channels": "channels"}


def _before(view: View) -> str:
    start, whole = view.number("sparsity", "start"), view.number("sparsity", "of_original", "achieved")
    text = f"The model as given had {words.percent(start, 2)} removed already; that stayed removed. " if start else ""
    return f"{text}Against the model before any pruning it is {words.percent(whole, 2)}." if whole is not None else text


def _dense(view: View) -> str:
    names = [str(name) for name in view.items("sparsity", "dense_tensors")]
    if not names:
        return ""
    left = f"{words.plural(len(names), 'tensor')} stayed dense and {'is' if len(names) == 1 else 'are'} not counted"
    return f"{left}, because blocks of four do not fit: {words.join(names)}."


def _achieved(view: View) -> str:
    achieved, target = view.number("sparsity", "achieved"), view.number("sparsity", "target")
    kept, total = view.number("sparsity", "kept"), view.number("sparsity", "total")
    unit = _UNITS.get(view.text("sparsity", "of"), _UNITS["parameters"])
    if achieved is None:
        return ""
    text = f"Sparsity {words.percent(achieved, 2)}"
    text += f", asked for {words.percent(target, 2)}" if target is not None else ""
    if kept is not None and total is not None:
        text += f": {words.whole_number(kept)} of {words.whole_number(total)} {unit} were kept"
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
                words.whole_number(number(layer.get("kept"))),
                words.whole_number(number(layer.get("total"))),
                words.NOTHING if share is None else words.fixed(100 * share, 2),
            ]
        )
    return Table("Layers", columns, rows)


def _shape(value: Any) -> str:
    return " × ".join(words.shown(item) for item in value) if isinstance(value, list) and value else words.NOTHING
