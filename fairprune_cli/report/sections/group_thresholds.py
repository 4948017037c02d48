"""What thresholds of groups do, beside the common threshold: accuracy, gaps and rates of each group."""

from __future__ import annotations

from typing import Any

from fairprune_cli.fairness import notions
from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Note, Section, Table
from fairprune_cli.report.values import Measure, measure, number
from fairprune_cli.report.view import View

ORDER = 54
BY_TASK = True
LAW = (
    "They need the group of each person at use, which the network does not know. To decide by a person's sex, race or "
    "another protected attribute may be unlawful whatever it is meant for, in employment and in credit above all: see "
    "docs/evidence.md, and ask a lawyer."
)
_COMMON, _OWN = "Common threshold (%)", "Groups' own (%)"


def build(view: View) -> Section | None:
    found = view.mapping("group_thresholds")
    blocks: list[Block] = []
    for model in [name for name in view.models if isinstance(found.get(name), dict)]:
        blocks += _of_model(view, model, found[model], len(view.models) > 1)
    if not blocks:
        return None
    lead = ["Beside the network the file holds a bias for each class and group, as thresholds of the groups.", LAW]
    return Section("group-thresholds", "Thresholds of groups", lead, blocks)


def _of_model(view: View, model: str, record: dict[str, Any], named: bool) -> list[Block]:
    attribute = str(record.get("attribute"))
    judged = record.get("judged") is True
    text = "All figures of this report, and its gates, are those with them" if judged else (
        "All other figures of this report, and its gates, are those without them: of the network as it is"
    )  # fmt: skip
    blocks: list[Block] = [
        Heading(f"{attribute}, {model}" if named else attribute),
        Note(f"{text}. {_sentence(record, attribute)}"),
    ]
    groups = view.order_groups(attribute, _mapping(record, "groups"))
    return [*blocks, _accuracies(record, groups, attribute), _gaps(record, attribute),
            *_rates(view, record, groups, attribute), _fitted(view, record, attribute)]  # fmt: skip


def _sentence(record: dict[str, Any], attribute: str) -> str:
    """What they were fitted for, and whether any group got one."""
    tolerance = number(record.get("fitted_tolerance"))
    within = "" if tolerance is None else f" to be at most {words.points(tolerance)}"
    aim = f"Fitted for the gap of {record.get('fitted_notion')} between groups of {attribute}{within}"
    biases = [bias for one in _mapping(record, "fitted").values() for bias in _mapping(one, "biases").values()]
    return f"{aim}." if any(biases) else f"{aim}, for which no group needed one of its own: all keep the common one."


def _mapping(owner: Any, key: str) -> dict[str, Any]:
    found = owner.get(key) if isinstance(owner, dict) else None
    return found if isinstance(found, dict) else {}


def _both(owner: Any, key: str = "accuracy") -> list[Measure]:
    """A figure at the common threshold and at the groups' own."""
    figures = _mapping(owner, key) if key else owner
    return [measure(figures, "common"), measure(figures, "own")]


def _row(name: str, images: float | None, owner: dict[str, Any]) -> list[str]:
    change = measure(_mapping(owner, "change"), "change")
    return [
        name, words.whole_number(images), *(words.estimate(m) for m in _both(owner)),
        words.NOTHING if change.value is None else words.estimate(change, sign=True),
    ]  # fmt: skip


def _accuracies(record: dict[str, Any], groups: list[str], attribute: str) -> Table:
    columns = [Column("Group"), Column("Images", "number"), Column(_COMMON, "number"), Column(_OWN, "number"),
               Column("Change (points)", "number")]  # fmt: skip
    rows = [_row("all images", number(_mapping(record, "change").get("n")), record)]
    of = _mapping(record, "groups")
    rows += [_row(group, number(of[group].get("n")), of[group]) for group in groups if isinstance(of.get(group), dict)]
    return Table(f"Accuracy with thresholds of {attribute}", columns, rows)


def _gaps(record: dict[str, Any], attribute: str) -> Table:
    columns = [Column("Gap"), Column("Common threshold (points)", "number"), Column("Groups' own (points)", "number")]
    known = _mapping(record, "gaps")
    keys = sorted((key for key in known if isinstance(known[key], dict)), key=lambda key: (_heading(key)[1], key))
    rows, why = [], []
    for key in keys:
        both = _both(known, key)
        rows.append([_heading(key)[0], *(words.estimate(m) for m in both)])
        why += [(_heading(key)[0], m) for m in both]
    return Table(f"Gaps with thresholds of {attribute}", columns, rows, words.reasons(why))


def _heading(key: str) -> tuple[str, int]:
    return ("Accuracy", 0) if key == "accuracy" else notions.heading(key.replace("_", "-"))


def _rates(view: View, record: dict[str, Any], groups: list[str], attribute: str) -> list[Table]:
    """The rates of the notion, in one table."""
    columns = [Column("Rate"), Column("Group"), Column(_COMMON, "number"), Column(_OWN, "number")]
    rates, rows = record.get("rates"), []
    for rate in [one for one in rates if isinstance(one, dict)] if isinstance(rates, list) else []:
        of = _mapping(rate, "groups")
        named = [(group, of[group]) for group in groups if isinstance(of.get(group), dict)]
        rows += [[str(rate.get("rate")), group, *(words.estimate(m) for m in _both(own, ""))] for group, own in named]
    note = view.positive_of(str(record.get("notion")))
    return [Table(f"Rates with thresholds of {attribute}", columns, rows, note, folded=True)] if rows else []


def _fitted(view: View, record: dict[str, Any], attribute: str) -> Table:
    """The biases themselves; of two classes one alone says it."""
    fitted = _mapping(record, "fitted")
    classes = view.order_classes({name for one in fitted.values() for name in _mapping(one, "biases")})
    shown = classes[1:] if len(classes) == 2 else classes
    columns = [Column("Group"), Column("Images fitted on", "number")]
    columns += [Column(f"Bias of {name}", "number") for name in shown]
    rows = []
    for group in view.order_groups(attribute, fitted):
        biases = [number(_mapping(_mapping(fitted, group), "biases").get(name)) for name in shown]
        cells = [words.NOTHING if bias is None else words.fixed(bias, 3) for bias in biases]
        rows.append([group, words.whole_number(number(_mapping(fitted, group).get("images"))), *cells])
    note = "What is added to the class's score; the class with the largest sum is predicted."
    return Table(f"Biases by {attribute}", columns, rows, note, folded=True)
