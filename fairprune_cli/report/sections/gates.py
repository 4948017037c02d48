"""The rules the model was held against, and how each was judged."""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Column, Section, Table
from fairprune_cli.report.view import Gate, View

ORDER = 20


def build(view: View) -> Section | None:
    if not view.gates:
        return None
    lead = [
        "A gate fails when the whole interval lies beyond its bound, passes when the whole interval lies "
        "within, "
        "and is inconclusive otherwise: then the images are too few to decide.",
    ]
    if positive := view.positive_of_gates:
        lead.append(positive)
    if view.leniency:
        lead.append(view.leniency)
    return Section("gates", "Gates", lead, [gates_table(view)])


def gates_table(view: View, base: View | None = None) -> Table:
    """Every gate with its verdict, measured value, interval, bound and reason; what it was at the base, if given."""
    columns = [
        Column("Gate"),
        Column("Verdict", "verdict"),
        Column("Measured", "number"),
        Column("Interval", "number"),
        Column("Bound", "number"),
        *([] if base is None else [Column("At the base")]),
        Column("Why"),
    ]
    before = {} if base is None else {gate.name: gate for gate in base.gates}
    rows = []
    for gate in view.gates:
        old = before.get(gate.name)
        there = [] if base is None else [f"{old.verdict}, {measured(old)}" if old else words.NOTHING]
        figures = [measured(gate), words.span(gate.measure), bound(gate)]
        rows.append([gate.name, gate.verdict, *figures, *there, gate.reason or words.NOTHING])
    return Table("Gates", columns, rows)


def is_floor(gate: Gate) -> bool:
    """Whether the bound is the least that is allowed (an accuracy), not the most (a gap)."""
    return gate.metric.replace("_", "-").startswith("min")


def is_share(gate: Gate) -> bool:
    """Whether the figure is a share of images, told in percent, and not a difference, told in points."""
    return is_floor(gate) or gate.metric.replace("_", "-") == "max-churn"


def bound(gate: Gate) -> str:
    """The bound in words, such as `at most 5.0 points`."""
    if gate.bound is None:
        return words.NOTHING
    what = words.percent(gate.bound) if is_share(gate) else words.points(gate.bound)
    return f"at least {what}" if is_floor(gate) else f"at most {what}"


def measured(gate: Gate) -> str:
    if gate.measure.value is None:
        return words.UNDEFINED
    return words.percent(gate.measure.value) if is_share(gate) else words.points(gate.measure.value)
