"""Whose predictions are not the dense model's any more, right or wrong: churn, its tests, over-representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, DotRow, Dots, Heading, Note, Plot, Section, Table
from fairprune_cli.report.sections.groups import dots_of
from fairprune_cli.report.values import Measure, measure, number
from fairprune_cli.report.view import View

ORDER = 52
BY_TASK = True
_PARTS = (
    ("churn", "Changed (%)"), ("lost", "Right before, wrong now (%)"), ("gained", "Wrong before, right now (%)"),
    ("otherwise", "Wrong before, wrong otherwise now (%)"),
)  # fmt: skip
SHOWN = 3  # images of a group
SURE = 0.05  # p below which a difference is called more than chance


def build(view: View) -> Section | None:
    models = [model for model in view.models if view.mapping("results", model, "faithfulness")]
    blocks: list[Block] = []
    for model in models:
        found = view.mapping("results", model, "faithfulness", "attributes")
        for attribute in view.order_attributes(found):
            changed = _Changed(model, attribute, view)
            if changed.groups:
                blocks.append(Heading(attribute if len(models) == 1 else f"{attribute}, {model}"))
                blocks += [_plot(changed), *_notes(changed), _counts(changed), _tests(changed), *_exemplars(changed)]
    if not blocks:
        return None
    lead = [
        "The share of each group's images whose prediction is not the dense model's. Accuracy hides it where as many "
        "images were gained as lost; whoever relied on the dense model's answers meets all of it.",
        "Intervals are exact and hold for all groups of an attribute at once; p are adjusted for the number of groups. "
        "Both models saw the same images, so the tests are those of pairs. The interval of the largest share is a "
        "gate's: it allows for whichever group is the largest in truth, and for all attributes, so it is not that of "
        "the group.",
    ]
    return Section("faithfulness", "Faithfulness to the dense model", lead, blocks, folded=True)


@dataclass(frozen=True)
class _Changed:
    """What changed in the groups of one attribute of one model."""

    model: str
    attribute: str
    view: View

    @property
    def record(self) -> dict[str, Any]:
        return self.view.mapping("results", self.model, "faithfulness", "attributes", self.attribute)

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        known = self.record.get("groups")
        found = known if isinstance(known, dict) else {}
        names = self.view.order_groups(self.attribute, found)
        return {name: found[name] for name in names if isinstance(found[name], dict)}

    @property
    def all_images(self) -> dict[str, Any]:
        return self.view.mapping("results", self.model, "faithfulness", "all")


def p_in_words(record: object, key: str = "adjusted") -> str:
    """A p as it is printed: three digits, and never a zero."""
    p = number(record.get(key)) if isinstance(record, dict) else None
    if p is None:
        return words.NOTHING
    return f"<{words.SPACE}0.001" if p < 0.001 else words.fixed(p, 3)


def _plot(found: _Changed) -> Plot:
    rows = []
    for group, cell in found.groups.items():
        churn = measure(cell, "churn")
        text = words.fixed(100 * churn.value) if churn.value is not None else ""
        rows.append(DotRow(group, text, dots_of([("", Measure(None)), ("changed", churn)]), churn.why))
    figure = Dots(rows, ["", found.view.label(found.model)], "percent", (), True, "changed predictions in percent")
    return Plot(f"Changed predictions by {found.attribute}", _sentence(found), figure)


def _sentence(found: _Changed) -> str:
    largest, whole = measure(found.record, "largest"), measure(found.all_images, "churn")
    text = f"{words.percent(whole.value)} of all predictions changed" if whole.value is not None else ""
    entry = found.record.get("largest")
    if largest.value is None or not isinstance(entry, dict):
        return f"{text}. No group has enough images for a figure of its own.".removeprefix(". ")
    who = f"{entry.get('group')} changed most: {words.percent(largest.value)}"
    who += f" (interval {words.span(largest)})" if largest.has_interval else ""
    return f"{text}; {who}." if text else f"{who}."


def _notes(found: _Changed) -> list[Block]:
    """What stands out beyond chance, in a sentence each."""
    over, moved = [], []
    for group, cell in found.groups.items():
        times = measure(cell, "representation")
        if times.low is not None and times.low > 1 and times.value is not None:
            over.append(f"{group} ({words.fixed(times.value, 2)} times)")
        shift = cell.get("shift")
        p = number(shift.get("adjusted")) if isinstance(shift, dict) else None
        if p is not None and p < SURE:
            moved.append(group)
    texts = []
    if over:
        texts.append(f"More often among the changed images than among all: {words.join(over)}.")
    if moved:
        texts.append(f"The predicted classes moved, beyond chance, for {words.join(moved)}.")
    return [Note(" ".join(texts), "notice")] if texts else []


def _counts(found: _Changed) -> Table:
    columns = [Column("Group"), Column("Images", "number"), *(Column(title, "number") for _, title in _PARTS)]
    rows, named = [], []
    for group, cell in found.groups.items():
        rows.append([group, words.whole_number(number(cell.get("n"))), *(_part(cell, name) for name, _ in _PARTS)])
        named.append((group, measure(cell, "churn")))
    return Table(f"Changed predictions by {found.attribute}", columns, rows, words.reasons(named))


def _exemplars(found: _Changed) -> list[Block]:
    """The most confident flips of each group, by file."""
    listed = found.view.mapping("exemplars", "changed", found.model, found.attribute)
    rows = []
    for group in found.view.order_groups(found.attribute, listed):
        entries = listed[group] if isinstance(listed[group], list) else []
        for entry in [entry for entry in entries if isinstance(entry, dict)][:SHOWN]:
            before, after = (words.percent(number(entry.get(key)), 0) for key in ("before", "after"))
            moved = f"{entry.get('dense')} → {entry.get('predicted')}"
            rows.append([group, str(entry.get("file")), str(entry.get("label")), moved, f"{before} → {after}"])
    if not rows:
        return []
    columns = [Column("Group"), Column("Image"), Column("Label"), Column("Prediction"), Column("Its probability")]
    table = found.view.text("exemplars", "table")
    note = "The plainest of each group: those in which the dense model's class lost most of its probability."
    return [Table("Images that changed", columns, rows, f"{note} {table} lists all." if table else note)]


def _part(cell: dict[str, Any], name: str) -> str:
    """The number of images, and their share with its interval."""
    found, entry = measure(cell, name), cell.get(name)
    if found.value is None or not isinstance(entry, dict):
        return words.estimate(found)
    return f"{words.whole_number(number(entry.get('images')))}; {words.estimate(found)}"


def _tests(found: _Changed) -> Table:
    columns = [
        Column("Group"), Column("Lost against gained (p)", "number"), Column("Predicted classes moved (p)", "number"),
        Column("Share of the changed images (%)", "number"), Column("Times its share of all images", "number"),
    ]  # fmt: skip
    rows = []
    for group, cell in found.groups.items():
        times = measure(cell, "representation")
        shown = words.NOTHING if times.value is None else words.fixed(times.value, 2)
        if times.low is not None and times.high is not None:
            shown += f" ({words.fixed(times.low, 2)} to {words.fixed(times.high, 2)})"
        rows.append([
            group, p_in_words(cell.get("mcnemar")), p_in_words(cell.get("shift")),
            words.estimate(measure(cell, "among_changed")), shown,
        ])  # fmt: skip
    note = (
        "p: McNemar's exact test, and Stuart and Maxwell's of the predicted classes; small where chance alone would "
        "hardly do it."
    )
    return Table(f"Who the changed images are, by {found.attribute}", columns, rows, note)
