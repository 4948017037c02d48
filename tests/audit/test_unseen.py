"""What a gate did not look at keeps it from passing and is named; a failure on what was looked at stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fairprune_cli.audit import to_json
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.gates import GatePolicy, GateResult, Unseen, outcome
from fairprune_cli.audit.judging import evaluate
from fairprune_cli.audit.leniency import leniencies
from fairprune_cli.audit.result import AuditResult


def audited(groups: dict[str, tuple[int, int]], ungrouped: int = 0, lost: int = 0) -> AuditResult:
    """Counts of groups with (images, of which right), a third of them positive; `lost` more were right before."""
    counts = []
    for n, right in groups.values():
        positive, good = n // 3, right // 3
        counts.append([[(right - good), (n - positive) - (right - good)], [positive - good, good]])
    table = np.array(counts)
    pairs = np.array([[[n - right - lost, 0], [lost, right]] for n, right in groups.values()])
    return AuditResult(
        ("no", "yes"), {"skin": tuple(groups)}, {"dense": table.sum(0), "pruned": table.sum(0)},
        {"dense": {"skin": table}, "pruned": {"skin": table}}, {"pruned": pairs.sum(0)}, {"pruned": {"skin": pairs}},
        {"skin": ungrouped},
    )  # fmt: skip


def gate(
    result: AuditResult, unseen: Unseen | None = None, attributes: tuple[str, ...] = (), **policy: Any
) -> GateResult:
    asked = GatePolicy(**policy)
    made = result.figures(Judgement(confidence=asked.confidence, min_group=asked.min_group))
    ((found,), overall) = evaluate(made, asked, attributes, unseen={} if unseen is None else {"skin": unseen})
    assert overall == found.verdict
    return found


EQUAL = {"light": (1500, 1430), "medium": (1500, 1430)}
FEW = {**EQUAL, "dark": (29, 1)}


@pytest.mark.parametrize(
    "policy", [{"max_gap": 0.1}, {"max_degradation": 0.1}, {"min_accuracy": 0.8, "attributes": ("skin",)}]
)
@pytest.mark.parametrize("bare", [False, True])
def test_no_gate_passes_without_its_small_groups_unless_that_is_allowed(policy: dict[str, Any], bare: bool) -> None:
    found = gate(audited(FEW), **policy, point_estimate=bare)
    assert found.verdict == "inconclusive"
    assert found.needed is not None
    assert found.needed * 29 / 3029 > 30
    assert f"about {found.needed:,} images instead of 3,029" in found.reason
    assert "fewer than 30: dark (29 images)" in found.reason
    assert "--allow-small-groups" in found.reason
    allowed = gate(audited(FEW), **policy, point_estimate=bare, allow_small_groups=True)
    assert allowed.verdict == "pass"
    assert "left out as was asked for, fewer than 30: dark (29 images)" in allowed.reason
    record = to_json.gate_record(allowed)
    assert record["allow_small_groups"] is True
    assert record["small_groups"] == [{"group": "dark", "n": 29, "of": "images"}]
    assert gate(audited(EQUAL), **policy, point_estimate=bare).verdict == "pass"


def test_a_failure_of_the_large_groups_stands() -> None:
    uneven = {"light": (1500, 1430), "medium": (1500, 1000), "dark": (29, 29)}
    for allowed in (False, True):
        assert gate(audited(uneven), max_gap=0.1, allow_small_groups=allowed).verdict == "fail"
    assert gate(audited(uneven), attributes=("skin",), min_accuracy=0.9).verdict == "fail"
    assert gate(audited(EQUAL | {"dark": (29, 5)}, lost=20), max_degradation=0.001).verdict == "fail"


def test_the_denominator_of_the_rate_decides_and_is_named() -> None:
    few_positives = {**EQUAL, "dark": (60, 57)}  # 20 of them positive
    assert gate(audited(few_positives), max_gap=0.3).verdict == "pass"
    found = gate(audited(few_positives), max_gap=0.3, notion="opportunity")
    assert found.verdict == "inconclusive"
    assert "dark (20 images labelled yes)" in found.reason
    assert to_json.gate_record(found)["small_groups"] == [{"group": "dark", "n": 20, "of": "images labelled yes"}]


def test_groups_without_an_image_count_as_none() -> None:
    assert gate(audited({**EQUAL, "dark": (0, 0)}), max_gap=0.1).verdict == "inconclusive"
    found = gate(audited(EQUAL), Unseen(absent=("dark",)), max_gap=0.1)
    assert found.verdict == "inconclusive"
    assert "dark (0 images)" in found.reason
    assert gate(audited(EQUAL), Unseen(absent=("dark",)), max_gap=0.1, allow_small_groups=True).verdict == "pass"


def test_images_in_no_group_are_named_and_pass_only_where_somebody_decided() -> None:
    found = gate(audited(EQUAL, ungrouped=1), max_gap=0.1)
    assert found.verdict == "inconclusive"
    assert "1 image in no group of skin and were not looked at" in found.reason or "1 image in no group" in found.reason
    decided = gate(audited(EQUAL, ungrouped=60), Unseen(dropped=True), max_gap=0.1)
    assert decided.verdict == "pass"
    assert "60 images in no group of skin" in decided.reason
    assert to_json.gate_record(decided)["ungrouped"] == 60
    assert gate(audited(EQUAL, ungrouped=60), max_gap=0.1, allow_small_groups=True).verdict == "pass"


def test_all_images_are_a_group_too() -> None:
    few = audited({"light": (12, 12), "medium": (8, 8)})
    for allowed in (False, True):
        found = gate(few, min_accuracy=0.3, allow_small_groups=allowed)
        assert found.verdict == "inconclusive"
        assert "there are only 20 images, and 30 are asked for" in found.reason
        assert found.needed == 30
    assert gate(few, min_accuracy=0.3, min_group=20).verdict == "pass"


def test_what_made_a_verdict_easier_is_told() -> None:
    assert leniencies([], "val") == []
    assert leniencies([gate(audited(EQUAL), max_gap=0.1)]) == []
    lenient = gate(audited(FEW, 7), max_gap=0.1, confidence=0.5, point_estimate=True, allow_small_groups=True)
    usual = gate(audited(EQUAL), max_gap=0.1)
    assert leniencies([lenient, usual], "val") == [
        "by bare figures without their intervals (1 of 2 gates)", "at confidence 0.5 instead of 0.95 (1 of 2 gates)",
        "without these groups of skin: dark (29 images)", "without 7 images that are in no group of skin",
        "on the val split instead of test",
    ]  # fmt: skip
    assert leniencies([gate(audited(EQUAL), max_gap=0.1, min_group=2)]) == [
        "with groups of 2 or more images instead of 30"
    ]


@pytest.mark.parametrize(
    ("metric", "bound", "expected", "bare"),
    [
        ("max-gap", 0.3, "pass", "pass"), ("max-gap", 0.25, "inconclusive", "pass"),
        ("max-gap", 0.15, "inconclusive", "fail"), ("max-gap", 0.05, "fail", "fail"),
        ("min-accuracy", 0.1, "pass", "pass"), ("min-accuracy", 0.15, "inconclusive", "pass"),
        ("min-accuracy", 0.35, "fail", "fail"),
    ],
)  # fmt: skip
def test_sides_of_a_bound(metric: str, bound: float, expected: str, bare: str) -> None:
    assert outcome(metric, bound, 0.2, 0.1, 0.3) == expected
    assert outcome(metric, bound, 0.2, 0.1, 0.3, bare=True) == bare
