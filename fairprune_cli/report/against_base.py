"""A report beside that of the branch it is to be merged into: what changed, where the two can be compared at all.

Two reports hold counts of images, not which images were right in both, so that a difference between them has no
interval; an audit of the one model against the other has.
"""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Note, Section, Table
from fairprune_cli.report.sections.gates import bound, gates_table, is_floor
from fairprune_cli.report.sections.verdict import verdict_sentence
from fairprune_cli.report.values import Measure
from fairprune_cli.report.view import Gate, View

_JUDGED_BY = ("confidence", "min_group", "point_estimate", "notion", "allow_small_groups")
_TONES = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive", "none": "none"}


def sections_against(view: View, base: View | None) -> list[Section]:
    """The verdict, the gates, and each group's accuracy and the gaps: dense, at the base, now, and the changes."""
    apart = [] if base is None else other_images(view, base)
    blocks: list[Block] = [Note(verdict_sentence(view), _TONES[view.verdict])]  # type: ignore[arg-type]
    if base is not None:
        blocks.append(Note(f"At the base: {verdict_sentence(base)}"))
        blocks += [Note(text, "warning") for text in loosened(view, base)]
        if apart:
            text = f"The base's report is of other test images, so no change is shown: {words.join(apart)}."
            blocks.append(Note(text, "warning"))
    blocks += [Note(str(text), "notice") for text in view.items("notices") if isinstance(text, str) and text]
    found = [Section("verdict", "Verdict", (), blocks)]
    if view.gates:
        positive = view.positive_of_gates
        found.append(Section("gates", "Gates", [positive] if positive else (), [gates_table(view, base)]))
    shown = None if apart else base
    for title, build in (("Accuracy of the groups", _groups), ("Gaps between groups", _gaps)):
        tables: list[Block] = []
        for heading, now, then in _parts(view, shown):
            for model in now.subjects:
                table = build(now, then, model)
                if table is not None:
                    tables += [Heading(words.join(filter(None, (heading, model))))] if _several(view) else []
                    tables.append(table)
        if tables:
            found.append(Section(title.split()[0].lower(), title, (), tables))
    if view.warnings:
        found.append(Section("warnings", "Warnings", (), [Note(text, "warning") for text in view.warnings]))
    if shown is not None:
        text = "A difference between two reports has no interval: fairprune audit NEW --against BASE gives it."
        found.append(Section("reading", "How to read it", (), [Note(text)]))
    return found


def other_images(view: View, base: View) -> list[str]:
    """Why two reports are not about the same images, as far as they say; empty where they are."""
    found = []
    ours, theirs = view.text("data", "sha256"), base.text("data", "sha256")
    if not ours or not theirs:
        found.append("one of the reports does not say which manifest it is of")
    elif ours != theirs:
        found.append("the manifest or its table is another one")
    ours, theirs = (one.text("data", "split") or str(one.setting("split") or "") for one in (view, base))
    if ours != theirs:
        found.append(f"the split is {ours or 'unknown'} here and {theirs or 'unknown'} there")
    ns = [one.number("results", one.judged, "n") for one in (view, base)]
    if ns[0] != ns[1]:
        found.append(f"{words.whole_number(ns[0])} images here and {words.whole_number(ns[1])} there")
    return found


def loosened(view: View, base: View) -> list[str]:
    """In which respects less is asked of the model than at the base: gates that are gone, bounds, how they judge."""
    now = {gate.name: gate for gate in view.gates}
    found = [f"The base was held to a gate that is gone: {gate.name}." for gate in base.gates if gate.name not in now]
    for gate in base.gates:
        new = now.get(gate.name)
        if new is not None and _is_looser(new, gate):
            found.append(f"The bound of {gate.name} is looser than at the base: {bound(new)}, there {bound(gate)}.")
    for key in _JUDGED_BY:
        ours, theirs = view.setting(key), base.setting(key)
        if ours != theirs and (view.gates or base.gates):
            found.append(f"Gates are judged otherwise than at the base: {key} {words.shown(ours)}, there "
                         f"{words.shown(theirs)}.")  # fmt: skip
    return found


def _is_looser(new: Gate, old: Gate) -> bool:
    if new.bound is None or old.bound is None:
        return new.bound is None and old.bound is not None
    return new.bound < old.bound if is_floor(old) else new.bound > old.bound


def _several(view: View) -> bool:
    return bool(view.tasks) or len(view.subjects) > 1


def _parts(view: View, base: View | None) -> list[tuple[str, View, View | None]]:
    """Each task's name and views; without tasks the whole report."""
    if not view.tasks:
        return [("", view, base)]
    others = {} if base is None else base.tasks
    return [(name, of, others.get(name)) for name, of in view.tasks.items()]


def _counterpart(base: View | None, view: View, model: str) -> str:
    """What the model is called in the base's report: by the same name, or the only one there."""
    if base is None:
        return ""
    return base.judged if len(view.subjects) == 1 and len(base.subjects) == 1 else model


def _columns(view: View, base: View | None, unit: str) -> list[Column]:
    columns = [Column("Dense", "number")] if view.before else []
    columns += [Column("Base", "number")] if base is not None else []
    columns.append(Column(f"Now ({unit})", "number"))
    columns += [Column("Now − dense", "number")] if view.before else []
    return columns + ([Column("Now − base", "number")] if base is not None else [])


def _cells(view: View, base: View | None, dense: Measure, then: Measure, now: Measure) -> list[str]:
    cells = [words.estimate(dense)] if view.before else []
    cells += [words.estimate(then)] if base is not None else []
    cells.append(words.estimate(now))
    cells += [_difference(now, dense)] if view.before else []
    return cells + ([_difference(now, then)] if base is not None else [])


def _difference(now: Measure, then: Measure) -> str:
    return words.NOTHING if now.value is None or then.value is None else words.signed(now.value - then.value)


def _groups(view: View, base: View | None, model: str) -> Table | None:
    there = _counterpart(base, view, model)
    nothing = Measure(None)
    rows = [
        ["all images", words.whole_number(view.number("results", model, "n")), *_cells(
            view, base, view.overall(view.before), base.overall(there) if base else nothing, view.overall(model)
        )]
    ]  # fmt: skip
    for attribute in view.attributes:
        for group in view.groups(attribute):
            then = base.group(there, attribute, group) if base else nothing
            dense = view.group(view.before, attribute, group)
            cells = _cells(view, base, dense, then, view.group(model, attribute, group))
            rows.append([f"{attribute}: {group}", words.whole_number(view.n(attribute, group)), *cells])
    return Table("Accuracy", [Column("Group"), Column("Images", "number"), *_columns(view, base, "%")], rows)


def _gaps(view: View, base: View | None, model: str) -> Table | None:
    there = _counterpart(base, view, model)
    rows = [
        [attribute, *_cells(
            view, base, view.gap(view.before, attribute), base.gap(there, attribute) if base else Measure(None),
            view.gap(model, attribute),
        )]
        for attribute in view.attributes
    ]  # fmt: skip
    return Table("Gaps", [Column("Attribute"), *_columns(view, base, "points")], rows) if rows else None
