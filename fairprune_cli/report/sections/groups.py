"""Accuracy of every group, with intervals, dense against pruned."""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, BoundLine, Column, Dot, DotRow, Dots, Heading, Plot, Section, Table
from fairprune_cli.report.values import Measure, measure, natural, number, ordered
from fairprune_cli.report.view import View

ORDER = 30
BY_TASK = True
RATES = {"tpr": "True positives", "fpr": "False positives", "selection_rate": "Predicted positive"}
BY_CLASS = {"recall": "Recall", "selection_rate": "Share predicted"}


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for attribute in view.attributes:
        if any(view.mapping("results", model, "attributes", attribute, "groups") for model in view.models):
            blocks += [
                Heading(attribute),
                _plot(view, attribute),
                groups_table(view, attribute),
                *_rates(view, attribute),
            ]
    if not blocks:
        return None
    lead = [
        "How often each group is classified right. The dot is what was measured, the line is how far the "
        "truth may "
        "lie from it: the fewer images, the longer the line.",
        "Group accuracies stand beside every gap because a gap can also shrink by making the better group worse.",
    ]
    return Section("groups", "Accuracy by group", lead, blocks)


def dots_of(measures: list[tuple[str, Measure]]) -> list[Dot]:
    """A dot for every defined measure, with a hint for the pointer and for screen readers."""
    return [
        Dot(i, m.value, m.low, m.high, f"{name}: {words.estimate(m)}")
        for i, (name, m) in enumerate(measures)
        if m.value is not None
    ]


def _plot(view: View, attribute: str) -> Plot:
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
    figure = Dots(rows, [view.label(m) for m in view.models], "percent", rules, axis="accuracy in percent")
    return Plot(f"Accuracy by {attribute}", _sentence(view, attribute), figure)


def _sentence(view: View, attribute: str) -> str:
    """What to see: the group that is worst now, and the one that lost most."""
    last = view.judged
    small = view.small(attribute)
    groups = [(view.group(last, attribute, g).value, g) for g in view.groups(attribute) if g not in small]
    known = sorted((value, group) for value, group in groups if value is not None)
    if not known:
        return "No group has enough images for a figure."
    text = f"{known[0][1]} is classified right least often ({words.percent(known[0][0])})"
    if view.before:
        changes = []
        for _, group in known:
            before, now = (view.group(model, attribute, group).value for model in (view.before, last))
            if before is not None and now is not None:
                changes.append((now - before, group))
        if changes and min(changes)[0] < -0.0005:
            text += f"; pruning costs {min(changes)[1]} most ({words.points(-min(changes)[0])})"
    return f"{text}."


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
            before, now = (view.group(model, attribute, group).value for model in (view.before, view.judged))
            change = view.change(attribute, group)
            if change.value is None and before is not None and now is not None:  # a report of an earlier version
                change = Measure(now - before)
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
            tables.append(Table(f"Further rates by {attribute}", columns, rows, words.reasons(undefined)))
    last = view.judged
    for name, title in BY_CLASS.items():
        of = {g: value for g in groups if isinstance(value := metrics[last, g].get(name), dict)}
        classes = sorted({label for value in of.values() for label in value}, key=natural)
        if classes:
            columns = [Column("Class"), *(Column(group, "number") for group in of)]
            cells = [[c, *(words.estimate(Measure(number(of[g].get(c)))) for g in of)] for c in classes]
            of_model = "" if len(view.models) == 1 else f", {view.label(last)} model"
            tables.append(Table(f"{title} by class and {attribute}{of_model} (%)", columns, cells))
    return tables
