"""Gates on figures made by hand: on which side of the bound, what is undefined, and how many images would decide."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.audit import to_json
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.faithfulness_figures import (
    ChurnFigures,
    FaithfulnessFigures,
    PairedTestFigure,
    PartFigure,
    ShiftFigure,
)
from fairprune_cli.audit.figures import (
    AttributeFigures,
    AuditFigures,
    BinaryRates,
    ChangeFigure,
    DegradationFigures,
    Estimate,
    GapFigure,
    GroupFigures,
    Judgement,
    ModelFigures,
    ShareFigure,
    WorstFigure,
)
from fairprune_cli.audit.gates import GatePolicy, GateResult, verdict
from fairprune_cli.audit.judging import evaluate
from fairprune_cli.core.errors import FairpruneError

NOTHING = BinaryRates(ShareFigure(), ShareFigure(), ShareFigure())
SIZES = {"male": 900, "female": 400}


def attribute(gap: GapFigure) -> AttributeFigures:
    rates = GapFigure(0.3, 0.2, 0.4)
    gaps = {
        "accuracy": gap, "worst-group": replace(gap, against="whole"), "parity": rates, "opportunity": rates,
        "odds": GapFigure(why="no positives"), "degradation": GapFigure(0.02, 0.0, 0.05, compares="losses"),
    }  # fmt: skip
    groups = {name: GroupFigures(n, n, Estimate(1.0, 0.9, 1.0), NOTHING) for name, n in SIZES.items()}
    return AttributeFigures(groups, gap, gaps, WorstFigure(0.8, 0.7, 0.9, group="female"), 0)


def made(
    gap: float | None = 0.05, low: float | None = 0.03, high: float | None = 0.08, accuracy: Estimate | None = None,
    **extra: Any,
) -> AuditFigures:  # fmt: skip
    dense = ModelFigures(
        1300, 650, Estimate(0.5, 0.4, 0.6), {}, {"gender": attribute(GapFigure(0.9, 0.8, 1.0, compares="accuracies"))}
    )
    loss = DegradationFigures({}, GapFigure(0.02, 0.0, 0.05), WorstFigure(0.04, 0.01, 0.06, group="female"))
    pruned = ModelFigures(
        1300, 1170, accuracy or Estimate(0.9, 0.88, 0.92), {},
        {"gender": attribute(GapFigure(gap, low, high, compares="accuracies", **extra))},
        ChangeFigure(0.4, 0.3, 0.5), {"gender": loss},
    )  # fmt: skip
    return AuditFigures(Judgement(), {"dense": dense, "pruned": pruned})


def without_dense(figures: AuditFigures) -> AuditFigures:
    alone = replace(figures.models["pruned"], against_dense=None, degradation={})
    undefined = GapFigure(why="no dense model was audited", compares="losses")
    gender = alone.attributes["gender"]
    gender = replace(gender, gaps={**gender.gaps, "degradation": undefined})
    return replace(figures, models={"pruned": replace(alone, attributes={"gender": gender})})


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
    gate = only(evaluate(made(), GatePolicy(max_gap=bound)))
    assert gate.verdict == expected
    assert (gate.name, gate.attribute, gate.bound) == ("max-gap gender", "gender", bound)
    assert (gate.value, gate.low, gate.high) == (0.05, 0.03, 0.08)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(0.93, "fail"), (0.92, "inconclusive"), (0.9, "inconclusive"), (0.88, "pass"), (0.1, "pass")],
)
def test_min_accuracy_judges_all_images(bound: float, expected: str) -> None:
    gate = only(evaluate(made(), GatePolicy(min_accuracy=bound)))
    assert gate.verdict == expected
    assert gate.attribute is None
    assert gate.name == "min-accuracy"


@pytest.mark.parametrize(("bound", "expected"), [(0.005, "fail"), (0.04, "inconclusive"), (0.07, "pass")])
def test_max_degradation_judges_the_largest_loss(bound: float, expected: str) -> None:
    assert only(evaluate(made(), GatePolicy(max_degradation=bound))).verdict == expected


def with_churn(figures: AuditFigures, largest: WorstFigure) -> AuditFigures:
    """The pruned model with a churn of its groups."""
    part, p = PartFigure(0.1, 0.05, 0.15, images=130, n=1300), PairedTestFigure(0.5, 0.5)
    all_images = ChurnFigures(part, part, part, part, p, ShiftFigure(0.5, 0.5), part, Estimate(1.0, 0.9, 1.1))
    pruned = replace(
        figures.models["pruned"], churn=all_images, faithfulness={"gender": FaithfulnessFigures({}, largest)}
    )
    return replace(figures, models={**figures.models, "pruned": pruned})


@pytest.mark.parametrize(
    ("bound", "expected"), [(0.05, "fail"), (0.06, "inconclusive"), (0.1, "inconclusive"), (0.12, "pass")]
)
def test_max_churn_judges_the_largest_share_of_changed_predictions(bound: float, expected: str) -> None:
    figures = with_churn(made(), WorstFigure(0.08, 0.055, 0.12, group="female"))
    gate = only(evaluate(figures, GatePolicy(max_churn=bound)))
    assert (gate.verdict, gate.name, gate.value) == (expected, "max-churn gender", 0.08)
    bare = only(evaluate(figures, GatePolicy(max_churn=bound, point_estimate=True)))
    assert bare.verdict == ("pass" if bound >= 0.08 else "fail")


def test_churn_that_is_not_known_is_inconclusive() -> None:
    few = with_churn(made(), WorstFigure(why="no group has 30 images"))
    for figures, why in ((made(), "no dense model"), (few, "no group has 30 images")):
        gate = only(evaluate(figures, GatePolicy(max_churn=1.0)))
        assert gate.verdict == "inconclusive"
        assert why in gate.reason
    gates, _ = evaluate(few, GatePolicy(max_churn=1.0), ["age"])
    assert [(gate.attribute, gate.verdict) for gate in gates] == [("age", "inconclusive")]


def test_the_dense_model_is_judged_when_it_is_alone() -> None:
    dense = made().models["dense"]
    for models in ({"dense": dense}, {"mine": dense}):
        assert only(evaluate(AuditFigures(Judgement(), models), GatePolicy(max_gap=0.1))).value == 0.9
    with pytest.raises(FairpruneError, match="which model"):
        evaluate(AuditFigures(Judgement(), {"a": dense, "b": dense}), GatePolicy(max_gap=0.1))


@pytest.mark.parametrize(
    ("notion", "value"),
    [("accuracy", 0.05), ("worst-group", 0.05), ("degradation", 0.02), ("parity", 0.3), ("opportunity", 0.3)],
)
def test_max_gap_judges_the_chosen_notion(notion: str, value: float) -> None:
    gate = only(evaluate(made(), GatePolicy(max_gap=0.5, notion=notion)))
    assert gate.value == value
    told = "for worst-group the gap of accuracies is judged, between the best group and the worst"
    assert (told in gate.reason) == (notion == "worst-group")


def test_undefined_is_never_a_pass() -> None:
    gate = only(evaluate(made(), GatePolicy(max_gap=0.99, notion="odds")))
    assert gate.verdict == "inconclusive"
    assert "no positives" in gate.reason
    assert to_json.gate_record(gate)["value"] is None
    assert "no positives" in to_json.gate_record(gate)["value_undefined"]
    missing = made(None, None, None, why="too few images")
    for bare in (False, True):
        gate = only(evaluate(missing, GatePolicy(max_gap=0.99, point_estimate=bare)))
        assert gate.verdict == "inconclusive"
        assert "too few images" in gate.reason


def test_degradation_without_a_dense_model_is_inconclusive() -> None:
    alone = without_dense(made())
    for policy in (GatePolicy(max_degradation=0.99), GatePolicy(max_gap=0.99, notion="degradation")):
        gate = only(evaluate(alone, policy))
        assert gate.verdict == "inconclusive"
        assert "no dense model" in gate.reason


def test_a_gap_gate_without_attributes_is_inconclusive() -> None:
    bare = made()
    bare = replace(bare, models={"pruned": replace(bare.models["pruned"], attributes={})})
    assert only(evaluate(bare, GatePolicy(max_gap=0.99))).verdict == "inconclusive"
    assert evaluate(bare, GatePolicy()) == ([], "none")


def test_small_groups_are_named_in_the_reason() -> None:
    gate = only(evaluate(made(small=("female",)), GatePolicy(max_gap=0.5)))
    assert gate.verdict == "inconclusive"
    assert gate.needed is None  # nothing is known of the counts behind a figure made by hand
    assert "not judged, fewer than 30: female (400 images)" in gate.reason
    record = to_json.gate_record(gate)
    assert record["small_groups"] == [{"group": "female", "n": 400, "of": "images"}]


def test_point_estimate_ignores_the_interval() -> None:
    for bound, expected in ((0.049, "fail"), (0.05, "pass"), (0.06, "pass")):
        gate = only(evaluate(made(), GatePolicy(max_gap=bound, point_estimate=True)))
        assert gate.verdict == expected
        assert "bare figure" in gate.reason


def test_one_gate_per_attribute_and_fail_beats_inconclusive() -> None:
    pruned = made().models["pruned"]
    both = {**pruned.attributes, "age": attribute(GapFigure(0.5, 0.4, 0.6))}
    two = AuditFigures(Judgement(), {"pruned": replace(pruned, attributes=both)})
    gates, overall = evaluate(two, GatePolicy(max_gap=0.06, min_accuracy=0.5))
    assert [(g.name, g.verdict) for g in gates] == [
        ("max-gap gender", "inconclusive"), ("max-gap age", "fail"), ("min-accuracy", "pass"),
    ]  # fmt: skip
    assert overall == "fail"
    assert verdict(gates[::2]) == "inconclusive"
    assert verdict(gates[2:]) == "pass"


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
    st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=2, max_size=2).map(sorted),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_looser_bound_never_judges_harder(interval: list[float], bounds: list[float], bare: bool) -> None:
    rank = {"fail": 0, "inconclusive": 1, "pass": 2}
    low, value, high = interval
    figures = made(value, low, high, Estimate(value, low, high))
    gap = [only(evaluate(figures, GatePolicy(max_gap=b, point_estimate=bare))) for b in bounds]
    assert rank[gap[0].verdict] <= rank[gap[1].verdict]
    accuracy = [only(evaluate(figures, GatePolicy(min_accuracy=b, point_estimate=bare))) for b in bounds]
    assert rank[accuracy[0].verdict] >= rank[accuracy[1].verdict]
    for gate in gap + accuracy:
        json.dumps(to_json.gate_record(gate), allow_nan=False)
        if gate.verdict == "inconclusive":
            assert gate.needed is None or gate.needed > 1300
        if bare:
            assert gate.verdict != "inconclusive"


def test_an_audit_with_other_settings_is_refused() -> None:
    other = replace(made(), judgement=Judgement(confidence=0.9))
    with pytest.raises(FairpruneError, match=r"confidence 0\.9, the gates ask for 0\.95"):
        evaluate(other, GatePolicy(max_gap=0.1))
    assert evaluate(other, GatePolicy(max_gap=0.1, confidence=0.9))[1] == "pass"


def held_against(better: bool, low: float = 0.45) -> ConstantAnswer:
    return ConstantAnswer("a", 0.5, 0.55, 0.52 if better else low, 0.6, 1300, 2, 0.55, better)


def doubted(pruned: bool, dense: bool) -> AuditFigures:
    """Figures of models that are better than one answer to all images, or not."""
    models = made().models
    answers = {"pruned": held_against(pruned), "dense": held_against(dense)}
    return AuditFigures(Judgement(), {name: replace(models[name], constant_answer=answers[name]) for name in models})


def test_a_model_that_is_not_better_than_one_answer_passes_no_gate() -> None:
    policy = GatePolicy(max_gap=0.1, max_degradation=0.1, min_accuracy=0.8)
    assert {gate.verdict for gate in evaluate(doubted(True, True), policy)[0]} == {"pass"}
    gates, overall = evaluate(doubted(False, True), policy)
    assert (overall, {gate.verdict for gate in gates}) == ("inconclusive", {"inconclusive"})
    assert gates[0].reason.startswith("the model is not better than always answering a (50.0 %); but for that it would")
    # 55 % of 1,300 images are shown to be above 50 % in 8 of 9 samples as large.
    assert gates[0].value == 0.05
    assert gates[0].needed is not None
    assert f"; about {gates[0].needed:,} images in the same shares would show it to be better" in gates[0].reason
    failing, _ = evaluate(doubted(False, True), GatePolicy(max_gap=0.01))
    assert [gate.verdict for gate in failing] == ["fail"]


def test_a_dense_model_at_chance_level_shows_no_loss_to_be_small() -> None:
    policy = GatePolicy(max_gap=0.1, max_degradation=0.1, min_accuracy=0.8)
    verdicts = {gate.metric: gate.verdict for gate in evaluate(doubted(True, False), policy)[0]}
    assert verdicts == {"max-gap": "pass", "max-degradation": "inconclusive", "min-accuracy": "pass"}
    (gap,), _ = evaluate(doubted(True, False), GatePolicy(max_gap=0.1, notion="degradation"))
    assert gap.reason.startswith("the dense model that it is held against is not better than always answering a")


def test_bare_figures_are_held_against_the_bare_share() -> None:
    policy = GatePolicy(min_accuracy=0.8, point_estimate=True)
    assert evaluate(doubted(False, True), policy)[1] == "pass"  # 55 % are more than 50 %
