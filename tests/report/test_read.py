"""A report that says pass against its own figures is not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli import report
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.report.read import contradiction, read_report
from fairprune_cli.report.view import View
from tests.support import reports as fixture
from tests.support.reports import full

GATE = {
    "name": "max-gap skin", "metric": "max-gap", "attribute": "skin", "bound": 0.1, "value": 0.05, "low": 0.02,
    "high": 0.08, "verdict": "pass", "reason": "the whole interval lies within the bound",
}  # fmt: skip
SMALL = {"small_groups": [{"group": "dark", "n": 29, "of": "images"}]}


@pytest.mark.parametrize(
    ("verdict", "change", "expected"),
    [
        ("pass", {}, ""),
        ("fail", {"verdict": "fail"}, ""),
        ("pass", {"verdict": "fail"}, "did not pass"),
        ("pass", {"high": 0.2}, "does not lie within the bound"),
        ("fail", {"high": 0.2}, "does not lie within the bound"),
        ("pass", {"high": 0.2, "point_estimate": True}, ""),
        ("pass", {"value": None}, "has no figure"),
        ("pass", SMALL, "nobody allowed"),
        ("pass", {**SMALL, "allow_small_groups": True}, ""),
        ("pass", None, "there is no gate"),
        ("none", None, ""),
    ],
)
def test_verdicts_that_the_figures_deny(
    verdict: str, change: dict[str, Any] | None, expected: str, tmp_path: Path
) -> None:
    document = {"schema_version": 1, "verdict": verdict, "gates": [] if change is None else [GATE | change]}
    assert expected in contradiction(document)
    assert bool(contradiction(document)) == bool(expected)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    if expected:
        with pytest.raises(FairpruneError, match="contradicts itself"):
            read_report(path)
    else:
        assert read_report(path) == document


@pytest.mark.parametrize(("key", "denied"), [("", True), ("allow_small_groups", False), ("ungrouped_dropped", False)])
def test_images_in_no_group_are_left_out_by_somebodys_word_alone(key: str, denied: bool) -> None:
    gate = GATE | {"ungrouped": 7} | ({key: True} if key else {})
    found = contradiction({"schema_version": 1, "verdict": "pass", "gates": [gate]})
    assert ("images are in no group" in found) is denied


def answers(better: bool, accuracy: float = 0.6, fits_better: tuple[str, ...] = ()) -> dict[str, Any]:
    answer = {"better": better, "accuracy": accuracy, "share": 0.5, "fits_better": list(fits_better)}
    return {"results": {"model": {"constant_answer": answer}}}


@pytest.mark.parametrize(
    ("results", "bare", "denied"),
    [
        (answers(True), False, False), (answers(False), False, True), (answers(False), True, False),
        (answers(False, 0.4), True, True), (answers(False, 0.6, ("b", "a")), True, True),
    ],
)  # fmt: skip
def test_a_model_at_chance_level_passes_nothing(results: dict[str, Any], bare: bool, denied: bool) -> None:
    gate = GATE | {"point_estimate": bare}
    found = contradiction({"schema_version": 1, "verdict": "pass", "gates": [gate], **results})
    assert ("not better than one answer" in found) is denied
    gates = [gate | {"model": "model", "task": "b"}]
    tasks = {"a": answers(True), "b": results}
    found = contradiction({"schema_version": 1, "verdict": "pass", "gates": gates, "task": "a", "tasks": tasks})
    assert ("not better than one answer" in found) is denied


def test_a_key_that_stands_twice_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"schema_version": 1, "verdict": "fail", "gates": [], "verdict": "none"}')
    with pytest.raises(FairpruneError, match="'verdict' stands twice"):
        read_report(path)


def test_a_view_takes_the_worse_of_two_verdicts() -> None:
    assert View(full() | {"verdict": "pass"}).verdict == "fail"
    assert View({"verdict": "pass", "gates": []}).verdict == "none"
    assert View({"verdict": "inconclusive", "gates": [GATE]}).verdict == "inconclusive"


@pytest.mark.parametrize("to", ["md", "html", "json", "junit", "github", "card"])
@pytest.mark.parametrize("verdict", ["pass", "inconclusive"])
def test_every_format_names_the_groups_that_a_gate_left_out(to: str, verdict: str) -> None:
    told = "left out as was asked for, fewer than 30: dark (29 images)"
    gate = GATE | SMALL | {"allow_small_groups": True, "verdict": verdict, "reason": f"{GATE['reason']}; {told}"}
    document = fixture.full() | {
        "verdict": verdict, "gates": [gate], "leniency": ["without these groups of skin: dark (29 images)"]
    }  # fmt: skip
    text = report.render(document, to)
    assert "fewer than 30: dark (29 images)" in text.replace("\\", "")
    assert "without these groups of skin: dark (29 images)" in text.replace("\\", "")


def test_a_nested_report_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"schema_version": 1, "config": ' + '{"a":' * 900 + "1" + "}" * 901)
    with pytest.raises(FairpruneError, match="nested more than 40 deep"):
        read_report(tmp_path)
