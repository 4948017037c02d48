"""JUnit XML for pipelines: a suite per metric and attribute, a case per gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from fairprune_cli.report import words
from fairprune_cli.report.sections.gates import bound, measured
from fairprune_cli.report.view import Gate, View

ALSO = ("xml",)


def write(report: Mapping[str, Any]) -> str:
    """Failed gates are failures, inconclusive ones are errors: neither can be taken for a pass."""
    view = View(report)
    gates = view.gates
    root = ElementTree.Element("testsuites", {"name": "fairprune", **_totals(gates)})
    suites: dict[tuple[str, str], list[Gate]] = {}
    for gate in gates:
        suites.setdefault((gate.metric, gate.attribute), []).append(gate)
    for (metric, attribute), members in suites.items():
        name = f"{metric} x {attribute}" if attribute else metric
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, **_totals(members)})
        properties = ElementTree.SubElement(suite, "properties")
        positive = view.positive_of(*(gate.notion for gate in members))
        for key, value in _properties(view, attribute, positive):
            ElementTree.SubElement(properties, "property", {"name": key, "value": value})
        for gate in members:
            _case(suite, gate)
    _add_doubts(root, view.doubts)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add_doubts(root: ElementTree.Element, doubts: list[str]) -> None:
    """A case per model that is not better than one answer to all images: without gates skipped, and never passed."""
    if not doubts:
        return
    totals = {"tests": str(len(doubts)), "failures": "0", "errors": "0", "skipped": str(len(doubts)), "time": "0"}
    suite = ElementTree.SubElement(root, "testsuite", {"name": "model", **totals})
    for text in doubts:
        case = ElementTree.SubElement(
            suite, "testcase", {"name": "better than one answer", "classname": "fairprune.model", "time": "0"}
        )
        ElementTree.SubElement(case, "skipped", {"message": text})
    for key in ("tests", "skipped"):
        root.set(key, str(int(root.get(key, "0")) + len(doubts)))


def _totals(gates: list[Gate]) -> dict[str, str]:
    return {
        "tests": str(len(gates)),
        "failures": str(sum(gate.verdict == "fail" for gate in gates)),
        "errors": str(sum(gate.verdict == "inconclusive" for gate in gates)),
        "skipped": "0",
        "time": "0",
    }


def _properties(view: View, attribute: str, positive: str) -> list[tuple[str, str]]:
    named = [
        ("tool_version", view.text("tool_version")),
        ("attribute", attribute),
        ("leniency", view.leniency),
        ("positive_class", positive),
        ("model_sha256", view.text("model", "sha256")),
        ("data_sha256", view.text("data", "sha256")),
    ]
    return [(key, value) for key, value in named if value]


def _case(suite: ElementTree.Element, gate: Gate) -> None:
    where = ".".join(part for part in ("fairprune", gate.metric, gate.attribute) if part)
    case = ElementTree.SubElement(suite, "testcase", {"name": gate.name, "classname": where, "time": "0"})
    figures = f"measured {measured(gate)}, interval {words.span(gate.measure)}, bound {bound(gate)}"
    if gate.verdict != "pass":
        tag = "failure" if gate.verdict == "fail" else "error"
        message = gate.reason or gate.measure.why or figures
        ElementTree.SubElement(case, tag, {"message": message, "type": gate.verdict}).text = figures
    else:
        told = f"{figures}; {gate.reason}" if gate.partial and gate.reason else figures
        ElementTree.SubElement(case, "system-out").text = told
