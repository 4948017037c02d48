"""Rates of several directions in one notion; the scheme as a whole is in test_constraint and test_multiplier_oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.multipliers import Multipliers, images_read
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.term import lagrangian_part


def dual_of(notion: Notion) -> Multipliers:
    return Multipliers(
        notion, GroupRows([3, 2], 2), rate=0.7, cap=0.2, tolerance=[0.01] * 2, decay=0.3, least=5.0, dense=None
    )


def test_each_rate_of_a_notion_moves_by_its_own_direction() -> None:
    parity, accuracy = fairness.get("parity", 2), fairness.get("accuracy", 2)
    both = Notion(
        "both", np.concatenate([parity.event, accuracy.event]),
        np.concatenate([parity.population, accuracy.population]), np.array([0, 1]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    together, first, second = dual_of(both), dual_of(parity), dual_of(accuracy)
    for _ in range(4):
        counts = [rng.integers(1, 20, size=(groups, 2, 2)).astype(float) for groups in (3, 2)]
        for dual in (together, first, second):
            dual.ascend(counts)
    assert first.table.any()
    assert second.table.any()
    assert np.array_equal(together.table, np.concatenate([first.table, second.table], axis=1))


def test_pairs_by_hand_and_their_cap() -> None:
    dual = dual_of(fairness.get("parity", 2))
    counts = np.zeros((3, 2, 2))
    counts[:, 0] = [[5, 5], [8, 2], [2, 0]]  # predicted positive .5 and .2; the third group is too small
    dual.ascend([counts, np.zeros((2, 2, 2))])
    expected = np.zeros((1, 3, 3))
    expected[0, 0, 1] = 0.2  # 0.7 (.5 - .2 - .01) = .203, at the cap
    assert dual.pairs[0] == pytest.approx(expected)
    assert dual.of[0][:, 0] == pytest.approx(np.array([[0.0, 0.2, 0.0], [0.2, 0.0, 0.0]]))
    assert not dual.of[1].any()


def alone(notion: Notion, groups: int, **given: Any) -> Multipliers:
    """Multipliers of one attribute, at rate 1, without tolerance."""
    settings = {"rate": 1.0, "cap": 9.0, "tolerance": [0.0], "decay": 0.0, "least": 1.0, "dense": None} | given
    return Multipliers(notion, GroupRows([groups], notion.event.shape[1]), **settings)


def test_what_nothing_would_ever_move_does_not_start_balanced() -> None:
    """Three images of a group would keep the weight of all the others to the end."""
    notion, lower = fairness.get("odds", 2), np.array([[40.0, 40.0], [20.0, 3.0], [30.0, 20.0]])
    upper = np.array([[40.0, 40.0], [15.0, 4.0], [5.0, 12.0]])
    started = alone(notion, 3, start=[lower], data=[upper], least=5.0).start[0]
    everywhere = alone(notion, 3, start=[lower]).start[0]
    rare = np.zeros_like(started, dtype=bool)
    rare[:, notion.population[:, 1] & ~notion.population[:, 0], 1] = True
    assert (everywhere[rare] > 0).any()
    assert not started[rare].any()
    assert np.array_equal(started[~rare], everywhere[~rare])
    # The running rates look back on 58 of the 116 images: on 2.5 of the third group's first label.
    rare[:, notion.population[:, 0] & ~notion.population[:, 1], 2] = True
    assert not alone(notion, 3, start=[lower], data=[upper], least=5.0, memory=58.0).start[0][rare].any()


def test_what_no_multiplier_reads_is_in_no_recorded_gap() -> None:
    notion = fairness.get("accuracy", 2)
    made = Constraint(
        notion, [3], relaxations.get("logistic"), tolerance=0.02, rate=0.1, cap=3.0, memory=1e9, least=5.0,
        data=[np.array([[40.0, 40.0], [20.0, 20.0], [2.0, 2.0]])],
    )  # fmt: skip
    right = [[40, 0], [8, 32]], [[16, 4], [8, 12]], [[0, 2], [2, 0]]  # .9, .7 and none
    counts = np.array(right, dtype=float)
    made.tallies[0].add(counts, np.zeros((2, 1, 3)))
    assert made.violations()[0].exact == pytest.approx(0.2)


def test_images_read_by_hand() -> None:
    notion, images = fairness.get("accuracy", 2), np.array([[60.0, 20.0], [15.0, 5.0]])
    assert images_read(notion, images, np.inf) == pytest.approx(np.array([[80.0, 20.0]]))
    assert images_read(notion, images, 50.0) == pytest.approx(np.array([[40.0, 10.0]]))
    assert images_read(notion, 0 * images, 50.0) == pytest.approx(np.zeros((1, 2)))


@pytest.mark.parametrize("name", ["accuracy", "odds", "worst-group"])
def test_a_balanced_start_gives_each_group_the_same_part(name: str) -> None:
    notion, images = fairness.get(name, 2), np.array([[40.0, 10.0], [5.0, 15.0], [20.0, 10.0]])
    dual = alone(notion, 3, start=[images])
    assert not dual.table.any()
    dual.begin()
    labels, groups = np.array([0, 1] * 3), np.repeat([0, 1, 2], 2)[:, None]
    rows = GroupRows([3], 2)
    part = lagrangian_part(dual.table, notion, rows, 0.0, labels, groups, images.reshape(-1))
    mass = (part * images.reshape(-1)).reshape(3, 2)
    if name == "odds":
        assert mass == pytest.approx(np.tile([40.0, 15.0], (3, 1)))
    else:
        assert mass.sum(axis=1) == pytest.approx([50.0] * 3)
    assert part.min() >= 1.0


@pytest.mark.parametrize("exponentiated", [False, True])
@pytest.mark.parametrize("name", ["odds", "parity"])
def test_a_multiplier_moves_alike_in_its_unit_whatever_the_share_of_its_images(name: str, exponentiated: bool) -> None:
    """In units everything moves as it would with a unit of one, and at the cap a stratum has cap times the largest."""
    notion = fairness.get(name, 2)
    images = np.array([[40.0, 10.0], [5.0, 15.0]])
    counts = np.array([[[30.0, 10.0], [4.0, 6.0]], [[2.0, 3.0], [3.0, 12.0]]])
    given = {"rate": 0.3, "cap": 2.0, "exponentiated": exponentiated}
    plain = alone(notion, 2, start=[images], **given)
    few = alone(notion, 2, start=[images], unit=[images], **given)
    unit = np.array([[40.0], [15.0]]) / 70.0 if name == "odds" else np.array([[50.0 / 70.0]])
    assert few.unit[0] == pytest.approx(unit[None])
    for dual in (plain, few):
        dual.begin()
    assert few.table == pytest.approx(plain.table)  # the balance is the same
    if name == "odds":  # in units the start is 1 - n_g / n_max
        assert (few.of[0] / few.unit[0])[0] == pytest.approx(np.array([[0.0, 0.875], [1.0 / 3.0, 0.0]]))
    oracle = alone(notion, 2, **given)
    oracle.table[:] = few.table / unit
    oracle.start = [few.start[0] / unit]
    for _ in range(40):
        few.ascend([counts])
        oracle.ascend([counts])
        assert few.of[0] / few.unit[0] == pytest.approx(oracle.of[0])
    assert (few.of[0] / few.unit[0]).max() == pytest.approx(2.0)


def test_a_label_that_no_lower_image_has_leaves_its_unit_at_one() -> None:
    dual = alone(fairness.get("odds", 2), 2, unit=[np.array([[40.0, 0.0], [60.0, 0.0]])])
    assert dual.unit[0][0, :, 0] == pytest.approx([0.6, 1.0])


def test_a_balanced_start_leaves_rates_that_more_images_do_not_raise() -> None:
    dual = alone(fairness.get("parity", 2), 2, start=[np.array([[40.0, 10.0], [5.0, 15.0]])])
    dual.begin()
    assert not dual.table.any()
    many = alone(fairness.get("odds", 3), 2, start=[np.array([[40.0, 10.0, 5.0], [5.0, 15.0, 5.0]])])
    many.begin()
    assert np.flatnonzero(many.table[0].any(axis=1)).tolist() == [0, 4]  # recall of the first two classes
    assert not many.table[1].any()


def test_exponentiated_steps_by_hand() -> None:
    notion, counts = fairness.get("accuracy", 2), np.array([[[9.0, 1.0], [0.0, 0.0]], [[6.0, 4.0], [0.0, 0.0]]])
    dual = alone(notion, 2, exponentiated=True, rate=0.2)
    dual.of[0][0, 0] = [0.5, 0.2]
    dual.ascend([counts])
    expected = [0.6 * np.exp(2 * -0.3) - 0.1, 0.3 * np.exp(2 * 0.3) - 0.1]
    assert dual.of[0][0, 0] == pytest.approx(expected)
    for _ in range(200):
        dual.ascend([counts])
    assert dual.of[0][0, 0] == pytest.approx([0.0, 9.0])  # from 0 to the cap


@pytest.mark.parametrize("name", [n for n in fairness.names() if n != "degradation"])
def test_a_difference_below_its_standard_errors_is_none(name: str) -> None:
    """By hand: p = (hits + 1/2) / (n + 1), se = sqrt(p (1 - p) / (n + 1)), of a difference the root of the squares."""
    notion = fairness.get(name, 2)
    counts = np.array([[[45.0, 5.0], [8.0, 42.0]], [[12.0, 8.0], [5.0, 15.0]], [[7.0, 3.0], [4.0, 6.0]]])
    dual = alone(notion, 3, errors=1.5, tolerance=[0.05])
    dual.ascend([counts])
    rate, size = notion.rates(counts)
    p = (rate * size + 0.5) / (size + 1)
    error = 1.5 * np.sqrt(p * (1 - p) / (size + 1))
    whole = notion.rates(counts.sum(axis=0, keepdims=True))[0]
    for m, direction in enumerate(notion.direction):
        for g in range(3):
            others = [h for h in range(3) if h != g]
            beyond = [rate[m, h] - rate[m, g] - max(0.05, np.hypot(error[m, g], error[m, h])) for h in others]
            if direction == 0:
                assert dual.of[0][0, m, g] == pytest.approx(sum(max(b, 0.0) for b in beyond))
            elif notion.against == "whole":
                assert dual.of[0][0, m, g] == pytest.approx(max(whole[m, 0] - rate[m, g] - max(0.05, error[m, g]), 0.0))
            else:
                assert dual.of[0][0, m, g] == pytest.approx(max(0.0, *beyond))


def test_many_copies_of_few_images_are_no_more_certain() -> None:
    notion, counts = fairness.get("accuracy", 2), np.array([[[9.0, 1.0], [0.0, 0.0]], [[6.0, 4.0], [0.0, 0.0]]])
    data = [np.array([[10.0, 0.0], [10.0, 0.0]])]
    few, seen_again = (alone(notion, 2, errors=1.0, data=data) for _ in range(2))
    few.ascend([counts])
    seen_again.ascend([50 * counts])
    assert few.table == pytest.approx(seen_again.table)


@pytest.mark.parametrize("at", [0.15, 0.5])
@pytest.mark.parametrize("errors", [0.0, 1.5])
@pytest.mark.parametrize("name", [n for n in fairness.names() if n != "degradation"])
def test_multipliers_fall_to_their_start_and_below_only_in_the_lead(name: str, errors: float, at: float) -> None:
    """By hand, from the rates, with starts of (n_max - n) / N for rates of right answers and of 0 for the others."""
    notion = fairness.get(name, 2)
    counts = np.array([[[48.0, 2.0], [4.0, 46.0]], [[12.0, 8.0], [5.0, 15.0]], [[7.0, 3.0], [4.0, 6.0]]])
    images = counts.sum(axis=2)
    dual = alone(notion, 3, errors=errors, tolerance=[0.05], start=[images], rests=True)
    dual.table[:] = at
    dual.pairs[0][:] = at * (1.0 - np.eye(3))
    dual.ascend([counts])
    rate, size = notion.rates(counts)
    p = (rate * size + 0.5) / (size + 1)
    error = errors * np.sqrt(p * (1 - p) / (size + 1))
    whole = notion.rates(counts.sum(axis=0, keepdims=True))[0]
    for m, direction in enumerate(notion.direction):
        side, sign = (1, -1.0) if direction < 0 else (0, 1.0)
        for g in range(3):
            others = [h for h in range(3) if h != g]
            behind = [sign * (rate[m, h] - rate[m, g]) for h in others]
            allowed = [max(0.05, np.hypot(error[m, g], error[m, h])) for h in others]
            if notion.against == "whole":
                behind, allowed = [sign * (whole[m, 0] - rate[m, g])], [max(0.05, error[m, g])]
            pairs = list(zip(behind, allowed, strict=True))
            violation, leading = max(b - a for b, a in pairs), max(b + a for b, a in pairs)
            start = (size[m].max() - size[m, g]) / images.sum() if direction > 0 else 0.0
            if direction == 0:
                expected = sum(max(at + b - a, 0.0) for b, a in pairs)
            elif violation > 0:
                expected = at + violation
            elif leading < 0:
                expected = max(min(at + leading, max(at + violation, min(at, start))), 0.0)
            else:
                expected = max(at + violation, min(at, start))
            assert dual.of[0][side, m, g] == pytest.approx(expected)


def test_at_rest_multipliers_are_where_they_started_and_fall_from_there_in_the_lead_alone() -> None:
    notion, images = fairness.get("accuracy", 2), [np.array([[60.0, 0.0], [40.0, 0.0]])]
    equal = np.array([[[46.0, 4.0], [0.0, 0.0]], [[45.0, 5.0], [0.0, 0.0]]])
    lead = np.array([[[40.0, 10.0], [0.0, 0.0]], [[46.0, 4.0], [0.0, 0.0]]])
    resting, falling = (alone(notion, 2, tolerance=[0.05], start=images, rests=of) for of in (True, False))
    for dual in (resting, falling):
        dual.begin()
        assert dual.of[0][0, 0] == pytest.approx([0.0, 0.2])
        dual.table[0, 0, 1] += 0.1
        for _ in range(20):
            dual.ascend([equal])
    assert resting.of[0][0, 0] == pytest.approx([0.0, 0.2])
    assert not falling.of[0].any()
    resting.ascend([lead])  # the second is ahead by .12, .07 more than is allowed
    assert resting.of[0][0, 0] == pytest.approx([0.07, 0.13])


def test_a_group_far_in_the_lead_falls_past_its_start_at_once() -> None:
    notion, images = fairness.get("accuracy", 2), [np.array([[60.0, 0.0], [40.0, 0.0]])]
    dual = alone(notion, 2, tolerance=[0.05], start=images, rests=True)
    dual.table[0, 0, 1] = 0.25
    dual.ascend([np.array([[[20.0, 30.0], [0.0, 0.0]], [[46.0, 4.0], [0.0, 0.0]]])])  # by .52
    assert dual.of[0][0, 0] == pytest.approx([0.47, 0.0])


@pytest.mark.parametrize("name", fairness.names())
def test_without_a_start_both_ways_to_fall_are_one(name: str) -> None:
    notion, rng = fairness.get(name, 2), np.random.default_rng(0)
    dense = [rng.integers(5, 20, (3, 2, 2)).astype(float)] if notion.relative else None
    resting, falling = (alone(notion, 3, rate=0.3, exponentiated=True, dense=dense, rests=of) for of in (True, False))
    for _ in range(30):
        counts = [rng.integers(5, 20, (3, 2, 2)).astype(float)]
        resting.ascend(counts)
        falling.ascend(counts)
        assert resting.table == pytest.approx(falling.table)
