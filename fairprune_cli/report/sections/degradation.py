"""What pruning took from each group, measured on the same images before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, BoundLine, Column, DotRow, Dots, Heading, Plot, Section, Table
from fairprune_cli.report.sections.groups import dots_of
from fairprune_cli.report.values import Measure, measure, natural, number
from fairprune_cli.report.view import View

ORDER = 50
BY_TASK = True


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for model, by_attribute in view.degradations.items():
        for attribute in sorted(by_attribute, key=lambda name: (name.count("*"), natural(name))):
            record = by_attribute[attribute]
            if not isinstance(record, dict):
                continue
            small = {*view.small(attribute), *(str(name) for name in record.get("small_groups") or ())}
            title = attribute if len(view.degradations) == 1 else f"{attribute}, {model}"
            found = _Changes(model or "pruned", title, record, small)
            blocks += [Heading(title), _plot(found), _table(found)]
    if not blocks:
        return None
    lead = [
        "The change of each group's accuracy through pruning, in points. Left of zero is a loss.",
        "Both models saw the same images, so these intervals are narrower than those of two separate accuracies.",
        "The change of the gap has a sign: below zero the gap shrank. The degradation gap has none: it is the largest "
        "change minus the smallest, whichever group it favours.",
    ]
    return Section("degradation", "Change by pruning", lead, blocks)


@dataclass(frozen=True)
class _Changes:
    """The changes of one attribute; a change is accuracy of the pruned model minus that of the dense one."""

    model: str
    title: str
    record: dict[str, Any]
    small: set[str]

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        groups = self.record.get("groups")
        known = groups if isinstance(groups, dict) else {}
        return {name: known[name] for name in sorted(known, key=natural) if isinstance(known[name], dict)}

    @property
    def gap(self) -> Measure:
        return measure(self.record, "gap", "gap_low", "gap_high")

    def change_of(self, what: str) -> Measure:
        """Of the "gap" of accuracies or of the "worst" group's accuracy."""
        return measure(self.record, f"{what}_change", f"{what}_change_low", f"{what}_change_high")

    @property
    def largest(self) -> Measure:
        return measure(self.record, "largest")


def _plot(found: _Changes) -> Plot:
    rows = []
    for group, cell in found.cells.items():
        change = measure(cell, "change")
        text = words.signed(change.value) if change.value is not None else ""
        # The second series, so that the colour is the one that stands for the pruned model elsewhere.
        dots = dots_of([("", Measure(None)), ("change", change)])
        rows.append(DotRow(group, text, dots, change.why or words.UNDEFINED))
    figure = Dots(
        rows, ["", f"{found.model} − dense"], "points", [BoundLine(0.0, "no change")], True, "change in points"
    )
    return Plot(f"Change of accuracy by {found.title}", _sentence(found), figure)


def _sentence(found: _Changes) -> str:
    changes = {group: measure(cell, "change").value for group, cell in found.cells.items()}
    known = {group: value for group, value in changes.items() if value is not None and group not in found.small}
    if not known:
        return "No group has enough images for a figure."
    group = min(known, key=known.__getitem__)
    if known[group] < -0.0005:
        text = f"{group} lost most: {words.points(-known[group])}"
        # A group picked for being worst needs the interval that allows for the picking, not its own.
        if found.largest.low is not None:
            text += ", beyond chance" if found.largest.low > 0 else ", which chance could explain"
    else:
        text = "No group lost accuracy"
    if found.gap.value is not None:
        text += f". The groups' losses differ by up to {words.points(found.gap.value)}"
        text += f" (interval {words.span(found.gap)})" if found.gap.has_interval else ""
    return f"{text}."


def _lost(cell: dict[str, Any]) -> str:
    """How many images were lost, and what share of the group's with its interval."""
    lost, n = number(cell.get("lost")), number(cell.get("n"))
    if lost is None or not n:
        return words.whole_number(lost)
    share = Measure(lost / n, number(cell.get("lost_low")), number(cell.get("lost_high")))
    return f"{words.whole_number(lost)}; {words.estimate(share)}" if share.has_interval else words.whole_number(lost)


def _table(found: _Changes) -> Table:
    rows: list[list[str]] = []
    named: list[tuple[str, Measure]] = []
    for group, cell in found.cells.items():
        change = measure(cell, "change")
        figures = [
            words.whole_number(number(cell.get("n"))),
            _lost(cell),
            words.whole_number(number(cell.get("gained"))),
        ]
        rows.append([group, *figures, words.estimate(change, sign=True)])
        named.append((group, change))
    of_all = (
        ("Change of the gap", found.change_of("gap"), True),
        ("Change of the worst group", found.change_of("worst"), True),
        ("Largest loss", found.largest, False),
        ("Degradation gap: how far the groups' changes differ", found.gap, False),
    )
    for title, measured, sign in of_all:
        if measured.value is not None or measured.why:
            rows.append([title, *[words.NOTHING] * 3, words.estimate(measured, sign)])
            named.append((f"the {title.split(':')[0].lower()}", measured))
    columns = [
        Column("Group"),
        Column("Images", "number"),
        Column("Right before, wrong now (% of images)", "number"),
        Column("Wrong before, right now", "number"),
        Column("Change (points)", "number"),
    ]
    small = f"Too few images to count in the last rows: {words.join(sorted(found.small))}. " if found.small else ""
    return Table(f"Change of accuracy by {found.title}", columns, rows, f"{small}{words.reasons(named)}".strip())
