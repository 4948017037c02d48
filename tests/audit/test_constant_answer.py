"""A model held against one answer to all images: its level by enumeration, its power, and what is said."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fairprune_cli.audit.class_order import log_chance
from fairprune_cli.audit.constant_answer import (
    against_constant_answer,
    better,
    in_full,
    in_short,
)
from fairprune_cli.audit.doubt import Cause, ConstantAnswer
from fairprune_cli.audit.intervals import share_interval


def table(rows: list[list[int]]) -> ConstantAnswer:
    counts = np.array(rows)
    found = against_constant_answer(counts, [f"c{k}" for k in range(len(counts))], 0.95)
    assert found is not None
    return found


def test_what_it_holds_against_what() -> None:
    found = table([[5, 55], [30, 10]])
    assert (found.answer, found.share, found.accuracy, found.n, found.present) == ("c0", 0.6, 0.15, 100, 2)
    assert found.balanced == pytest.approx((5 / 60 + 10 / 40) / 2)
    assert (found.better, found.tells_apart) == (False, False)
    assert against_constant_answer(np.zeros((2, 2), int), ["a", "b"], 0.95) is None


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (40, 0), (40, 40), (40, 23), (5000, 2570)])
def test_bounds_are_those_of_clopper_and_pearson(n: int, k: int) -> None:
    wanted = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    assert share_interval(k, n, 0.95) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(15, 15), (20, 10), (27, 3), (30, 0)])
def test_predictions_that_do_not_depend_on_labels_are_hardly_ever_better(first: int, second: int) -> None:
    """All outcomes of a model that says the first class with chance q, whatever the image shows."""
    hits = np.add.outer(np.arange(first + 1), np.arange(second + 1))
    least = next((k for k in range(31) if share_interval(k, 30, 0.95)[0] > first / 30), 31)
    for q in np.linspace(0, 1, 21):
        chances = np.multiply.outer(
            stats.binom.pmf(np.arange(first + 1), first, q), stats.binom.pmf(np.arange(second + 1), second, 1 - q)
        )
        assert chances[hits >= least].sum() <= 0.025


@pytest.mark.parametrize(("accuracy", "share", "n", "least"), [(0.6, 0.5, 300, 0.9), (0.9, 0.8, 200, 0.95)])
def test_a_useful_model_is_not_taken_for_one(accuracy: float, share: float, n: int, least: float) -> None:
    needed = next(k for k in range(n + 1) if share_interval(k, n, 0.95)[0] > share)
    assert stats.binom.sf(needed - 1, n, accuracy) >= least


def test_the_bound_of_a_chance_holds_and_does_not_underflow() -> None:
    for n in (1, 7, 60):
        for k in range(n + 1):
            for rate in (0.02, 0.3, 0.5, 0.9):
                assert stats.binom.logsf(k - 1, n, rate) <= log_chance(k, n, rate) + 1e-12 <= 1e-12
    assert log_chance(200, 200, 0.001) == pytest.approx(200 * math.log(0.001))
    assert log_chance(3, 5, 0.0) == -math.inf
    assert log_chance(0, 0, 0.5) == 0.0


def test_a_share_that_is_hard_to_beat_is_said_honestly() -> None:
    found = table([[9400, 300], [60, 240]])  # 97 % of one class: 96.4 % right, and yet 80 % of the rare ones
    assert (found.better, found.tells_apart) == (False, True)
    assert "It does tell the classes apart: each is recognised in 88.5 % on average" in in_full(found, "the model")


def test_classes_are_told_apart_beyond_shuffled_predictions() -> None:
    generator = np.random.default_rng(0)
    labels, false = np.repeat([0, 1, 2], [160, 30, 10]), 0
    for _ in range(2000):
        counts = np.zeros((3, 3), int)
        np.add.at(counts, (labels, generator.choice(3, 200, p=[0.7, 0.2, 0.1])), 1)
        false += table(counts.tolist()).tells_apart
    assert false / 2000 <= 0.05  # skewed by the ten of the last class; 0.025 with many


def test_words() -> None:
    few = table([[6, 2], [1, 5]])
    assert better(few, point_estimate=True)
    assert not better(few, point_estimate=False)
    assert "which are too few to show it" in in_full(few, "the model")
    one = table([[30, 0], [0, 0]])
    assert (
        in_short(one, "the model") == "every image is c0, so that the model cannot be better than always answering it"
    )
    cause = Cause("with values from 0 to 255", "write it", 0.89, 0.84, 0.93, 200)
    text = in_full(replace(table([[5, 55], [30, 10]]), causes=(cause,), tried=30, tried_on=200), "the model")
    assert "not better than always answering c0 (60.0 %): it is right on 15.0 % [8.6, 23.5] of 100 images" in text
    assert text.endswith("With values from 0 to 255 it would be 89.0 % (on 200 images): write it")
    assert "None of 30 other ways" in in_full(replace(one, present=2, tried=30, tried_on=200), "the model")


def test_integers_sorted_as_text_are_better_than_one_answer_and_yet_not_what_is_meant() -> None:
    """0 and 1 keep their places among twelve classes, so that a sixth is right, twice as much as by one answer."""
    text = sorted(map(str, range(12)))
    counts = np.zeros((12, 12), int)
    for label in range(12):
        counts[text.index(str(label)), label] = 37
        counts[text.index(str(label)), (label + 5) % 12] += 3
    found = against_constant_answer(counts, text, 0.95)
    assert found is not None
    assert found.low > found.share
    assert found.fits_better == tuple(map(str, range(12)))
    assert not found.better
    assert not better(found, point_estimate=True)
    assert in_short(found, "the model").startswith(
        "the outputs of the model fit the classes better in another order: 0, 1"
    )
