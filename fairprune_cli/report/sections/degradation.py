"""What pruning took from each group, measured on the same images before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Section, Table
from fairprune_cli.report.values import Measure, measure, number
from fairprune_cli.report.view import View

ORDER = 50
BY_TASK = True


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for model, by_attribute in view.degradations.items():
        for attribute in view.order_attributes(by_attribute):
            found = changes_by_pruning(view, attribute, model)
            if found is not None:
                blocks += [Heading(found.title), _table(found)]
    if not blocks:
        return None
    lead = [
        "The change of each group's accuracy through pruning, in points. Below zero is a loss.",
        "Both models saw the same images, so these intervals are narrower than those of two separate accuracies.",
        "The change of the gap has a sign: below zero the gap shrank. The degradation gap has none: it is the largest "
        "change minus the smallest, whichever group it favours.",
    ]
    return Section("degradation", "Change by pruning", lead, blocks, folded=True)


def changes_by_pruning(view: View, attribute: str, model: str) -> Changes | None:
    """What pruning changed in the groups of an attribute; None where the report does not say."""
    record = view.degradations.get(model, {}).get(attribute)
    if not isinstance(record, dict):
        return None
    groups = record.get("groups")
    known = groups if isinstance(groups, dict) else {}
    names = view.order_groups(attribute, (name for name in known if isinstance(known[name], dict)))
    small = view.order_groups(attribute, {*view.small(attribute), *map(str, record.get("small_groups") or ())})
    title = attribute if len(view.degradations) == 1 else f"{attribute}, {model}"
    return Changes(title, record, {name: known[name] for name in names}, small)


@dataclass(frozen=True)
class Changes:
    """The changes of one attribute; a change is accuracy of the pruned model minus that of the dense one.

    `cells` are the records of its groups, `small` the groups that have too few images to count.
    """

    title: str
    record: dict[str, Any]
    cells: dict[str, dict[str, Any]]
    small: list[str]

    @property
    def gap(self) -> Measure:
        return measure(self.record, "gap", "gap_low", "gap_high")

    def change_of(self, what: str) -> Measure:
        """Of the "gap" of accuracies or of the "worst" group's accuracy."""
        return measure(self.record, f"{what}_change", f"{what}_change_low", f"{what}_change_high")

    @property
    def largest(self) -> Measure:
        return measure(self.record, "largest")


def loss_sentence(found: Changes) -> str:
    """Who lost most, and whether chance could explain it; how far the groups' losses differ."""
    changes = {group: measure(cell, "change").value for group, cell in found.cells.items()}
    known = {group: value for group, value in changes.items() if value is not None and group not in found.small}
    if not known:
        return "No group has enough images for a figure."
    group = min(known, key=known.__getitem__)
    if known[group] < -0.0005:
        # A group picked for being worst needs the interval that allows for the picking, not its own.
        beyond = found.largest.low is None or found.largest.low > 0
        lost = words.points(-known[group])
        text = f"{group} lost most: {lost}" if beyond else f"No group's loss is beyond chance; the largest is {lost}"
        text += f" (interval {words.span(found.largest)})" if found.largest.has_interval else ""
        text += "" if beyond else f", of {group}"
    else:
        text = "No group lost accuracy"
    if found.gap.value is not None:
        text += f". The groups' losses differ by up to {words.points(found.gap.value)}"
        text += f" (interval {words.span(found.gap)})" if found.gap.has_interval else ""
        text += ", which chance could explain" if found.gap.low is not None and found.gap.low <= 0 else ""
    return f"{text}."


def _lost(cell: dict[str, Any]) -> str:
    """How many images were lost, and what share of the group's with its interval."""
    lost, n = number(cell.get("lost")), number(cell.get("n"))
    if lost is None or not n:
        return words.whole_number(lost)
    share = Measure(lost / n, number(cell.get("lost_low")), number(cell.get("lost_high")))
    return f"{words.whole_number(lost)}; {words.estimate(share)}" if share.has_interval else words.whole_number(lost)


def _table(found: Changes) -> Table:
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
    small = f"Too few images to count in the last rows: {words.join(found.small)}. " if found.small else ""
    return Table(f"Change of accuracy by {found.title}", columns, rows, f"{small}{words.reasons(named)}".strip())
