"""Accuracy of every group, with intervals, dense against pruned."""

from __future__ import annotations

from dataclasses import replace

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, BoundLine, Column, Dot, DotRow, Dots, Heading, Plot, Section, Table
from fairprune_cli.report.sections.degradation import changes_by_pruning, loss_sentence
from fairprune_cli.report.values import Measure, measure, number, ordered
from fairprune_cli.report.view import View

ORDER = 30
BY_TASK = True
MOST_OPEN = 40  # rows of figures that are on a page before anything is unfolded
RATES = {"tpr": "True positives", "fpr": "False positives", "selection_rate": "Predicted positive"}
BY_CLASS = {"recall": "Recall", "selection_rate": "Share predicted"}


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    shown = 0
    for attribute in view.attributes:
        if any(view.mapping("results", model, "attributes", attribute, "groups") for model in view.models):
            shown += len(view.groups(attribute))
            blocks += [
                Heading(attribute),
                _plot(view, attribute, folded=shown > MOST_OPEN and bool(blocks)),
                replace(groups_table(view, attribute), folded=True),
                *_rates(view, attribute),
            ]
    if not blocks:
        return None
    lead = [
        "How often each group is classified right; the fewer images, the wider the interval. A gap can also shrink by "
        "making the better group worse, so the groups stand beside it.",
    ]
    title = "What changed for whom" if _paired(view) else "Accuracy by group"
    return Section("groups", title, lead, blocks)


def dots_of(measures: list[tuple[str, Measure]]) -> list[Dot]:
    """A dot for every defined measure, with a hint for the pointer and for screen readers."""
    return [
        Dot(i, m.value, m.low, m.high, f"{name}: {words.estimate(m)}")
        for i, (name, m) in enumerate(measures)
        if m.value is not None
    ]


def _plot(view: View, attribute: str, folded: bool) -> Plot:
    rows = []
    for group in view.groups(attribute):
        named = [(view.label(model), view.group(model, attribute, group)) for model in view.models]
        n = view.n(attribute, group)
        rows.append(
            DotRow(
                label=group,
                detail="" if n is None else f"n {words.whole_number(n)}",
                text=" → ".join(words.fixed(100 * m.value) if m.value is not None else "?" for _, m in named),
                dots=dots_of(named),
                missing=next((m.why for _, m in named if m.value is None), "") or words.UNDEFINED,
            )
        )
    rules = []
    overall = view.overall(view.judged)
    if overall.value is not None:
        rules = [BoundLine(overall.value, f"all images{'' if len(view.models) == 1 else f', {view.judged}'}")]
    beside = _changes(view, attribute) if _paired(view) else None
    labels = [view.label(m) for m in view.models]
    figure = Dots(rows, labels, "percent", rules, axis="accuracy in percent", beside=beside)
    reading = "A dot is what was measured, its line the interval"
    reading += "; the second panel has the change on the same images: left of zero is a loss." if beside else "."
    return Plot(f"Accuracy by {attribute}", _sentence(view, attribute), figure, reading, folded)


def _paired(view: View) -> bool:
    """Whether there are models beside the dense one."""
    return "dense" in view.models and len(view.models) > 1


def _changes(view: View, attribute: str) -> Dots:
    """What each model changed against the dense one, a row per group."""
    rows = []
    for group in view.groups(attribute):
        # The dense model keeps its place among the series, so that each model keeps its colour.
        found = [
            ("", Measure(None))
            if model == "dense"
            else (f"{model} − dense", view.change(attribute, group, model=model))
            for model in view.models
        ]
        known = [m.value for _, m in found if m.value is not None]
        why = next((m.why for _, m in found if m.why), "") or words.UNDEFINED
        rows.append(DotRow(group, ", ".join(map(words.signed, known)), dots_of(found), why))
    return Dots(rows, (), "points", [BoundLine(0.0, "no change")], True, "change in points")


def _sentence(view: View, attribute: str) -> str:
    """What to see: the group that is worst now, and the one that lost most; of several models the latter alone."""
    losses = {
        model: loss_sentence(found)
        for model in view.models
        if model != "dense" and (found := changes_by_pruning(view, attribute, model)) is not None
    }
    if len(view.subjects) > 1:
        return " ".join(f"{model}: {text}" for model, text in losses.items())
    small = view.small(attribute)
    known = [
        (value, group)
        for group in view.groups(attribute)
        if (value := view.group(view.judged, attribute, group).value) is not None and group not in small
    ]
    if not known:
        return "No group has enough images for a figure."
    value, group = min(known)
    text = f"{group} is classified right least often ({words.percent(value)})"
    gap = view.gap(view.judged, attribute)
    text += ", which chance could explain." if gap.low is not None and gap.low <= 0 else "."
    return " ".join([text, *losses.values()])


def groups_table(view: View, attribute: str) -> Table:
    """Images, accuracy with interval per model, and the change, for every group."""
    columns = [Column("Group"), Column("Images", "number")]
    columns += [Column(f"{view.title(m)} (%)", "number") for m in view.models]
    if view.before:
        columns.append(Column("Change (points)", "number"))
    rows, named = [], []
    for group in view.groups(attribute):
        found = [view.group(model, attribute, group) for model in view.models]
        row = [group, words.whole_number(view.n(attribute, group)), *(words.estimate(m) for m in found)]
        if view.before:
            change = view.change(attribute, group)
            row.append(words.NOTHING if change.value is None else words.estimate(change, sign=True))
        rows.append(row)
        named += [(group, m) for m in found]
    notes = [f"In brackets: {words.percent(view.confidence, 0)} intervals."] if view.confidence else []
    if small := view.small(attribute):
        notes.append(f"Too few images to count in the gap: {words.join(small)}.")
    ungrouped = view.number("results", view.judged, "attributes", attribute, "ungrouped")
    if ungrouped:
        notes.append(f"{words.plural(int(ungrouped), 'image')} in none of these groups.")
    return Table(f"Accuracy by {attribute}", columns, rows, " ".join([*notes, words.reasons(named)]).strip())


def _rates(view: View, attribute: str) -> list[Table]:
    """Further rates of each group, where the audit has them: of the positive class, or of every class."""
    groups = view.groups(attribute)
    metrics = {
        (m, g): view.mapping("results", m, "attributes", attribute, "groups", g, "metrics")
        for m in view.models
        for g in groups
    }
    names = {name for found in metrics.values() for name in ordered(found)}
    tables = []
    by_class = {name for found in metrics.values() for name in found if isinstance(found[name], dict)}
    if rates := [name for name in RATES if name in names - by_class]:
        columns = [Column("Group")]
        columns += [
            Column(f"{RATES[name]}{'' if len(view.models) == 1 else f', {view.label(m)}'} (%)", "number")
            for name in rates
            for m in view.models
        ]
        rows, undefined = [], []
        for group in groups:
            found = [
                (name, measure(metrics[m, group], name, f"{name}_low", f"{name}_high"))
                for name in rates
                for m in view.models
            ]
            if any(m.value is not None or m.why for _, m in found):
                rows.append([group, *(words.estimate(m) for _, m in found)])
                undefined += [(f"{RATES[name].lower()} of {group}", m) for name, m in found]
        if rows:
            note = " ".join(filter(None, [view.positive, words.reasons(undefined)]))
            tables.append(Table(f"Further rates by {attribute}", columns, rows, note, folded=True))
    last = view.judged
    for name, title in BY_CLASS.items():
        of = {g: value for g in groups if isinstance(value := metrics[last, g].get(name), dict)}
        classes = view.order_classes(label for value in of.values() for label in value)
        if classes:
            columns = [Column("Group"), *(Column(label, "number") for label in classes)]
            cells = [[g, *(words.estimate(Measure(number(of[g].get(c)))) for c in classes)] for g in of]
            of_model = "" if len(view.models) == 1 else f", {view.label(last)} model"
            tables.append(Table(f"{title} by class and {attribute}{of_model} (%)", columns, cells, folded=True))
    return tables
