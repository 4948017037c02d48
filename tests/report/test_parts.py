"""The parts under the report: words for numbers, plain JSON, axes, figures, and the schema."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fairprune_cli import report
from fairprune_cli.report import words
from fairprune_cli.report.document import Bar, Bars, BoundLine, Column, Dot, DotRow, Dots, Line, Lines, Table
from fairprune_cli.report.figures import axes, curves, plots
from fairprune_cli.report.plain import plain
from fairprune_cli.report.values import Measure, measure, natural, ordered, settings
from fairprune_cli.report.view import View
from tests.support import reports as fixture

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))


def bare(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.percent(0.9184), "91.8 %"),
        (words.percent(None), "–"),
        (words.percent(0.95, 0), "95 %"),
        (words.points(0.01), "1.0 point"),
        (words.points(-0.0123, sign=True), "−1.2 points"),
        (words.points(0.0123, sign=True), "+1.2 points"),
        (words.signed(-0.0001), "0.0"),
        (words.signed(0.0001), "0.0"),
        (words.whole_number(1234567), "1 234 567"),
        (words.compact(4_903_234), "4.90 M"),
        (words.compact(999_700), "1.00 M"),
        (words.compact(12), "12"),
        (words.size(19_640_312), "19.6 MB"),
        (words.size(999), "999 bytes"),
        (words.seconds(1284.2), "21 min 24 s"),
        (words.seconds(59.999), "60.0 s"),
        (words.seconds(7322), "2 h 2 min"),
        (words.milliseconds(6.314), "6.31 ms"),
        (words.times(20, 4, "smaller", "larger"), "5.0 times smaller"),
        (words.times(4, 20, "smaller", "larger"), "5.0 times larger"),
        (words.times(20, 20, "smaller", "larger"), "the same"),
        (words.times(0, 20, "smaller", "larger"), "–"),
        (words.join(["a", "b", "c"]), "a, b and c"),
        (words.join([]), ""),
        (words.estimate(Measure(0.918, 0.901, 0.932)), "91.8 (90.1 to 93.2)"),
        (words.estimate(Measure(-0.01, -0.02, 0.003), sign=True), "−1.0 (−2.0 to 0.3)"),
        (words.estimate(Measure(None, why="too few")), "undefined"),
        (words.estimate(Measure(0.0, 0.0, 0.1)), "0.0 (0.0 to 10.0)"),
        (words.shown([True, None, {"a": 1}]), "yes, –, a: 1"),
        (words.sentence("why"), "why."),
        (words.sentence("why?"), "why?"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert bare(text) == expected


def test_reasons_join_the_names_that_share_one() -> None:
    few, none = Measure(None, why="too few"), Measure(None, why="none at all")
    text = words.reasons([("a", few), ("b", none), ("c", few), ("a", few), ("d", Measure(0.5))])
    assert text == "Undefined for a and c: too few. Undefined for b: none at all."


@given(st.floats(-1, 1))
def test_points_never_show_a_negative_zero_and_keep_the_value(value: float) -> None:
    text = words.points(value)
    assert not text.startswith("−0.0\u00a0")
    assert float(text.split("\u00a0")[0].replace("−", "-")) == pytest.approx(100 * value, abs=0.0501)


# --- plain and view ---------------------------------------------------------------------------------------


def test_plain_takes_arrays_paths_and_sets_and_refuses_what_json_cannot_hold() -> None:
    value = {"a": np.float32(0.5), "b": np.array([[1, 2]]), "c": Path("x/y"), "d": {2, 1}, 3: (True, None)}
    assert plain(value) == {"a": 0.5, "b": [[1, 2]], "c": "x/y", "d": [1, 2], "3": [True, None]}
    assert plain({"a": np.float64("nan")}) == {"a": None, "a_undefined": "not a finite number"}
    with pytest.raises(TypeError):
        plain({"a": object()})


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(trees)
def test_plain_is_always_writable_and_needs_no_second_pass(value: Any) -> None:
    once = plain(value)
    json.dumps(once, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert plain(once) == once


def test_groups_stand_in_the_order_a_person_expects() -> None:
    names = ["60-120", "100", "<30", "9", "30-60", "b 10", "b 9"]
    assert sorted(names, key=natural) == ["9", "<30", "30-60", "60-120", "100", "b 9", "b 10"]


def test_measures_are_read_flat_or_nested_and_keep_the_reason() -> None:
    assert measure({"gap": 0.1, "gap_low": 0, "gap_high": 1}, "gap", "gap_low", "gap_high") == Measure(0.1, 0.0, 1.0)
    assert measure({"odds": {"value": 0.1, "low": 0.0, "high": 0.2}}, "odds") == Measure(0.1, 0.0, 0.2)
    assert measure({"odds": None, "odds_undefined": "why"}, "odds") == Measure(None, why="why")
    assert measure({"odds": True}, "odds") == Measure(None)


def test_reasons_of_undefined_values_are_not_taken_for_names() -> None:
    view = View({"training": [{"exact_gap": {"age": None, "age_undefined": "no image"}}]})
    assert ordered(view.training[0]["exact_gap"]) == ["age"]
    assert ordered({"x_undefined": 1.0}) == ["x_undefined"]


def test_settings_are_read_with_and_without_sources() -> None:
    assert settings({"b": {"value": 1, "source": "flag"}, "a": {"c": 2, "d": {"e": [3]}}}) == [
        ("a.c", 2, ""),
        ("a.d.e", [3], ""),
        ("b", 1, "flag"),
    ]


def test_a_table_with_a_ragged_row_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        Table("t", [Column("a")], [["1", "2"]])


# --- figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [6, 7, 30, 300])
def test_ticks_of_epochs_are_whole_and_evenly_spaced(last: int) -> None:
    found = axes.ticks(1, last, 8)
    assert all(tick == round(tick) for tick in found)
    assert len({b - a for a, b in itertools.pairwise(found)}) == 1


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = axes.ticks(low, high, most)
    assert 0 < len(found) <= most + 1 or span < 1e-9 * max(abs(low), 1)
    slack = 1e-6 * span
    assert all(low - slack <= tick <= high + slack for tick in found)
    steps = np.diff(found)
    if len(steps):
        digits = steps[0] / 10 ** math.floor(math.log10(steps[0] * (1 + 1e-9)))
        assert min(abs(digits - round_) for round_ in (1, 2, 5, 10)) < 1e-3


fractions = st.floats(0, 1)
estimates = st.tuples(fractions, fractions, fractions).map(lambda three: sorted(three))


@given(st.lists(estimates, max_size=6), st.sampled_from(["percent", "points"]), st.sampled_from([350, 888]))
def test_dots_stay_inside_the_picture(rows: list[list[float]], unit: Any, width: int) -> None:
    figure = Dots(
        [DotRow("<g>", "", [Dot(1, value, low, high, "&")]) for low, value, high in rows],
        ["dense", "pruned"],
        unit,
        [BoundLine(0.5, "bound")],
        from_zero=unit == "points",
    )
    picture = ElementTree.fromstring(plots.svg(figure, "a < b", width))
    height = float(picture.get("height", "0"))
    circles = list(picture.iter("circle"))
    assert len(circles) == len(rows)
    for circle in circles:
        assert 0 <= float(circle.get("cx", "-1")) <= width
        assert 0 <= float(circle.get("cy", "-1")) <= height


def test_dots_are_placed_on_the_scale_of_their_axis() -> None:
    rows = [DotRow(name, "", [Dot(0, value, None, None, name)]) for name, value in (("a", 0.2), ("b", 0.4), ("c", 0.8))]
    picture = ElementTree.fromstring(plots.svg(Dots(rows, ["m"], "percent"), "t", 888))
    a, b, c = (float(circle.get("cx", "0")) for circle in picture.iter("circle"))
    assert (c - a) == pytest.approx(3 * (b - a), abs=0.5)
    labels = {text.text: float(text.get("x", "0")) for text in picture.iter("text") if text.get("class") == "tick"}
    assert labels["40"] == pytest.approx(b, abs=0.2)


@given(st.lists(st.none() | st.floats(-1, 2), min_size=1, max_size=40), st.sampled_from([350, 888]))
def test_curves_are_broken_where_there_is_no_value(ys: list[float | None], width: int) -> None:
    figure = Lines([Line("x", list(range(len(ys))), ys, 1)], "points", "epoch", [BoundLine(0.02, "tolerance")])
    picture = ElementTree.fromstring(plots.svg(figure, "t", width))
    path = next(p.get("d", "") for p in picture.iter("path") if p.get("class") == "curve")
    runs = sum(y is not None and (i == 0 or ys[i - 1] is None) for i, y in enumerate(ys))
    assert path.count("M") == runs
    assert path.count("M") + path.count("L") == sum(y is not None for y in ys)


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    figure = Lines([Line("x", list(range(5000)), [i / 5000 for i in range(5000)], 1)], "points", "epoch")
    picture = ElementTree.fromstring(plots.svg(figure, "t", 888))
    path = next(p.get("d", "") for p in picture.iter("path") if p.get("class") == "curve")
    assert path.count("L") <= curves.MOST_POINTS + 1
    right = max(float(piece.split(" ")[0]) for piece in path[1:].split("L"))
    assert right == pytest.approx(888 - 14, abs=0.2)


def test_bars_are_as_long_as_their_share_and_grow_past_the_whole() -> None:
    figure = Bars([Bar("half", 0.5, "1 of 2"), Bar("more", 1.5, "3 of 2"), Bar("none", 0.0, "0")])
    picture = ElementTree.fromstring(plots.svg(figure, "t", 888))
    half, more, none = (float(r.get("width", "0")) for r in picture.iter("rect") if r.get("class") == "bar")
    assert more == pytest.approx(3 * half, rel=0.01)
    assert none == 1.0


def test_text_is_cut_to_its_room_with_the_whole_in_its_hint() -> None:
    name = "features.denseblock4.denselayer16.conv2.weight"
    text = ElementTree.fromstring(axes.svg_text(0, 0, name, "start", "label", 80, tail=True))
    assert text.findtext("title") == name
    assert "".join(text.itertext()).endswith("…nv2.weight")


# --- schema -----------------------------------------------------------------------------------------------


def test_the_schema_is_a_schema_and_takes_our_reports() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for document in (fixture.full(), fixture.audit_only(), fixture.several()):
        errors = [f"{e.json_path}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(plain(document))]
        assert errors == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "maybe"),
        (("schema_version",), 2),
        (("gates", 0, "verdict"), "none"),
        (("gates", 3, "verdict"), "pass"),
        (("results", "pruned", "accuracy"), 91.2),
        (("results", "pruned", "accuracy"), None),
        (("results", "pruned", "attributes", "age", "groups", "0-20", "n"), -1),
        (("results", "pruned", "attributes", "age", "gap"), None),
        (("degradation", "age", "groups", "0-20", "change"), None),
        (("sparsity", "granularity"), "row"),
        (("model", "sha256"), "abc"),
        (("warnings", 0), "text"),
        (("results", "pruned", "calibration", "ece"), None),
        (("examples",), {"per_group": 1, "root": "", "lost": {}, "pictures": {"a": "https://x/y.png"}}),
        (("config", "lr"), 0.1),
    ],
)
def test_the_schema_refuses_what_the_report_must_not_hold(path: tuple[Any, ...], value: Any) -> None:
    document = plain(fixture.full())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not Draft202012Validator(SCHEMA).is_valid(document)


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_the_schema_and_the_writers_take_what_an_audit_writes(classes: tuple[str, ...]) -> None:
    from fairprune_cli.audit import to_json
    from fairprune_cli.audit.gates import GatePolicy
    from fairprune_cli.audit.judging import evaluate
    from fairprune_cli.audit.result import AuditResult

    size, groups = len(classes), ("m", "f", "few")
    right = np.array([[90, 80, 2], [85, 60, 2]])  # by model and group, of 100, 100 and 3 images of every class
    of = np.array([100, 100, 3])
    counts = right[:, :, None, None] * np.eye(size, dtype=np.int64)
    counts[:, :, np.arange(size), np.roll(np.arange(size), 1)] += (of - right)[:, :, None]
    pair = np.array([[[of[g] - right[0, g], 0], [right[0, g] - right[1, g], right[1, g]]] for g in range(3)]) * size
    by_model = dict(zip(("dense", "pruned"), counts, strict=True))
    result = AuditResult(
        classes,
        {"gender": groups},
        {name: table.sum(0) for name, table in by_model.items()},
        {name: {"gender": table} for name, table in by_model.items()},
        {"pruned": pair.sum(0)},
        {"pruned": {"gender": pair}},
        {"gender": 4},
    )
    figures = result.figures()
    document = fixture.audit_only() | to_json.audit_record(figures)
    gates, document["verdict"] = evaluate(figures, GatePolicy(max_gap=0.05, max_degradation=0.3, min_accuracy=0.6))
    document["gates"] = [to_json.gate_record(gate) for gate in gates]
    errors = [f"{e.json_path}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(plain(document))]
    assert errors == []
    text = bare(report.render(document, "md"))
    assert "gender: accuracy differs between groups by up to 25.0 points" in text
    assert "m at 85.0 % against f at 60.0 %; in the dense model the gap is 10.0 points" in text
    assert f"| f | {100 * size} | {20 * size}; 20.0 (" in text
    assert "| 0 | −20.0 (" in text
    assert "Too few images to count in the gap: few. 4 images in none of these groups." in text
    assert "| max-gap gender | fail | 25.0 points |" in text
    rates = "True positives, pruned (%)" if size == 2 else "| Group | a | b | c |"
    assert rates in text
