"""Whether the models' confidence can be trusted, for every group."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, BoundLine, Column, DotRow, Dots, Heading, Plot, Section, Table
from fairprune_cli.report.sections.groups import dots_of
from fairprune_cli.report.values import Measure, measure, number
from fairprune_cli.report.view import View

ORDER = 57
BY_TASK = True


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for attribute in view.attributes:
        rows = [(group, [_cell(view, model, attribute, group) for model in view.models])
                for group in view.groups(attribute)]  # fmt: skip
        if any(cell for _, cells in rows for cell in cells):
            rows.insert(0, ("all images", [_overall(view, model) for model in view.models]))
            blocks += [Heading(attribute), _plot(view, attribute, rows), _table(view, attribute, rows)]
    if not blocks:
        return None
    lead = [
        "A model's confidence is the probability it gives to its own answer. Above zero it is surer than it is "
        "right, below zero it is right more often than it claims.",
        "Whoever sets a threshold on the confidence treats groups unequally where they stand apart here.",
    ]
    return Section("calibration", "Confidence", lead, blocks, folded=True)


_Rows = list[tuple[str, list[dict[str, Any]]]]


def _overall(view: View, model: str) -> dict[str, Any]:
    return view.mapping("results", model, "calibration")


def _cell(view: View, model: str, attribute: str, group: str) -> dict[str, Any]:
    return view.mapping("results", model, "attributes", attribute, "groups", group, "calibration")


def _over(cell: dict[str, Any]) -> Measure:
    return measure(cell, "overconfidence", "overconfidence_low", "overconfidence_high")


def _plot(view: View, attribute: str, rows: _Rows) -> Plot:
    labels = [view.label(model) for model in view.models]
    figure_rows = []
    for group, cells in rows:
        found = [_over(cell) for cell in cells]
        text = " → ".join(words.signed(m.value) if m.value is not None else "?" for m in found)
        why = next((m.why for m in found if m.value is None), "") or words.UNDEFINED
        figure_rows.append(DotRow(group, text, dots_of(list(zip(labels, found, strict=True))), why))
    figure = Dots(
        figure_rows, labels, "points", [BoundLine(0.0, "as sure as right")], True, "over-confidence in points"
    )
    reading = "Right of zero the model is surer than it is right."
    return Plot(f"Over-confidence by {attribute}", _sentence(view, attribute, rows[1:]), figure, reading)


def _sentence(view: View, attribute: str, rows: _Rows) -> str:
    at = view.models.index(view.judged)
    small = view.small(attribute)
    known = [
        (m.value, m, group) for group, cells in rows if (m := _over(cells[at])).value is not None and group not in small
    ]
    if not known:
        return "No group has enough images for a figure."
    value, worst, group = max(known, key=lambda item: abs(item[0] or 0.0))
    if worst.low is not None and worst.high is not None and worst.low <= 0 <= worst.high:
        return "Mean confidence minus accuracy. Chance could explain how far the groups are from zero."
    kind = "surer than it is right" if value > 0 else "less sure than it is right"
    of = "" if len(view.models) == 1 else f"{view.judged} "
    return (
        f"Mean confidence minus accuracy. The {of}model is {kind} by {words.points(abs(value))} for {group}, "
        "further from zero than for the other groups."
    )


def _table(view: View, attribute: str, rows: _Rows) -> Table:
    columns = [Column("Group"), Column("Images", "number")]
    for model in view.models:
        of = "" if len(view.models) == 1 else f", {view.label(model)}"
        columns += [Column(f"Confidence − accuracy{of} (points)", "number"), Column(f"ECE{of} (points)", "number")]
    cells, named = [], []
    for group, found in rows:
        n = next((number(cell.get("n")) for cell in found if cell), None)
        row = [group, words.whole_number(n)]
        for cell in found:
            row += [words.estimate(_over(cell), sign=True), _error(cell)]
            named.append((group, measure(cell, "ece")))
        cells.append(row)
    note = (
        "ECE is the expected calibration error over 15 bins; after the stroke, the largest that a perfectly "
        "calibrated model would be likely to show on as many images. "
    )
    return Table(f"Confidence by {attribute}", columns, cells, (note + words.reasons(named)).strip())


def _error(cell: dict[str, Any]) -> str:
    found, chance = measure(cell, "ece"), number(cell.get("ece_chance_high"))
    text = words.estimate(found)
    return f"{text} / {words.fixed(100 * chance)}" if found.value is not None and chance is not None else text
