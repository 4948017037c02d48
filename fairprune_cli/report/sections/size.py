"""Size and speed, dense against pruned, and what the run itself cost."""

from __future__ import annotations

from collections.abc import Callable

from fairprune_cli.report import words
from fairprune_cli.report.document import Bar, Bars, Block, BoundLine, Column, Note, Plot, Section, Table
from fairprune_cli.report.values import Measure, measure, ordered
from fairprune_cli.report.view import View

ORDER = 80


def build(view: View) -> Section | None:
    if several := _several(view):
        return several
    rows = _sizes(view) + _latencies(view) + _memory(view)
    blocks: list[Block] = []
    bars = [
        Bar(name, now / dense, f"{show(now)} of {show(dense)}")
        for name, dense, now, show, _, _, _ in rows
        if dense is not None and now is not None and dense > 0
    ]
    if bars:
        reading = "Each bar is what is left after pruning; the line at 100 is the dense model. Shorter is better."
        figure = Bars(bars, [BoundLine(1.0, "dense")], "percent of the dense model")
        blocks.append(Plot("What is left", "", figure, reading))
    if rows:
        blocks.append(_table(view, rows))
    if text := _cost(view):
        blocks.append(Note(text, "aside"))
    lead = ["What the pruned model needs, next to the dense model." if bars else "What the model needs."]
    if _latencies(view):
        lead.append("Times were measured on the machine of this run; another machine has others.")
    return Section("size", "Size and speed", lead, blocks, folded=True) if blocks else None


def _several(view: View) -> Section | None:
    """Several models side by side, where the report has a size for each."""
    models = [name for name in view.models if view.mapping("models", name)]
    if len(models) < 2:
        return None
    columns = [Column("Model"), Column("File", "number"), Column("Parameters", "number")]
    columns += [Column("Multiply-adds per image", "number"), Column("Architecture", "code")]
    rows = [
        [
            name, words.size(view.number("models", name, "file_bytes")),
            words.compact(view.number("models", name, "parameters")),
            words.compact(view.number("models", name, "macs")), view.text("models", name, "architecture"),
        ]
        for name in models
    ]  # fmt: skip
    blocks: list[Block] = [Table("Size", columns, rows)]
    if text := _cost(view):
        blocks.append(Note(text, "aside"))
    return Section("size", "Size", ["What each model needs."], blocks, folded=True)


_Row = tuple[str, float | None, float | None, Callable[[float | None], str], str, str, tuple[str, str]]


def _sizes(view: View) -> list[_Row]:
    named: list[tuple[str, str, str, Callable[[float | None], str]]] = [
        ("File", "dense_bytes", "file_bytes", words.size),
        ("Parameters", "dense_parameters", "parameters", words.compact),
        ("Multiply-adds per image", "dense_macs", "macs", words.compact),
    ]
    rows: list[_Row] = []
    for name, before, after, show in named:
        dense, now = view.number("size", before), view.number("size", after)
        if dense is not None or now is not None:
            rows.append((name, dense, now, show, "fewer" if show is words.compact else "smaller", "more", ("", "")))
    return rows


def _latencies(view: View) -> list[_Row]:
    batches = {**view.mapping("speed", "dense", "batch"), **view.mapping("speed", "pruned", "batch")}
    rows: list[_Row] = []
    for batch in ordered(batches):
        dense, now = (_time(view, model, batch) for model in ("dense", "pruned"))
        if dense.value is None and now.value is None:
            continue
        spread = (_spread(dense), _spread(now))
        name = f"Time for {words.plural(int(batch), 'image') if batch.isdigit() else f'batch {batch}'}"
        rows.append((name, dense.value, now.value, words.milliseconds, "faster", "slower", spread))
    return rows


def _memory(view: View) -> list[_Row]:
    batches = {**view.mapping("speed", "dense", "batch"), **view.mapping("speed", "pruned", "batch")}
    rows: list[_Row] = []
    for batch in ordered(batches):
        dense, now = (view.number("speed", model, "batch", batch, "peak_bytes") for model in ("dense", "pruned"))
        if dense is not None or now is not None:
            name = f"Memory for {words.plural(int(batch), 'image') if batch.isdigit() else f'batch {batch}'}"
            rows.append((name, dense, now, words.size, "smaller", "more", ("", "")))
    return rows


def _time(view: View, model: str, batch: str) -> Measure:
    return measure(view.mapping("speed", model, "batch", batch), "median_ms", "low_ms", "high_ms")


def _spread(time: Measure) -> str:
    if time.low is None or time.high is None:
        return ""
    low, high = (words.milliseconds(value).removesuffix(f"{words.SPACE}ms") for value in (time.low, time.high))
    return f" ({low}{words.SPACE}to{words.SPACE}{high})"


def _table(view: View, rows: list[_Row]) -> Table:
    """Both models side by side, or the one there is."""
    if all(row[1] is None for row in rows):
        cells = [[name, show(now) + spread[1]] for name, _, now, show, _, _, spread in rows]
        return Table("Size and speed", [Column("Quantity"), Column("Model", "number")], cells, _note(view))
    columns = [Column("Quantity"), Column("Dense", "number"), Column("Pruned", "number"), Column("Result")]
    cells = [
        [name, show(dense) + spread[0], show(now) + spread[1], words.times(dense, now, less, more)]
        for name, dense, now, show, less, more, spread in rows
    ]
    return Table("Size and speed", columns, cells, _note(view))


def _note(view: View) -> str:
    if not _latencies(view):
        return ""
    threads = view.number("speed", "threads")
    on = f", {words.plural(int(threads), 'thread')}" if threads is not None else ""
    device = view.text("speed", "device") or view.text("provenance", "device")
    memory = view.text("speed", "peak_memory")
    text = f"Times are medians, in brackets their spread{f'; {device}' if device else ''}{on}."
    return f"{text} Memory is {memory}." if memory else text


def _cost(view: View) -> str:
    passes, spent = view.number("cost", "passes"), view.number("cost", "seconds")
    peak = view.number("cost", "peak_bytes")
    parts = []
    if spent is not None:
        parts.append(words.seconds(spent))
    if passes:  # an audit makes none
        parts.append(f"{words.whole_number(passes)} passes (forward and backward)")
    if peak is not None:
        parts.append(f"{words.size(peak)} of memory at its peak")
    return f"The run took {words.join(parts)}." if parts else ""
