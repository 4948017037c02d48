from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.audit import intervals
from fairprune_cli.audit.gates import GatePolicy, GateResult, evaluate, exit_code, verdict
from fairprune_cli.core.errors import ExitCode, FairpruneError


def attribute(gap: float | None, low: float | None, high: float | None, **extra: Any) -> dict[str, Any]:
    figure = {"value": 0.3, "low": 0.2, "high": 0.4, "small_groups": []}
    record: dict[str, Any] = {
        "groups": {"male": {"n": 900}, "female": {"n": 400}},
        "gap": gap,
        "gap_low": low,
        "gap_high": high,
        "small_groups": [],
        "metrics": {"parity": figure, "opportunity": figure, "odds": None, "odds_undefined": "no positives"},
    }
    return record | extra


def document(
    gap: float | None = 0.05, low: float | None = 0.03, high: float | None = 0.08, **extra: Any
) -> dict[str, Any]:
    dense = {
        "accuracy": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 1300,
        "attributes": {"gender": attribute(0.9, 0.8, 1.0)},
    }
    pruned = {
        "accuracy": 0.9, "low": 0.88, "high": 0.92, "n": 1300,
        "attributes": {"gender": attribute(gap, low, high, **extra)},
    }  # fmt: skip
    loss = attribute(0.02, 0.0, 0.05, largest={"value": 0.04, "low": 0.01, "high": 0.06, "group": "female"})
    return {"results": {"dense": dense, "pruned": pruned}, "degradation": {"gender": loss}}


def only(found: tuple[list[GateResult], str]) -> GateResult:
    ((gate,), overall) = found
    assert gate.verdict == overall
    return gate


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (0.01, "fail"),
        (0.029, "fail"),
        (0.03, "inconclusive"),
        (0.06, "inconclusive"),
        (0.08, "pass"),
        (0.5, "pass"),
    ],
)
def test_max_gap(bound: float, expected: str) -> None:
    gate = only(evaluate(document(), GatePolicy(max_gap=bound)))
    assert gate.verdict == expected
    assert (gate.name, gate.attribute, gate.bound) == ("max-gap gender", "gender", bound)
    assert (gate.value, gate.low, gate.high) == (0.05, 0.03, 0.08)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(0.93, "fail"), (0.92, "inconclusive"), (0.9, "inconclusive"), (0.88, "pass"), (0.1, "pass")],
)
def test_min_accuracy_judges_all_images(bound: float, expected: str) -> None:
    gate = only(evaluate(document(), GatePolicy(min_accuracy=bound)))
    assert gate.verdict == expected
    assert gate.attribute is None
    assert gate.name == "min-accuracy"


@pytest.mark.parametrize(("bound", "expected"), [(0.005, "fail"), (0.04, "inconclusive"), (0.07, "pass")])
def test_max_degradation_judges_the_largest_loss(bound: float, expected: str) -> None:
    assert only(evaluate(document(), GatePolicy(max_degradation=bound))).verdict == expected


def test_the_dense_model_is_judged_when_it_is_alone() -> None:
    alone = document()
    del alone["results"]["pruned"]
    assert only(evaluate(alone, GatePolicy(max_gap=0.1))).value == 0.9
    named = {"results": {"mine": alone["results"]["dense"]}}
    assert only(evaluate(named, GatePolicy(max_gap=0.1))).value == 0.9
    with pytest.raises(FairpruneError, match="which model"):
        evaluate({"results": {"a": {}, "b": {}}}, GatePolicy(max_gap=0.1))


@pytest.mark.parametrize(
    ("notion", "value"),
    [("accuracy", 0.05), ("worst-group", 0.05), ("degradation", 0.02), ("parity", 0.3), ("opportunity", 0.3)],
)
def test_max_gap_judges_the_chosen_notion(notion: str, value: float) -> None:
    gate = only(evaluate(document(), GatePolicy(max_gap=0.5, notion=notion)))
    assert gate.value == value
    assert ("worst-group" in gate.reason) == (notion == "worst-group")


def test_undefined_is_never_a_pass() -> None:
    gate = only(evaluate(document(), GatePolicy(max_gap=1.0, notion="odds")))
    assert gate.verdict == "inconclusive"
    assert "no positives" in gate.reason
    assert gate.to_dict()["value"] is None
    assert "no positives" in gate.to_dict()["value_undefined"]
    missing = document(None, None, None, gap_undefined="too few images")
    for bare in (False, True):
        gate = only(evaluate(missing, GatePolicy(max_gap=1.0, point_estimate=bare)))
        assert gate.verdict == "inconclusive"
        assert "too few images" in gate.reason


def test_degradation_without_a_dense_model_is_inconclusive() -> None:
    alone = document() | {"degradation": None, "degradation_undefined": "no dense model was audited"}
    for policy in (GatePolicy(max_degradation=1.0), GatePolicy(max_gap=1.0, notion="degradation")):
        gate = only(evaluate(alone, policy))
        assert gate.verdict == "inconclusive"
        assert "no dense model" in gate.reason


def test_a_gap_gate_without_attributes_is_inconclusive() -> None:
    bare = document()
    bare["results"]["pruned"]["attributes"] = {}
    assert only(evaluate(bare, GatePolicy(max_gap=1.0))).verdict == "inconclusive"
    assert evaluate(bare, GatePolicy()) == ([], "none")


def test_small_groups_are_named_in_the_reason() -> None:
    gate = only(evaluate(document(small_groups=["female"]), GatePolicy(max_gap=0.5)))
    assert gate.verdict == "pass"
    assert gate.reason.endswith("not judged, too few images: female")


def test_point_estimate_ignores_the_interval() -> None:
    for bound, expected in ((0.049, "fail"), (0.05, "pass"), (0.06, "pass")):
        gate = only(evaluate(document(), GatePolicy(max_gap=bound, point_estimate=True)))
        assert gate.verdict == expected
        assert "bare figure" in gate.reason


def test_one_gate_per_attribute_and_fail_beats_inconclusive() -> None:
    two = document()
    two["results"]["pruned"]["attributes"]["age"] = attribute(0.5, 0.4, 0.6)
    gates, overall = evaluate(two, GatePolicy(max_gap=0.06, min_accuracy=0.5))
    assert [(g.name, g.verdict) for g in gates] == [
        ("max-gap gender", "inconclusive"), ("max-gap age", "fail"), ("min-accuracy", "pass"),
    ]  # fmt: skip
    assert overall == "fail"
    assert verdict(gates[::2]) == "inconclusive"
    assert verdict(gates[2:]) == "pass"


def test_exit_codes() -> None:
    codes = {kind: exit_code(kind) for kind in ("pass", "none", "fail", "inconclusive")}
    assert codes == {
        "pass": ExitCode.OK, "none": ExitCode.OK,
        "fail": ExitCode.GATE_FAILED, "inconclusive": ExitCode.INCONCLUSIVE,
    }  # fmt: skip


def test_images_that_would_decide() -> None:
    # From .05 to the bound .06 with a half width of .03: nine times the images.
    gate = only(evaluate(document(), GatePolicy(max_gap=0.06)))
    assert gate.needed == 9 * 400
    assert gate.needed_of == "female"
    assert f"about {gate.needed} images of female instead of 400" in gate.reason
    assert gate.to_dict()["needed"] == gate.needed


def test_images_that_would_decide_are_rounded_up_to_two_digits() -> None:
    gate = only(evaluate(document(), GatePolicy(max_gap=0.0625)))  # 400 (0.03 / 0.0125)^2 = 2304
    assert gate.needed == 2400


def test_no_number_of_images_decides_a_tie() -> None:
    gate = only(evaluate(document(), GatePolicy(max_gap=0.05)))
    assert gate.needed is None
    assert "no number of images would decide" in gate.reason
    accuracy = only(evaluate(document(), GatePolicy(min_accuracy=0.9)))
    assert "no number of images would decide" in accuracy.reason


@pytest.mark.parametrize("bound", [0.03, 0.045, 0.075, 0.09])
def test_as_many_images_do_decide(bound: float) -> None:
    def judged(scale: float) -> GateResult:
        n = np.round(np.array([900, 400]) * scale)
        gap = intervals.pairwise(np.round(n * np.array([0.95, 0.89])), n)
        assert gap is not None
        made = document(gap.value, gap.low, gap.high)
        return only(evaluate(made, GatePolicy(max_gap=bound)))

    now = judged(1)
    assert now.verdict == "inconclusive"
    assert now.needed is not None
    assert judged(1.1 * now.needed / 400).verdict == ("pass" if bound > 0.06 else "fail")


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
    st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_looser_bound_never_judges_harder(interval: list[float], bounds: list[float], bare: bool) -> None:
    rank = {"fail": 0, "inconclusive": 1, "pass": 2}
    low, value, high = interval
    made = document(value, low, high)
    made["results"]["pruned"] |= {"accuracy": value, "low": low, "high": high}
    gap = [only(evaluate(made, GatePolicy(max_gap=b, point_estimate=bare))) for b in bounds]
    assert rank[gap[0].verdict] <= rank[gap[1].verdict]
    accuracy = [only(evaluate(made, GatePolicy(min_accuracy=b, point_estimate=bare))) for b in bounds]
    assert rank[accuracy[0].verdict] >= rank[accuracy[1].verdict]
    for gate in gap + accuracy:
        json.dumps(gate.to_dict(), allow_nan=False)
        if gate.verdict == "inconclusive":
            assert gate.needed is None or gate.needed > 400
        if bare:
            assert gate.verdict != "inconclusive"


def test_an_audit_with_other_settings_is_refused() -> None:
    made = document() | {"confidence": 0.9, "min_group": 30}
    with pytest.raises(FairpruneError, match=r"confidence 0\.9, the gates ask for 0\.95"):
        evaluate(made, GatePolicy(max_gap=0.1))
    assert evaluate(made, GatePolicy(max_gap=0.1, confidence=0.9))[1] == "pass"


def test_a_bad_policy_reports_every_problem_at_once() -> None:
    with pytest.raises(FairpruneError) as caught:
        GatePolicy(max_gap=5, min_accuracy=math.nan, min_group=0, confidence=95, notion="parety")
    text = str(caught.value)
    for flag in (
        "--max-gap is 5",
        "--min-accuracy is nan",
        "--min-group is 0",
        "--confidence is 95",
        "parity",
    ):
        assert flag in text
    assert caught.value.code == ExitCode.BAD_INPUT


def test_judging_leaves_the_document_alone() -> None:
    made = document()
    before = copy.deepcopy(made)
    evaluate(made, GatePolicy(max_gap=0.06, max_degradation=0.1, min_accuracy=0.8))
    assert made == before
