"""Who is better by how much, in a sentence per pair of methods: what a comparison is made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.compare.pairs import gap_title
from fairprune_cli.compare.statistics import BETTER, WORSE
from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Note, Section
from fairprune_cli.report.view import View

Data = Mapping[str, Any]
MOST = 24  # sentences; the tables of each target hold the others


def section(document: Data) -> list[Section]:
    """The part that a comparison opens with; none where nothing was compared."""
    notions = {(row["method"], repr(row["grid"])): row["notion"] for row in document["rows"]}
    # All targets of a pair beside each other.
    pairs = list(dict.fromkeys((one["label"], one["against"]) for one in document["comparisons"]))
    found = sorted(document["comparisons"], key=lambda one: pairs.index((one["label"], one["against"])))
    blocks: list[Block] = [
        Note(pair_sentence(one, notions.get((one["method"], repr(one["grid"])), ""))) for one in found[:MOST]
    ]
    if not blocks:
        return []
    if len(found) > MOST:
        blocks.append(Note(f"{words.plural(len(found) - MOST, 'more pair')} in the tables below.", "aside"))
    lead = [
        "Pairs are compared on the same seeds, in points; in brackets stands the interval. Where it holds zero, these "
        "seeds do not tell the two apart.",
    ]
    if positive := View({"data": document["data"]}).positive_of(*(str(notion) for notion in notions.values())):
        lead.append(positive)
    return [Section("pairs", "Who is better", lead, blocks)]


def pair_sentence(one: Data, notion: str) -> str:
    """bifp against magnitude, channel 0.8: gap of gender 4.0 points smaller (0.5 to 7.4); accuracy ..."""
    parts = []
    for attribute, entry in one["attributes"].items():
        # Gaps of two notions cannot be compared; then the gap of accuracies was.
        made, name = (entry["notion_gap"], gap_title([notion])) if entry.get("notion_gap") else (entry["gap"], "gap")
        parts.append(_clause(f"{name} by {attribute}", made, "smaller", "larger"))
    parts.append(_clause("accuracy", one["accuracy"], "lower", "higher"))
    return f"{one['label']} against {one['against']}, {one['granularity']} {one['sparsity']:g}: {'; '.join(parts)}."


def _clause(name: str, made: Data, less: str, more: str) -> str:
    mean, low, high = made["mean"], made["low"], made["high"]
    if mean is None:
        return f"{name} {made['statement']}"
    if made["statement"] not in (BETTER, WORSE):
        text = f"{name} {made['statement']}, {words.points(mean, sign=True)}"
        return text if low is None else f"{text} ({words.signed(low)}{words.SPACE}to{words.SPACE}{words.signed(high)})"
    ends = (low, high) if mean > 0 else (-high, -low)
    span = f"{words.fixed(100 * ends[0])}{words.SPACE}to{words.SPACE}{words.fixed(100 * ends[1])}"
    return f"{name} {words.points(abs(mean))} {more if mean > 0 else less} ({span})"
