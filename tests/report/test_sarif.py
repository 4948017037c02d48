"""SARIF: what the standard requires, and that no report without a pass looks like one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fairprune_cli.report import render
from tests.support import reports as fixture

# What SARIF 2.1.0 and GitHub's code scanning require of a file such as this.
REQUIRED = {
    "type": "object", "required": ["version", "runs"], "properties": {
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {
            "required": ["tool", "results"], "properties": {
                "tool": {"required": ["driver"], "properties": {"driver": {
                    "required": ["name"], "properties": {"rules": {"type": "array", "items": {"required": ["id"]}}},
                }}},
                "results": {"type": "array", "items": {
                    "required": ["ruleId", "message", "locations"], "properties": {
                        "level": {"enum": ["none", "note", "warning", "error"]},
                        "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                        "message": {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
                        "locations": {"minItems": 1, "items": {"required": ["physicalLocation"]}},
                        "partialFingerprints": {"additionalProperties": {"type": "string"}},
                    },
                    # A level says how bad a failure is: of anything else there is none.
                    "if": {"properties": {"kind": {"not": {"const": "fail"}}}},
                    "then": {"properties": {"level": {"const": "none"}}},
                }},
            },
        }},
    },
}  # fmt: skip


def written(report: dict[str, Any]) -> list[dict[str, Any]]:
    document = json.loads(render(report, "sarif"))
    Draft202012Validator(REQUIRED).validate(document)
    (run,) = document["runs"]
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    found: list[dict[str, Any]] = run["results"]
    return found


def test_every_gate_is_a_result_of_its_level() -> None:
    report = fixture.full()
    levels = {"pass": "none", "fail": "error", "inconclusive": "warning"}
    found = {result["partialFingerprints"]["fairpruneGate/v1"]: result["level"] for result in written(report)}
    assert found == {gate["name"]: levels[gate["verdict"]] for gate in report["gates"]}


@pytest.mark.parametrize("verdict", ["none", "inconclusive", "fail", "unknown"])
def test_a_report_that_did_not_pass_is_never_silent(verdict: str) -> None:
    report = copy.deepcopy(fixture.full()) | {"gates": [], "verdict": verdict}
    (result,) = written(report)
    assert result["level"] == ("error" if verdict == "fail" else "warning")
    passed = [gate | {"verdict": "pass"} for gate in fixture.full()["gates"]]
    levels = [result["level"] for result in written(report | {"gates": passed})]
    assert levels.count("none") == len(passed) == len(levels) - 1


def test_paths_below_the_working_directory_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = {}
    for place in (tmp_path / "rules of ours.yaml", Path("/elsewhere/policy.yaml"), Path("policy.yaml")):
        result = written(fixture.full() | {"policy": {"source": str(place), "sha256": None}})[0]
        places[place.name, place.is_absolute()] = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert list(places.values()) == ["rules%20of%20ours.yaml", "file:///elsewhere/policy.yaml", "policy.yaml"]


def test_hostile_names_stay_text() -> None:
    written(fixture.hostile())
    written({})
