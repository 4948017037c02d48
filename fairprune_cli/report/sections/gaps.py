"""The largest difference between two groups, by every notion of fairness that was measured."""

from __future__ import annotations

from collections.abc import Callable

from fairprune_cli.audit.to_json import metric_key
from fairprune_cli.fairness import notions
from fairprune_cli.report import words
from fairprune_cli.report.document import Block, BoundLine, Column, DotRow, Dots, Plot, Section, Table
from fairprune_cli.report.sections.groups import dots_of
from fairprune_cli.report.values import Measure, ordered
from fairprune_cli.report.view import View

ORDER = 40
BY_TASK = True
_NOT_A_GAP = {"worst_group"}  # an accuracy: higher is better, so it stands in the table only


def build(view: View) -> Section | None:
    rows = list(_rows(view))
    if not rows:
        return None
    blocks: list[Block] = []
    figure_rows = [
        DotRow(
            label=f"{attribute}: {title.split(' (')[0].lower()}" if several else title,
            text=" → ".join(words.fixed(100 * m.value) if m.value is not None else "?" for m in found),
            dots=dots_of([(view.label(name), m) for name, m in zip(view.models, found, strict=True)]),
            missing=next((m.why for m in found if m.value is None), "") or words.UNDEFINED,
        )
        for several in [len(view.attributes) > 1]
        for attribute, name, title, found in rows
        if name not in _NOT_A_GAP
    ]
    if figure_rows:
        figure = Dots(figure_rows, [view.label(m) for m in view.models], "points", _bounds(view), True, "gap in points")
        reading = "Further to the right is more unequal."
        blocks.append(Plot("Gap by attribute and by what is compared", _sentence(view), figure, reading))
    columns = [Column("Attribute"), Column("What is compared")]
    columns += [Column(view.title(model), "number") for model in view.models]
    if view.before:
        columns.append(Column("Change (points)", "number"))
    columns.append(Column("Where" if len(view.models) == 1 else f"Where, {view.label(view.judged)}"))
    cells = [
        [
            attribute,
            title,
            *(words.estimate(m) for m in found),
            *_change(view, attribute, name),
            _where(view, attribute, name),
        ]
        for attribute, name, title, found in rows
    ]
    undefined = [(f"{attribute}, {title.lower()}", m) for attribute, _, title, found in rows for m in found]
    positive = view.positive_of(*(name for _, name, _, _ in rows))
    note = " ".join(filter(None, ["Gaps in points, accuracies in percent.", positive, words.reasons(undefined)]))
    blocks.append(Table("Gap by attribute and by what is compared", columns, cells, note))
    lead = [
        "A gap is the difference between the best and the worst group. Zero means that all groups are "
        "treated alike "
        "in this respect.",
        "The interval holds for the worst pair out of all pairs at once. If it reaches zero, chance alone "
        "could "
        "explain the gap. That of a change counts only the images on which the two models differ.",
    ]
    return Section("gaps", "Gaps between groups", lead, blocks, folded=True)


def _rows(view: View) -> list[tuple[str, str, str, list[Measure]]]:
    """(attribute, notion, title, a measure per model) of everything that is defined or says why it is not."""
    rows = []
    for attribute in view.attributes:
        names = {
            n for m in view.models for n in ordered(view.mapping("results", m, "attributes", attribute, "metrics"))
        }
        for name in ["accuracy", *sorted(names - {"accuracy"}, key=lambda key: (_heading(key)[1], key))]:
            found = [_reader(view, name)(model, attribute) for model in view.models]
            if any(m.value is not None or m.why for m in found):
                rows.append((attribute, name, _heading(name)[0], found))
    return rows


def _heading(key: str) -> tuple[str, int]:
    """Title and place of a key under `metrics`, which is a notion's name with underscores."""
    return notions.heading(next((name for name in notions.names() if metric_key(name) == key), key))


def _reader(view: View, name: str) -> Callable[[str, str], Measure]:
    if name == "accuracy":
        return view.gap
    return lambda model, attribute: view.metric(model, attribute, name)


def _change(view: View, attribute: str, name: str) -> list[str]:
    """Of the gap of accuracies and of the worst group, on the same images; of other rates only their ends are known."""
    if not view.before:
        return []
    of = {"accuracy": "gap_change", "worst_group": "worst_change"}.get(name)
    return [words.estimate(view.change(attribute, of=of), sign=True) if of else words.NOTHING]


def _where(view: View, attribute: str, name: str) -> str:
    """The groups that the figure of the judged model is about: highest and lowest."""
    record = view.attribute(view.judged, attribute)
    metric = view.mapping("results", view.judged, "attributes", attribute, "metrics", name)
    between = record.get("gap_between") if name == "accuracy" else metric.get("between")
    if isinstance(between, list) and len(between) == 2:
        return f"{between[0]} above {between[1]}"
    return str(metric.get("group") or words.NOTHING)


def _bounds(view: View) -> list[BoundLine]:
    """The bound of gap gates with the notion they judge, when all share one bound."""
    notion = view.text("notion") or words.shown(view.setting("notion") or "accuracy")
    bounds = {g.bound for g in view.gates if "gap" in g.metric and g.bound is not None}
    return (
        [BoundLine(bound, f"bound {words.fixed(100 * bound)}, {notion}") for bound in bounds]
        if len(bounds) == 1
        else []
    )


def _sentence(view: View) -> str:
    """Which gaps of accuracy pruning widened, and whether chance could explain it."""
    if not view.before:
        return ""
    grown = []
    for attribute in view.attributes:
        change = view.change(attribute, of="gap_change")
        if change.value is not None and change.value > 0.0005:
            chance = ", which chance could explain" if change.low is not None and change.low <= 0 else ""
            grown.append(f"{attribute} (by {words.points(change.value)}{chance})")
    return f"Pruning widened the accuracy gap of {words.join(grown)}." if grown else "Pruning widened no accuracy gap."
