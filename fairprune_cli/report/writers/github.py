"""GitHub Actions: annotations for gates that did not pass, and a step summary within its size limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.report import as_markdown, words
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Document
from fairprune_cli.report.sections.gates import bound, measured
from fairprune_cli.report.sections.verdict import gate_name
from fairprune_cli.report.view import Gate, View

ALSO = ("annotations",)

LIMIT = 1_000_000  # bytes; GitHub refuses a step summary above 1 MiB as a whole
_LEVELS = {
    "fail": ("error", "failed"), "inconclusive": ("warning", "is inconclusive"), "pass": ("notice", "passed in part"),
}  # fmt: skip
_IN_SUMMARY = ("verdict", "model-itself", "gates", "groups", "gaps", "degradation", "size", "warnings")


def write(report: Mapping[str, Any]) -> str:
    """Annotations first, one a line, then the summary. On stdout GitHub takes the former out of the log."""
    lines = annotation_lines(View(report))
    return "\n".join([*lines, *([""] if lines else []), summary(build_document(report))])


def annotation_lines(view: View) -> list[str]:
    """Lines for the log of a workflow.

    `::error` for every failed gate, `::warning` for every inconclusive one and for a model at chance level; `::notice`
    for what a pass left out.
    """
    lines = [
        _annotation(gate, view.positive_of(gate.notion))
        for gate in view.gates
        if gate.verdict != "pass" or gate.partial
    ]
    lines += [f"::warning title=fairprune{_property(': ')}chance level::{_data(text)}" for text in view.doubts]
    if view.leniency:
        lines.append(f"::notice title={_property('fairprune verdict')}::{_data(view.leniency)}")
    return lines


def summary(document: Document, room: int = LIMIT) -> str:
    """The parts that a reviewer needs, as Markdown for GITHUB_STEP_SUMMARY, in `room` bytes; what is too long is named.

    Empty where there is no room even for that.
    """
    text = f"## {as_markdown.escaped(document.title)}\n\n"
    sections = [section for section in document.sections if section.name in _IN_SUMMARY]
    text = as_markdown.in_room(text, sections, room, "too long for a step summary: {}.")
    return text if len(text.encode()) <= room else ""


def _annotation(gate: Gate, positive: str) -> str:
    level, verb = _LEVELS[gate.verdict]
    message = f"{gate.name}: measured {measured(gate)}, interval {words.span(gate.measure)}, bound {bound(gate)}."
    if gate.reason:
        message += f" {words.sentence(gate.reason)}"
    if positive:
        message += f" {positive}"
    title = f"fairprune gate {verb}: {gate_name(gate)}"
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
