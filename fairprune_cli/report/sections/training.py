"""How pruning went: exact against surrogate gap, multipliers, sparsity, loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from fairprune_cli.report import words
from fairprune_cli.report.document import (
    Block,
    BoundLine,
    Column,
    Heading,
    Line,
    Lines,
    Note,
    Plot,
    Section,
    Table,
    Unit,
)
from fairprune_cli.report.values import extent, number, ordered
from fairprune_cli.report.view import View

ORDER = 60
# A surrogate this many times the exact gap gets a figure of its own: one axis would flatten the other.
_FAR = 4.0


def build(view: View) -> Section | None:
    records = view.training
    if not records:
        return None
    xs = [number(record.get("epoch")) or float(i) for i, record in enumerate(records)]
    blocks: list[Block] = []
    attributes = view.order_attributes(
        name for record in records for key in ("exact_gap", "surrogate_gap") for name in _keys(record, key)
    )
    for attribute in attributes:
        plots = [
            *_gap_plots(view, records, xs, attribute),
            *_by_group(view, records, xs, attribute, "multipliers"),
            *_by_group(view, records, xs, attribute, "group_accuracy"),
        ]
        blocks += [Heading(attribute), *plots] if plots else []
    course = [
        *_single(records, xs, [("sparsity", "sparsity")], "Sparsity", _SPARSITY, "percent", _target(view)),
        *_single(records, xs, [("loss", "loss")], "Loss", _LOSS, "number"),
        *_single(
            records,
            xs,
            [("upper_accuracy", "mask step's images"), ("lower_accuracy", "weight step's images")],
            "Accuracy in training",
            _ACCURACY,
            "percent",
        ),
    ]
    if course:
        blocks += [Heading("Course of the run"), *course]
    blocks += _steps(records)
    blocks.append(_table(records, xs, attributes))
    notion = view.text("notion") or words.shown(view.setting("notion"))
    lead = [
        "Training cannot follow the exact gap, which counts right and wrong and so has no slope. It "
        "follows a smooth "
        "stand-in, the surrogate; the exact gap decides how hard it pushes.",
        "These figures come from the images of training; the audit above comes from others.",
    ]
    if notion and notion != words.NOTHING:
        text = f"The gap here is that of the notion that the run was asked to keep fair: {notion}."
        lead.append(" ".join(filter(None, [text, view.positive_of(notion)])))
    lead += filter(None, [_price(view)])
    return Section("training", "During pruning", lead, blocks, folded=True)


def _price(view: View) -> str:
    """What fairness cost in accuracy, where that had a bound."""
    pairs = [
        (number(free), number(held))
        for free, held in zip(
            view.items("accuracy_budget", "unconstrained"), view.items("accuracy_budget", "reached"), strict=False
        )
    ]
    told = [f"{words.percent(held)} ({words.percent(free)} without the constraint)"
            for free, held in pairs if free is not None and held is not None]  # fmt: skip
    allowed, file = view.number("accuracy_budget", "allowed"), view.text("accuracy_budget", "file")
    if not told or allowed is None:
        return ""
    beside = f" The network without the constraint is in {file}." if file else ""
    return (
        f"Fairness was to cost at most {words.points(allowed)} of accuracy: on the images of the mask steps it is "
        f"{words.join(told)}.{beside}"
    )


_MULTIPLIERS = (
    "How hard training pushes for each group. A multiplier rises while its group lags by more than the "
    "tolerance and "
    "falls back once it does not; one that keeps rising means that the demand was not met."
)
_GROUPS = "Running accuracy of each group. If the gap closes because the upper curve falls, that is levelling down."
_SPARSITY = "Share of the prunable parameters that is gone. The mask is fixed where the curve becomes flat."
_LOSS = "What the weight steps minimise. It jumps while parameters are being removed and should settle afterwards."
_ACCURACY = "Running accuracy. Two curves that drift apart mean that the weights fit their own images only."


def _keys(record: dict[str, Any], key: str) -> list[str]:
    value = record.get(key)
    return ordered(value) if isinstance(value, dict) else []


def _series(records: Sequence[dict[str, Any]], *path: str) -> list[float | None]:
    values: list[float | None] = []
    for record in records:
        value: Any = record
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        values.append(number(value))
    return values


def _gap_plots(view: View, records: Sequence[dict[str, Any]], xs: list[float], attribute: str) -> list[Plot]:
    exact = _series(records, "exact_gap", attribute)
    surrogate = _series(records, "surrogate_gap", attribute)
    asked, (*_, left) = number(view.setting("tolerance")), _series(records, "allowed_gap", attribute)
    allowed, name = (asked, "tolerance") if left is None or left == asked else (left, "dense model's gap")
    rules = [BoundLine(allowed, f"{name} {words.fixed(100 * allowed)}")] if allowed is not None else []
    exact_line, surrogate_line = (
        Line("exact gap", xs, exact, 1),
        Line("surrogate gap", xs, surrogate, 4, dashed=True),
    )
    lines = [line for line in (exact_line, surrogate_line) if _is_curve(line)]
    reach, far = extent(exact), extent(surrogate)
    if len(lines) == 2 and reach and far and far[1] > _FAR * max(reach[1], allowed or 0.0):
        return [
            Plot(
                f"Exact gap, {attribute}",
                _gap_sentence(exact, allowed, name),
                Lines([exact_line], "points", "epoch", rules),
            ),
            Plot(
                f"Surrogate gap, {attribute}",
                "The stand-in is on another scale than the exact gap; only its slope is used.",
                Lines([surrogate_line], "points", "epoch"),
            ),
        ]
    if not lines:
        return []
    title = f"Exact and surrogate gap, {attribute}" if len(lines) > 1 else f"{lines[0].name.capitalize()}, {attribute}"
    reading = "The distance between the curves is the error of the approximation." if len(lines) > 1 else ""
    return [Plot(title, _gap_sentence(exact, allowed, name), Lines(lines, "points", "epoch", rules), reading)]


def _gap_sentence(exact: list[float | None], allowed: float | None, name: str) -> str:
    known = [value for value in exact if value is not None]
    if not known:
        return "The exact gap was not recorded."
    text = f"The exact gap went from {words.points(known[0])} to {words.points(known[-1])}"
    if allowed is not None:
        inside = "within" if known[-1] <= allowed else "outside"
        text += f", {inside} the {name} of {words.points(allowed)}"
    return f"{text}."


def _is_curve(line: Line) -> bool:
    """Whether it has two points at least: one alone is a figure, which stands in the table."""
    return sum(y is not None for y in line.ys) > 1


def _by_group(
    view: View,
    records: Sequence[dict[str, Any]],
    xs: list[float],
    attribute: str,
    key: Literal["multipliers", "group_accuracy"],
) -> list[Plot]:
    groups = view.order_groups(
        attribute, (g for r in records if isinstance(r.get(key), dict) for g in _keys(r[key], attribute))
    )
    lines = [
        Line(group, xs, _series(records, key, attribute, group), (i + 1) % 6, dashed=i >= 6)
        for i, group in enumerate(groups)
    ]
    shown = [line for line in lines if _is_curve(line)]
    if not shown:
        return []
    ends = {line.name: [y for y in line.ys if y is not None][-1] for line in shown}
    if key == "multipliers":
        most = max(ends, key=ends.__getitem__)
        sentence = (
            f"At the end {most} has the largest: {words.fixed(ends[most], 2)}." if ends[most] else "All end at 0."
        )
        return [Plot(f"Multipliers, {attribute}", sentence, Lines(shown, "number", "epoch"), _MULTIPLIERS)]
    least = min(ends, key=ends.__getitem__)
    sentence = f"At the end it is lowest for {least}: {words.percent(ends[least])}."
    figure = Lines(shown, "percent", "epoch", from_zero=False)
    return [Plot(f"Group accuracy in training, {attribute}", sentence, figure, _GROUPS)]


def _single(
    records: Sequence[dict[str, Any]],
    xs: list[float],
    keys: Sequence[tuple[str, str]],
    title: str,
    reading: str,
    unit: Unit,
    rules: Sequence[BoundLine] = (),
) -> list[Plot]:
    styles = (1, 0)
    lines = [
        Line(name, xs, values, style, dashed=style == 0)
        for style, (key, name) in zip(styles, keys, strict=False)
        if extent(values := _series(records, key))
    ]
    zero = keys[0][0] not in {"upper_accuracy", "lower_accuracy"}
    shown = [line for line in lines if _is_curve(line)]
    return [Plot(title, "", Lines(shown, unit, "epoch", rules, zero), reading)] if shown else []


def _target(view: View) -> list[BoundLine]:
    target = view.number("sparsity", "target")
    return [BoundLine(target, f"target {words.percent(target)}")] if target is not None else []


def _table(records: Sequence[dict[str, Any]], xs: list[float], attributes: Sequence[str]) -> Table:
    columns = [Column("Epoch"), Column("Loss", "number"), Column("Sparsity (%)", "number")]
    columns += [Column(f"{what} gap, {a}", "number") for a in attributes for what in ("Exact", "Surrogate")]
    columns.append(Column("Images/s", "number"))
    rows = []
    for x, record in zip(xs, records, strict=True):
        loss, sparsity = number(record.get("loss")), number(record.get("sparsity"))
        row = [f"{x:g}", words.NOTHING if loss is None else words.fixed(loss, 3)]
        row.append(words.NOTHING if sparsity is None else words.fixed(100 * sparsity, 2))
        for a in attributes:
            for key in ("exact_gap", "surrogate_gap"):
                value = _series([record], key, a)[0]
                row.append(words.NOTHING if value is None else words.fixed(100 * value))
        rows.append([*row, words.whole_number(number(record.get("images_per_second")))])
    return Table("Every epoch", columns, rows, "Gaps in points.")


def _steps(records: Sequence[dict[str, Any]]) -> list[Note]:
    """Gradients and moves of the mask in a sentence each; nothing for a report from before they were recorded."""
    notes = []
    norms, clipped = _known(records, "gradient_norm"), _known(records, "clipped")
    if norms:
        text = (
            f"Gradients of the weight steps had a norm of {_range(norms, _norm)}, {_norm(norms[-1])} in the last epoch"
        )
        if clipped:
            text += f"; {words.percent(sum(clipped) / len(clipped))} of the steps were clipped"
        notes.append(Note(f"{text}.", "aside"))
    moves, returns = _known(records, "mask_moves"), _known(records, "mask_returns")
    if sum(moves):
        text = f"The mask moved {words.plural(round(sum(moves)), 'time')}"
        if returns:
            text += (
                f". Of the units that a move kept, {_range(returns, words.percent)} had been masked before it, "
                f"{words.percent(returns[-1])} in the last epoch with moves"
            )
        notes.append(Note(f"{text}.", "aside"))
    return notes


def _known(records: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [value for value in _series(records, key) if value is not None]


def _range(values: Sequence[float], told: Callable[[float], str]) -> str:
    low, high = told(min(values)), told(max(values))
    return low if low == high else f"{low} to {high}"


def _norm(value: float) -> str:
    return words.fixed(value, 2) if value < 1000 else words.compact(value)
