"""What the report says of thresholds of groups."""

from __future__ import annotations

from typing import Any

import pytest

from fairprune_cli.report.document import Note, Section, Table
from fairprune_cli.report.sections import group_thresholds
from fairprune_cli.report.view import View


def both(common: float, own: float) -> dict[str, Any]:
    return {name: {"value": v, "low": v - 0.02, "high": v + 0.02} for name, v in (("common", common), ("own", own))}


def change(value: float, n: int) -> dict[str, Any]:
    return {"change": value, "low": value - 0.01, "high": value + 0.01, "n": n}


def report(judged: bool, bias: float) -> dict[str, Any]:
    points = {
        "attribute": "gender", "judged": judged, "fitted_notion": "odds", "fitted_tolerance": 0.02, "notion": "odds",
        "fitted": {
            "m": {"images": 60, "biases": {"no": 0.0, "yes": 0.0}},
            "f": {"images": 40, "biases": {"no": 0.0, "yes": -bias}},
        },
        "accuracy": both(0.9, 0.89), "change": change(-0.01, 300),
        "groups": {"m": {"n": 200, "accuracy": both(0.92, 0.92), "change": change(0.0, 200)},
                   "f": {"n": 100, "accuracy": both(0.86, 0.83), "change": change(-0.03, 100)}},
        "gaps": {"odds": both(0.08, 0.03), "accuracy": both(0.06, 0.09)},
        "rates": [{"rate": "predicted yes among images labelled yes", "of": "images labelled yes",
                   "groups": {"m": both(0.9, 0.9), "f": both(0.82, 0.88)}}],
    }  # fmt: skip
    classes = {"classes": ["no", "yes"], "attributes": [{"name": "gender", "groups": ["m", "f"]}]}
    return {"results": {"dense": {"accuracy": 0.9}}, "data": classes, "group_thresholds": {"dense": points}}


def built(judged: bool = False, bias: float = 0.5) -> Section:
    section = group_thresholds.build(View(report(judged, bias)))
    assert section is not None
    return section


def test_each_group_stands_with_both_thresholds_and_the_law_with_them() -> None:
    section = built()
    assert "may be unlawful" in " ".join(section.lead)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0] for row in tables[0].rows] == ["all images", "m", "f"]
    assert tables[0].rows[2][1:] == [
        "100", "86.0 (84.0\u00a0to\u00a088.0)", "83.0 (81.0\u00a0to\u00a085.0)", "−3.0 (−4.0\u00a0to\u00a0−2.0)"
    ]  # fmt: skip
    assert [row[0] for row in tables[1].rows] == ["Accuracy", "True and false positives (odds)"]
    assert tables[2].rows[1][:2] == ["predicted yes among images labelled yes", "f"]
    assert tables[2].note == "yes counts as positive."
    assert [list(row) for row in tables[3].rows] == [["m", "60", "0.000"], ["f", "40", "−0.500"]]


@pytest.mark.parametrize(("judged", "said"), [(True, "are those with them"), (False, "are those without them")])
def test_it_says_which_threshold_everything_else_is_about(judged: bool, said: str) -> None:
    notes = [block.text for block in built(judged).blocks if isinstance(block, Note)]
    assert said in notes[0]
    assert "at most 2.0" in notes[0]


def test_it_says_where_no_group_needed_one() -> None:
    notes = [block.text for block in built(bias=0.0).blocks if isinstance(block, Note)]
    assert "all keep the common one" in notes[0]


def test_what_is_no_record_is_left_out() -> None:
    results = {"dense": {"accuracy": 0.9}}
    assert group_thresholds.build(View({"results": results, "group_thresholds": {"dense": 3}})) is None
    bare = {"groups": [], "rates": [1], "fitted": {"a": 1}, "gaps": {"odds": 2}, "change": None}
    assert group_thresholds.build(View({"results": results, "group_thresholds": {"dense": bare}})) is not None
