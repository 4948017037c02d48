"""Failure signs: what calls for each, what comes close without calling for it, and healthy runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fairprune_cli.training.failure_signs import Limits, find_signs

LIMITS: dict[str, Any] = {
    "tolerance": 0.02,
    "multiplier_cap": 3.0,
    "sparsity": 0.95,
    "epochs": 6,
    "constrained": True,
    "moves_mask_by_gradient": True,
    "dense_accuracy": 0.943,
    "majority_share": 0.5,
    "memory": 2000.0,
}
# Epochs of runs on drawn faces, 95 % of the channels' parameters and 98 and 99 % of the weights pruned: sparsity, loss,
# gap, multiplier, lower and upper accuracy, norm, moves, share returning. Of the first two the gap of the last two
# epochs is smaller than it was, as in runs that are long enough.
CHANNELS = [
    (0.731, 0.168, 0.120, 0.16, 0.932, 0.914, 0.793, 9, 0.0120),
    (0.944, 0.263, 0.160, 0.49, 0.885, 0.909, 1.061, 10, 0.0164),
    (0.949, 0.225, 0.112, 0.76, 0.911, 0.907, 0.962, 5, 0.0081),
    (0.949, 0.170, 0.097, 0.97, 0.934, 0.918, 0.874, 0, None),
    (0.949, 0.146, 0.039, 1.07, 0.941, 0.933, 0.930, 0, None),
    (0.949, 0.151, 0.030, 1.09, 0.940, 0.939, 0.816, 0, None),
]
WEIGHTS = [
    (0.755, 0.165, 0.119, 0.14, 0.933, 0.917, 0.705, 9, 0.0001),
    (0.974, 0.225, 0.155, 0.46, 0.904, 0.913, 0.737, 10, 0.0029),
    (0.980, 0.207, 0.114, 0.70, 0.914, 0.913, 0.730, 5, 0.0151),
    (0.980, 0.172, 0.104, 0.93, 0.929, 0.919, 0.657, 0, None),
    (0.980, 0.151, 0.053, 1.04, 0.937, 0.925, 0.738, 0, None),
    (0.980, 0.162, 0.031, 1.07, 0.933, 0.932, 0.731, 0, None),
]
# First-order scores: accuracy falls to .69 while the mask moves, and recovers.
DIP = [
    (0.763, 0.228, 0.089, 0.14, 0.912, 0.898, 0.761, 9, 0.0002),
    (0.984, 0.446, 0.144, 0.41, 0.788, 0.855, 1.095, 10, 0.0095),
    (0.990, 0.586, 0.111, 0.62, 0.688, 0.689, 0.711, 5, 0.0128),
    (0.990, 0.486, 0.053, 0.76, 0.762, 0.773, 0.744, 0, None),
    (0.990, 0.416, 0.058, 0.85, 0.811, 0.785, 0.831, 0, None),
    (0.990, 0.401, 0.036, 0.89, 0.816, 0.796, 0.863, 0, None),
]


def limits(**changes: Any) -> Limits:
    return Limits(**{**LIMITS, **changes})


def records(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    made = []
    for i, (sparsity, loss, gap, mu, lower, upper, norm, moves, returns) in enumerate(rows):
        made.append(
            {
                "epoch": i + 1, "step": 49 * (i + 1), "loss": loss, "sparsity": sparsity,
                "exact_gap": {"gender": gap}, "surrogate_gap": {"gender": 2 * gap},
                "multipliers": {"gender": {"female": 0.0, "male": mu}}, "lower_accuracy": lower,
                "upper_accuracy": upper, "group_accuracy": {"gender": {"female": upper, "male": upper - gap}},
                "images_per_second": 800.0, "gradient_norm": norm, "clipped": 0.0, "mask_moves": moves,
                "mask_returns": returns,
            }
        )  # fmt: skip
    return made


def run(**columns: list[Any]) -> list[dict[str, Any]]:
    """The healthy run by channel with the last values of some fields replaced; missing ones (...) are taken out."""
    made = records(CHANNELS)
    for key, values in columns.items():
        for record, value in zip(made[-len(values) :], values, strict=True):
            if value is ...:
                del record[key]
            elif key == "gap":
                record["exact_gap"] = {"gender": value}
            elif key == "mu":
                record["multipliers"] = {"gender": {"female": 0.0, "male": value}}
            else:
                record[key] = value
    return made


def codes(made: list[dict[str, Any]], **changes: Any) -> list[str]:
    return [sign.code for sign in find_signs(made, limits(**changes))]


@pytest.mark.parametrize(
    ("rows", "sparsity"), [(CHANNELS, 0.95), (WEIGHTS, 0.98), (DIP, 0.99)], ids=["channels", "weights", "dip"]
)
def test_a_healthy_run_has_no_sign_at_any_epoch(rows: list[tuple[Any, ...]], sparsity: float) -> None:
    made = records(rows)
    for n in range(len(made) + 1):
        assert codes(made[:n], sparsity=sparsity) == []


def test_a_sign_says_what_is_seen_and_what_to_do() -> None:
    (sign,) = find_signs(run(mu=[3.0, 3.0, 3.0], gap=[0.08, 0.09, 0.08]), limits())
    assert sign.code == "multiplier-at-cap"
    assert sign.text == (
        "gender: the multiplier of male has been at its cap of 3 since epoch 4, and the gap does not close: "
        "8.0 points, tolerance 2.0"
    )
    assert "--tolerance" in sign.advice


AT_CAP = [
    ({"mu": [3.0, 3.0], "gap": [0.08, 0.08]}, {}, True),
    ({"mu": [2.98, 2.97], "gap": [0.08, 0.073]}, {}, True),
    ({"mu": [3.0, 3.0], "gap": [0.08, 0.071]}, {}, False),  # more than a tenth closed
    ({"mu": [3.0, 3.0], "gap": [0.02, 0.02]}, {}, False),  # within the tolerance
    ({"mu": [2.9, 3.0], "gap": [0.08, 0.08]}, {}, False),  # one record only
    ({"mu": [3.0, 3.0, 2.0], "gap": [0.08, 0.08, 0.08]}, {}, False),  # it was at the cap, and is not any more
    ({"mu": [3.0, 1.0, 3.0], "gap": [0.08, 0.08, 0.08]}, {}, False),
    ({"mu": [3.0, 3.0, 3.0], "gap": [0.09, 0.06, 0.07]}, {}, False),  # compared with where the cap was reached
    ({"mu": [3.0, 3.0], "gap": [0.08, 0.08]}, {"constrained": False}, False),
    ({"mu": [0.0, 0.0], "gap": [0.08, 0.08]}, {"multiplier_cap": 0.0}, False),
    ({"mu": [3.0, 3.0], "gap": [None, 0.08]}, {}, False),
    ({"mu": [3.0, 3.0], "gap": [0.08, 0.08], "allowed_gap": [{"gender": 0.1}] * 2}, {}, False),  # the dense model's
    ({"mu": [3.0, 3.0], "gap": [0.08, 0.08], "allowed_gap": [{"age": 0.1}] * 2}, {}, True),
    ({"mu": [3.0, 3.0], "gap": [0.08, None]}, {}, False),
    ({"mu": [3.0, 3.0], "exact_gap": [..., ...]}, {}, False),
]


@pytest.mark.parametrize(("columns", "changes", "expected"), AT_CAP)
def test_multiplier_at_cap(columns: dict[str, list[Any]], changes: dict[str, Any], expected: bool) -> None:
    assert ("multiplier-at-cap" in codes(run(**columns), **changes)) == expected


def test_the_cap_of_one_group_after_another_is_none_that_lasts() -> None:
    made = run(gap=[0.08, 0.08])
    made[-2]["multipliers"] = {"gender": {"female": 3.0, "male": 0.0}}
    made[-1]["multipliers"] = {"gender": {"female": 0.0, "male": 3.0}}
    assert "multiplier-at-cap" not in codes(made)


def test_of_several_attributes_the_widest_gap_is_named() -> None:
    made = run()
    for record in made[-2:]:
        record["exact_gap"] = {"gender": 0.05, "age": 0.11, "race": 0.2}
        record["multipliers"] = {"gender": {"m": 3.0}, "age": {"old": 3.0, "young": 0.0}, "race": {"x": 1.0}}
    (sign,) = [s for s in find_signs(made, limits()) if s.code == "multiplier-at-cap"]
    assert sign.text.startswith("age: the multiplier of old")


COLLAPSE = [
    ({"upper_accuracy": [0.51, 0.50], "mu": [1.4, 1.5]}, {}, "tolerance"),
    ({"upper_accuracy": [0.51, 0.50], "mu": [0.1, 0.1]}, {}, "--lr"),
    ({"upper_accuracy": [0.51, 0.50], "mu": [1.4, 1.5]}, {"constrained": False}, "--lr"),
    ({"upper_accuracy": [0.51, 0.50]}, {"dense_accuracy": None}, "tolerance"),
    ({"upper_accuracy": [0.918, 0.80, 0.79]}, {}, "tolerance"),  # far below what it was, if not at chance
    ({"upper_accuracy": [0.918, 0.80, 0.79]}, {"majority_share": None, "dense_accuracy": None}, "tolerance"),
    ({"upper_accuracy": [None] * 6, "lower_accuracy": [0.51, 0.50]}, {}, "tolerance"),
    ({"upper_accuracy": [0.51, 0.50], "mask_moves": [...] * 6}, {}, "tolerance"),  # an older report
    ({"upper_accuracy": [0.93, 0.50]}, {}, ""),  # a single epoch
    ({"upper_accuracy": [0.50, 0.93]}, {}, ""),  # recovered
    ({"upper_accuracy": [0.918, 0.83, 0.81]}, {}, ""),
    ({"upper_accuracy": [0.51, 0.50], "sparsity": [0.7] * 6}, {}, ""),  # sparsity still rises
    ({"upper_accuracy": [0.51, 0.50], "mask_moves": [9, 5], "mask_returns": [0.01, 0.01]}, {}, ""),
    ({"upper_accuracy": [0.6] * 6, "lower_accuracy": [0.6] * 6}, {}, ""),  # what this sparsity costs
    ({"upper_accuracy": [0.91] * 6}, {"majority_share": 0.9, "dense_accuracy": 0.93}, ""),  # dense is hardly better
    ({"upper_accuracy": [0.51, 0.50]}, {"majority_share": None, "dense_accuracy": 0.55}, "tolerance"),  # a fall
    ({"upper_accuracy": [..., ...], "lower_accuracy": [..., ...]}, {}, ""),
    (
        {"upper_accuracy": [0.93] * 5 + [0.50], "mask_moves": [9] * 5 + [0]},
        {"constrained": False},
        "augment",
    ),  # the run is over
    ({"upper_accuracy": [0.93] * 5 + [0.50], "mask_moves": [9] * 5 + [0]}, {"epochs": 8}, ""),
    ({"upper_accuracy": [0.51, 0.50], "sparsity": [...] * 6}, {}, ""),
    ({"upper_accuracy": [0.51, 0.50, 0.93], "sparsity": [0.949, 0.949, ...]}, {}, ""),  # the last is what counts
]


@pytest.mark.parametrize(("columns", "changes", "advice"), COLLAPSE)
def test_accuracy_collapse(columns: dict[str, list[Any]], changes: dict[str, Any], advice: str) -> None:
    found = [sign for sign in find_signs(run(**columns), limits(**changes)) if sign.code == "accuracy-collapse"]
    assert len(found) == bool(advice)
    assert all(advice in sign.advice for sign in found)


MASK = [
    ({"mask_returns": [0.0, 0.0, 0.0, None, None, None]}, {}, "mask-frozen"),
    ({"mask_returns": [0.0, 0.0, 0.0, None, None, None]}, {"moves_mask_by_gradient": False}, None),
    ({"mask_returns": [0.0, 0.0, 1e-4, None, None, None]}, {}, None),
    ({"mask_returns": [0.0, None, None, None, None, None], "mask_moves": [9, 0, 0, 0, 0, 0]}, {}, None),  # one epoch
    ({"mask_returns": [0.23, 0.80, 0.75, None, None, None]}, {}, "mask-flipping"),
    ({"mask_returns": [0.23, 0.80, 0.75, None, None, None]}, {"moves_mask_by_gradient": False}, None),
    ({"mask_returns": [0.23, 0.80, 0.15, None, None, None]}, {}, None),  # it settled
    ({"mask_returns": [...] * 6}, {}, None),
    ({"mask_moves": [...] * 6, "mask_returns": [0.0] * 6}, {}, None),
    ({"mask_returns": [True, True, True, None, None, None]}, {}, None),
]


@pytest.mark.parametrize(("columns", "changes", "expected"), MASK)
def test_mask(columns: dict[str, list[Any]], changes: dict[str, Any], expected: str | None) -> None:
    assert codes(run(**columns), **changes) == ([expected] if expected else [])


def test_a_frozen_mask_is_told_while_it_can_still_be_changed_and_taken_back() -> None:
    made = run(mask_returns=[0.0, 0.0, 0.01, None, None, None])
    assert [codes(made[:n]) for n in range(5)] == [[], [], ["mask-frozen"], [], []]


NORMS = [
    ({"gradient_norm": [0.9, 30.0], "clipped": [0.0, 0.4]}, True),
    ({"gradient_norm": [25.0, 30.0, 40.0], "clipped": [0.3, 0.4, 0.6]}, True),  # no norm gets used to
    ({"gradient_norm": [30.0], "clipped": [...]}, True),
    ({"gradient_norm": [30.0, 0.9], "clipped": [0.4, 0.0]}, False),  # over
    ({"gradient_norm": [0.9, 8.0], "clipped": [0.0, 0.4]}, False),  # less than ten times
    ({"gradient_norm": [0.01, 0.02, 0.01, 0.5, 0.6, 0.7]}, False),  # a model at its optimum is pruned: none is clipped
    ({"gradient_norm": [0.1, 30.0], "clipped": [0.0, 0.4]}, True),
    ({"gradient_norm": [6.0, 7.0], "clipped": [0.95, 0.9]}, True),
    ({"gradient_norm": [6.0, 7.0], "clipped": [0.95, 0.85]}, False),
    ({"gradient_norm": [6.0, 7.0], "clipped": [0.85, 0.95]}, False),
    ({"gradient_norm": [...] * 6, "clipped": [...] * 6}, False),
]


@pytest.mark.parametrize(("columns", "expected"), NORMS)
def test_gradient_explosion(columns: dict[str, list[Any]], expected: bool) -> None:
    assert codes(run(**columns)) == (["gradient-explosion"] if expected else [])


def test_two_norms_are_not_yet_a_usual_one() -> None:
    made = run(gradient_norm=[0.5, 0.5, 30.0, 0.5, 0.5, 0.5], clipped=[0.0, 0.0, 0.4, 0.0, 0.0, 0.0])
    assert codes(made[:3]) == []


CONVERGING = [
    ({"gap": [0.12, 0.10], "mu": [1.1, 1.3]}, {}, True),
    ({"gap": [0.09, 0.08], "mu": [1.1, 1.3]}, {}, False),  # within what 2,000 images can tell: 2 + 3 x 2.2 points
    ({"gap": [0.09, 0.08], "mu": [1.1, 1.3]}, {"memory": 20_000.0}, True),
    ({"gap": [0.12, 0.10], "mu": [1.3, 1.2]}, {}, False),  # multipliers fall again
    ({"gap": [0.12, 0.10], "mu": [1.3, 3.0]}, {}, False),  # the cap has a sign of its own
    ({"gap": [0.12, 0.10], "mu": [1.1, 1.3]}, {"epochs": 7}, False),  # it is not over
    ({"gap": [0.12, 0.10], "mu": [1.1, 1.3]}, {"constrained": False}, False),
    ({"gap": [0.09, None], "mu": [1.1, 1.3]}, {}, False),
    ({"gap": [0.12, 0.10], "multipliers": [..., {"gender": {"male": 1.0}}]}, {}, False),
]


@pytest.mark.parametrize(("columns", "changes", "expected"), CONVERGING)
def test_not_converging(columns: dict[str, list[Any]], changes: dict[str, Any], expected: bool) -> None:
    assert codes(run(**columns), **changes) == (["not-converging"] if expected else [])


def test_many_groups_leave_fewer_images_for_each() -> None:
    made = run(gap=[0.12, 0.10], mu=[1.1, 1.3])
    for record in made:
        (groups,) = record["multipliers"].values()
        record["multipliers"] = {"gender": groups | {f"other {i}": 0.0 for i in range(7)}}
    assert codes(made) == []


def test_all_signs_at_once_have_different_codes() -> None:
    made = run(
        upper_accuracy=[0.918, 0.51, 0.50], mu=[3.0, 3.0, 3.0], gap=[0.08, 0.09, 0.09],
        mask_returns=[0.3, 0.8, 0.9, None, None, None], clipped=[1.0, 1.0],
    )  # fmt: skip
    assert codes(made) == ["accuracy-collapse", "gradient-explosion", "multiplier-at-cap", "mask-flipping"]


ODD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers(), st.just(10**400),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["gender", "age", 3]), st.floats(), max_size=2),
)  # fmt: skip
NESTED = st.dictionaries(
    st.sampled_from(["gender", "age"]),
    st.one_of(ODD, st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(ODD, st.just(3.0)))),
)
FIELDS = ["epoch", "sparsity", "lower_accuracy", "upper_accuracy", "gradient_norm", "clipped", "mask_moves"]
RECORD = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(ODD, st.floats(0, 1)) for name in [*FIELDS, "mask_returns"]},
        **{name: st.one_of(ODD, NESTED) for name in ("exact_gap", "multipliers")},
    },
)
SHARE = st.floats(0, 1)


@given(
    st.lists(st.one_of(RECORD, RECORD, RECORD, ODD), max_size=7),
    st.builds(
        Limits, SHARE, st.floats(0, 5), SHARE, st.integers(1, 5), st.booleans(), st.booleans(),
        st.one_of(st.none(), SHARE), st.one_of(st.none(), SHARE, st.just(float("nan"))), st.floats(1e-3, 1e9),
    ),
)  # fmt: skip
@hypothesis_settings(max_examples=300, deadline=None)
def test_odd_records_are_no_error(made: list[Any], asked: Limits) -> None:
    found = find_signs(made, asked)
    assert len({sign.code for sign in found}) == len(found)
    assert all(sign.text and sign.advice and "nan" not in sign.text for sign in found)
