from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.audit import metrics, to_json
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.fairness.notions import get as notion

BINARY, THREE = ("neutral", "smiling"), ("cat", "dog", "fox")

# label x prediction
MALE = [[50, 10], [5, 35]]  # 85 of 100 right; selected 45/100, tpr 35/40, fpr 10/60
FEMALE = [[40, 40], [20, 100]]  # 140 of 200 right; selected 140/200, tpr 100/120, fpr 40/80


def record(
    counts: object, groups: tuple[str, ...], classes: tuple[str, ...] = BINARY, least: int = 30
) -> dict[str, object]:
    made = to_json.attribute_record(
        metrics.attribute_figures(np.array(counts), groups, classes, 0, Judgement(min_group=least))
    )
    json.dumps(made, allow_nan=False)  # plain values only
    return made


def test_binary_figures_by_hand() -> None:
    made = record([MALE, FEMALE], ("male", "female"))
    male = made["groups"]["male"]
    assert (male["n"], male["correct"], male["accuracy"]) == (100, 85, 0.85)
    assert male["low"] < 0.85 < male["high"]
    assert male["metrics"]["selection_rate"] == 0.45
    assert (male["metrics"]["tpr"], male["metrics"]["positives"]) == (0.875, 40)
    assert male["metrics"]["tpr_low"] < 0.875 < male["metrics"]["tpr_high"]
    assert male["metrics"]["fpr"] == pytest.approx(1 / 6)
    assert male["metrics"]["negatives"] == 60
    assert made["gap"] == pytest.approx(0.15)
    assert made["gap_between"] == ["male", "female"]
    assert made["gap_low"] < 0.15 < made["gap_high"]
    figures = made["metrics"]
    assert figures["parity"]["value"] == pytest.approx(0.25)
    assert figures["parity"]["between"] == ["female", "male"]
    assert figures["opportunity"]["value"] == pytest.approx(0.875 - 100 / 120)
    assert figures["odds"]["value"] == pytest.approx(0.5 - 1 / 6)
    assert figures["odds"]["rate"] == "predicted smiling among images labelled neutral"
    assert figures["worst_group"]["value"] == 0.7
    assert figures["worst_group"]["group"] == "female"


def test_three_classes_by_hand() -> None:
    even = [[90, 5, 5], [5, 90, 5], [5, 5, 90]]
    odd = [[90, 5, 5], [20, 75, 5], [5, 5, 90]]
    made = record([even, odd], ("a", "b"), THREE)
    rates = made["groups"]["b"]["metrics"]
    assert rates["recall"] == {"cat": 0.9, "dog": 0.75, "fox": 0.9}
    assert rates["selection_rate"]["cat"] == pytest.approx(115 / 300)
    assert rates["images"] == {"cat": 100, "dog": 100, "fox": 100}
    assert made["metrics"]["parity"]["value"] == pytest.approx(0.05)
    assert made["metrics"]["opportunity"]["value"] == pytest.approx(0.15)
    assert made["metrics"]["odds"]["value"] == pytest.approx(0.15)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, tuple[str, ...]]:
    classes = draw(st.sampled_from([BINARY, THREE]))
    groups, k = draw(st.integers(2, 4)), len(classes)
    cells = draw(st.lists(st.integers(1, 400), min_size=groups * k * k, max_size=groups * k * k))
    return np.array(cells).reshape(groups, k, k), classes


@given(tables())
@settings(max_examples=40, deadline=None)
def test_gaps_are_those_that_pruning_constrains(case: tuple[np.ndarray, tuple[str, ...]]) -> None:
    counts, classes = case
    names = tuple("abcd"[: len(counts)])
    made = record(counts, names, classes, least=1)
    for name in ("parity", "opportunity", "odds"):
        figure = made["metrics"][name]
        assert figure["value"] == pytest.approx(notion(name, len(classes)).exact(counts))
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert made["gap"] == pytest.approx(notion("accuracy", len(classes)).exact(counts))


@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_groups_does_not_matter(case: tuple[np.ndarray, tuple[str, ...]], random: object) -> None:
    counts, classes = case
    order = list(range(len(counts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    names = np.array(list("abcd"))[: len(counts)]
    first = record(counts, tuple(names), classes)
    second = record(counts[order], tuple(names[order]), classes)
    assert first["groups"] == second["groups"]
    for name in ("parity", "opportunity", "odds"):
        one, other = first["metrics"][name], second["metrics"][name]
        if one is None:
            assert other is None
        else:
            assert [one[key] for key in ("value", "low", "high")] == [other[key] for key in ("value", "low", "high")]


def test_a_perfect_classifier_without_positives_has_no_odds_difference_of_one() -> None:
    made = record([[[100, 0], [0, 100]], [[200, 0], [0, 0]]], ("old", "young"))
    assert made["gap"] == 0
    assert made["gap_low"] == 0
    assert made["metrics"]["odds"] is None
    assert "images labelled smiling" in made["metrics"]["odds_undefined"]
    assert "young 0" in made["metrics"]["odds_undefined"]
    assert made["metrics"]["opportunity"] is None
    young = made["groups"]["young"]["metrics"]
    assert young["tpr"] is None
    assert young["tpr_undefined"] == "no images labelled smiling"
    assert young["tpr_low"] is None
    assert young["fpr"] == 0


def test_a_class_that_a_group_lacks_has_an_undefined_recall() -> None:
    made = record([[[90, 5, 5], [5, 90, 5], [0, 0, 0]]] * 2, ("a", "b"), THREE)
    rates = made["groups"]["a"]["metrics"]
    assert rates["recall"] == {"cat": 0.9, "dog": 0.9, "fox": None}
    assert rates["recall_undefined"] == {"fox": "no images labelled fox"}
    assert "selection_rate_undefined" not in rates
    assert made["metrics"]["odds"] is None
    assert made["metrics"]["parity"]["value"] == 0


def test_the_denominator_of_the_rate_decides_who_is_too_small() -> None:
    few = [[200, 0], [29, 0]]  # plenty of images, 29 positives, all missed
    made = record([MALE, FEMALE, few], ("male", "female", "few"))
    assert made["small_groups"] == []
    assert made["metrics"]["opportunity"]["small_groups"] == ["few"]
    assert made["metrics"]["opportunity"]["value"] == pytest.approx(0.875 - 100 / 120)
    assert made["metrics"]["parity"]["small_groups"] == []
    assert made["groups"]["few"]["metrics"]["tpr"] == 0


def test_small_and_empty_groups_are_named_and_kept_in_the_table() -> None:
    made = record([MALE, FEMALE, [[0, 10], [10, 0]], [[0, 0], [0, 0]]], ("male", "female", "x", "none"))
    assert made["small_groups"] == ["x", "none"]
    assert made["gap"] == pytest.approx(0.15)
    assert made["groups"]["x"]["accuracy"] == 0
    assert made["groups"]["none"]["accuracy"] is None
    assert made["groups"]["none"]["accuracy_undefined"] == "no images"
    assert made["metrics"]["worst_group"]["group"] == "female"


def test_one_group_left_has_no_gap_and_says_why() -> None:
    made = record([MALE, [[5, 0], [0, 5]]], ("male", "x"))
    assert made["gap"] is None
    assert made["gap_low"] is None
    assert made["gap_undefined"] == "fewer than two groups have 30 images (x 10)"
    assert record([MALE], ("male",))["gap_undefined"] == "a gap needs two groups"
    alone = record([[[5, 0], [0, 5]]], ("x",))["metrics"]
    assert alone["worst_group"] is None
    assert alone["worst_group_undefined"] == "no group has 30 images"


def test_degradation_by_hand() -> None:
    # [dense wrong, dense right] x [pruned wrong, pruned right]
    pairs = np.array([[[10, 2], [4, 84]], [[20, 0], [30, 150]], [[0, 0], [3, 7]], [[0, 0], [0, 0]]])
    made = to_json.attribute_degradation_record(
        metrics.degradation_figures(pairs, ("male", "female", "x", "none"), Judgement())
    )
    json.dumps(made, allow_nan=False)
    male = made["groups"]["male"]
    assert (male["n"], male["lost"], male["gained"]) == (100, 4, 2)
    assert male["change"] == pytest.approx(-0.02)
    assert male["low"] < -0.02 < male["high"]
    assert made["gap"] == pytest.approx(0.15 - 0.02)
    assert made["gap_between"] == ["female", "male"]
    assert made["largest"]["group"] == "female"
    assert made["largest"]["value"] == pytest.approx(0.15)
    assert made["small_groups"] == ["x", "none"]
    assert made["groups"]["x"]["change"] == pytest.approx(-0.3)
    assert made["groups"]["none"]["change"] is None
    assert made["groups"]["none"]["change_undefined"] == "no images"


def test_degradation_without_large_groups_is_undefined() -> None:
    made = to_json.attribute_degradation_record(
        metrics.degradation_figures(np.ones((2, 2, 2), np.int64), ("a", "b"), Judgement())
    )
    assert made["gap"] is None
    assert made["gap_undefined"] == "fewer than two groups have 30 images (a 4, b 4)"
    assert made["largest"] is None
    assert made["largest_undefined"] == "no group has 30 images"
