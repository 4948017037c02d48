"""SARIF 2.1.0, which code scanning reads: a result per gate, of which it shows those that did not pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fairprune_cli.report import words
from fairprune_cli.report.sections.gates import bound, measured
from fairprune_cli.report.sections.verdict import gate_name, verdict_sentence
from fairprune_cli.report.view import Gate, View

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"fail": "error", "inconclusive": "warning"}
NOT_JUDGED = "verdict"
_RULES = {NOT_JUDGED: "the verdict of the whole report, where no gate says it"}


def write(report: Mapping[str, Any]) -> str:
    """One run of one tool. Failed gates are errors, inconclusive ones warnings, passed ones have the kind `pass`.

    A report without gates has a warning: without a result it would look like one that passed.
    """
    view = View(report)
    results = [_of_gate(gate, view) for gate in view.gates]
    shown = {gate.verdict for gate in view.gates}
    if not view.gates or (view.verdict != "pass" and view.verdict not in shown):
        level = "error" if view.verdict == "fail" else "warning"
        results.append(_result(NOT_JUDGED, level, verdict_sentence(view), NOT_JUDGED, view))
    metrics = {gate.metric: f"gate {gate.metric}" for gate in view.gates}
    rules = [{"id": key, "shortDescription": {"text": text}} for key, text in {**_RULES, **metrics}.items()]
    driver: dict[str, Any] = {"name": "fairprune", "rules": rules}
    if version := view.text("tool_version"):
        driver["version"] = version
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _of_gate(gate: Gate, view: View) -> dict[str, Any]:
    text = f"{gate.name} ({gate_name(gate)}): {gate.verdict}. Measured {measured(gate)}, interval "
    text += f"{words.span(gate.measure)}, bound {bound(gate)}."
    text += f" {words.sentence(gate.reason)}" if gate.reason else ""
    return _result(gate.metric, _LEVELS.get(gate.verdict, "none"), text, gate.name, view)


def _result(rule: str, level: str, text: str, name: str, view: View) -> dict[str, Any]:
    """A level other than "none" goes with the kind fail alone, as the standard wants it."""
    place = view.text("policy", "source") or view.text("data", "manifest") or view.text("model", "source")
    return {
        "ruleId": rule, "level": level, "kind": "pass" if level == "none" else "fail", "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": _uri(place or "report.json")}, "region": {"startLine": 1},
        }}],
        "partialFingerprints": {"fairpruneGate/v1": name},
    }  # fmt: skip


def _uri(place: str) -> str:
    """A path as a URI: relative where it lies below the working directory, which is the repository in a job."""
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
