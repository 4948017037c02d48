"""What came out, in words: the verdict, the main figures, and what one has to know to read them."""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Note, Section, Table, Tone
from fairprune_cli.report.values import Measure
from fairprune_cli.report.view import Gate, View

ORDER = 10
_TONES: dict[str, Tone] = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive", "none": "none"}


def build(view: View) -> Section | None:
    sentences = " ".join(text for text in (verdict_sentence(view), view.leniency) if text)
    blocks: list[Block] = [Note(sentences, _TONES[view.verdict])]
    for name, of in view.tasks.items():
        blocks += [Heading(name), *_summary(of)]
    if not view.tasks:
        blocks += _summary(view)
    elif size := _size(view):
        blocks.insert(1, Note(size))
    return Section("verdict", "Verdict", (), blocks)


def _summary(view: View) -> list[Block]:
    """The main figures of one task, in sentences and as a table."""
    blocks: list[Block] = [Note(text) for text in findings(view)]
    if positive := view.positive_of_gates:
        blocks.append(Note(positive, "aside"))
    blocks += [Note(str(text), "notice") for text in view.items("notices") if isinstance(text, str) and text]
    table = _glance(view)
    return blocks if table is None else [*blocks, table]


def verdict_sentence(view: View) -> str:
    """The verdict and the gates behind it, as one or two sentences."""
    gates = view.gates
    if not gates:
        return "No verdict: no gate was asked for, so these figures are not judged."
    by_verdict = {name: [gate for gate in gates if gate.verdict == name] for name in _TONES}
    if view.verdict == "pass":
        return f"Pass: {'the one gate' if len(gates) == 1 else f'all {len(gates)} gates'} passed."
    parts = [
        f"{len(by_verdict[name])} of {words.plural(len(gates), 'gate')} {verb}: "
        + words.join(gate_name(gate) for gate in by_verdict[name])
        for name, verb in (("fail", "failed"), ("inconclusive", "could not be decided"))
        if by_verdict[name]
    ]
    return f"{view.verdict.capitalize()}: {'; '.join(parts)}." if parts else f"{view.verdict.capitalize()}."


def gate_name(gate: Gate) -> str:
    """What the gate looks at, in words: gap (age)."""
    words_for = {
        "max-gap": "gap", "max-degradation": "loss by pruning", "max-churn": "changed predictions",
        "min-accuracy": "overall accuracy",
    }  # fmt: skip
    name = words_for.get(gate.metric.replace("_", "-"), gate.metric)
    name = f"{name} ({gate.attribute})" if gate.attribute else name
    name = f"{gate.task}: {name}" if gate.task else name
    return f"{name} of {gate.model}" if gate.model else name


def findings(view: View) -> list[str]:
    """The main figures as sentences, for every model and attribute the report knows."""
    if len(view.subjects) > 1:  # the table says it better than a page of sentences
        return [text for model in view.subjects if (text := _accuracy(view, model))]
    texts = [_accuracy(view, view.judged), *(_gap(view, attribute) for attribute in view.attributes), _size(view)]
    return [text for text in texts if text]


def _accuracy(view: View, model: str) -> str:
    if not view.models:
        return ""
    now, n = view.overall(model), view.number("results", model, "n")
    if now.value is None:
        return f"Overall accuracy is undefined: {words.sentence(now.why)}" if now.why else ""
    name = "model" if len(view.models) == 1 else f"{model} model"
    text = f"The {name} is right on {words.percent(now.value)}"
    text += f" of {words.plural(int(n), 'image')}" if n is not None else " of the images"
    text += f" (interval {words.span(now)})" if now.has_interval else ""
    before = view.overall("dense") if model != "dense" else view.overall("")
    return text + (f"; the dense model on {words.percent(before.value)}." if before.value is not None else ".")


def _gap(view: View, attribute: str) -> str:
    model = view.judged
    gap = view.gap(model, attribute)
    if gap.value is None:
        return f"{attribute}: the accuracy gap is undefined. {words.sentence(gap.why)}" if gap.why else ""
    text = f"{attribute}: accuracy differs between groups by up to {words.points(gap.value)}"
    text += f" (interval {words.span(gap)})" if gap.has_interval else ""
    best, worst = view.extremes(model, attribute)
    if best and worst and best[1] > worst[1]:
        text += f", {best[0]} at {words.percent(best[1])} against {worst[0]} at {words.percent(worst[1])}"
    before = view.gap(view.before, attribute)
    if before.value is not None:
        text += f"; in the dense model the gap is {words.points(before.value)}"
    if gap.low is not None and gap.low <= 0:
        text += ". The interval reaches zero, so chance alone could explain it"
    return f"{text}."


def _size(view: View) -> str:
    achieved = view.number("sparsity", "achieved")
    dense, now = view.number("size", "dense_bytes"), view.number("size", "file_bytes")
    text = f"{words.percent(achieved)} of the prunable parameters are gone" if achieved is not None else ""
    if dense is not None and now is not None:
        text += ", and the" if text else "The"
        text += f" file takes {words.size(now)} instead of {words.size(dense)}"
        text += f" ({words.times(dense, now, 'smaller', 'larger')})"
    return f"{text}." if text else ""


def _glance(view: View) -> Table | None:
    if not view.models:
        return None
    rows: list[list[str]] = []

    def add(name: str, measures: list[Measure], change: Measure) -> None:
        if any(m.value is not None or m.why for m in measures):
            row = [name, *(words.estimate(m) for m in measures)]
            if view.before:
                row.append(words.estimate(change, sign=True))
            rows.append(row)

    add("Accuracy, all images (%)", [view.overall(model) for model in view.models], view.change(""))
    for attribute in view.attributes:
        gaps, worst = ([of(view, model, attribute) for model in view.models] for of in (View.gap, View.worst))
        add(f"Accuracy gap, {attribute} (points)", gaps, view.change(attribute, of="gap_change"))
        add(f"Worst group, {attribute} (%)", worst, view.change(attribute, of="worst_change"))
    if not rows:
        return None
    columns = [
        Column("Measure"),
        *(Column(view.title(model), "number") for model in view.models),
    ]
    if view.before:
        columns.append(Column(f"{view.judged.capitalize()} − {view.before}", "number"))
    named = [(attribute, view.gap(model, attribute)) for attribute in view.attributes for model in view.models]
    interval = f"In brackets: {words.percent(view.confidence, 0)} intervals." if view.confidence else ""
    if interval and view.attributes:
        interval += (
            " That of a worst group allows for its having been picked, so it is not the one that stands beside the "
            "group's own name."
        )
    return Table("At a glance", columns, rows, " ".join(t for t in (interval, words.reasons(named)) if t))
