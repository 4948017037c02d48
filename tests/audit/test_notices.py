from __future__ import annotations

import numpy as np

from fairprune_cli.audit.notices import notices
from fairprune_cli.audit.result import AuditResult


def result(dense: list[list[int]], pruned: list[list[int]], pairs: list[list[list[int]]]) -> AuditResult:
    """Counts of two groups of 1,000 images of one class, given as [wrong, right]."""

    def counts(cells: list[list[int]]) -> np.ndarray:
        return np.array([[[right, wrong], [0, 0]] for wrong, right in cells])

    by_model = {"dense": counts(dense), "pruned": counts(pruned)}
    return AuditResult(
        ("neutral", "smiling"), {"gender": ("male", "female")}, {m: c.sum(0) for m, c in by_model.items()},
        {m: {"gender": c} for m, c in by_model.items()}, {"pruned": np.array(pairs).sum(0)},
        {"pruned": {"gender": np.array(pairs)}}, {"gender": 7},
    )  # fmt: skip


def test_levelling_down_is_named() -> None:
    # male .95 to .85, female .80 to .81
    made = result([[50, 950], [200, 800]], [[150, 850], [190, 810]], [[[50, 0], [100, 850]], [[180, 20], [10, 790]]])
    (text,) = [t for t in notices(made.figures()) if "levelling down" in t]
    assert "from 15.0 to 4.0 points, mostly because the better group got worse" in text
    assert "male lost 10.0 points, female gained 1.0 points" in text
    assert "Sampling" not in text
    assert any("7 images are in none of its groups" in t for t in notices(made.figures()))


def test_a_gap_that_shrank_for_the_right_reason_is_not_levelling_down() -> None:
    made = result([[50, 950], [200, 800]], [[50, 950], [100, 900]], [[[50, 0], [0, 950]], [[95, 105], [5, 795]]])
    (text,) = [t for t in notices(made.figures()) if "shrank" in t]
    assert "levelling" not in text
    assert "male stayed where it was, female gained 10.0 points" in text


def test_a_wider_gap_is_told_with_its_noise() -> None:
    made = result([[100, 900], [110, 890]], [[100, 900], [116, 884]], [[[90, 10], [10, 890]], [[100, 10], [16, 874]]])
    (text,) = [t for t in notices(made.figures()) if "widened" in t]
    assert "from 1.0 to 1.6 points" in text
    assert "Sampling alone could move it as much." in text


def test_an_unchanged_model_and_one_class_predictions_are_told() -> None:
    same = [[100, 900], [200, 800]]
    pairs = [[[100, 0], [0, 900]], [[200, 0], [0, 800]]]
    texts = notices(result(same, same, pairs).figures())
    assert not any("gap" in text and "point" in text for text in texts)
    made = result([[0, 1000], [200, 800]], [[0, 1000], [0, 1000]], [[[0, 0], [0, 1000]], [[0, 200], [0, 800]]])
    texts = notices(made.figures())
    assert any("The pruned model predicts neutral for every image" in text for text in texts)
    assert not any("The dense model" in text for text in texts)
