"""Outputs that mean the classes in another order: found from counts alone, and never in noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fairprune_cli.audit.class_order import class_orders


def read_as(order: list[int], accuracy: float, images: int, seed: int = 0) -> np.ndarray:
    """Counts of a model whose output j means class order[j]."""
    generator, size = np.random.default_rng(seed), len(order)
    labels = np.arange(images) % size
    meant = np.where(generator.random(images) < accuracy, labels, generator.integers(0, size, images))
    counts = np.zeros((size, size), int)
    np.add.at(counts, (labels, np.argsort(order)[meant]), 1)
    return counts


def found(counts: np.ndarray, classes: list[str]) -> dict[tuple[int, ...], float]:
    return {one.order: one.log_p for one in class_orders(counts, classes)}


@pytest.mark.parametrize("order", [[1, 0], [2, 0, 1], [1, 0, 2], [3, 1, 0, 2], [4, 3, 2, 1, 0]])
def test_the_order_is_found(order: list[int]) -> None:
    counts = read_as(order, 0.9, 200)
    orders = found(counts, [f"c{k}" for k in range(len(order))])
    assert min(orders, key=lambda one: orders[one]) == tuple(order)
    assert orders[tuple(order)] < math.log(1e-6)


def test_integers_that_were_sorted_as_text() -> None:
    """The classes of a network that was trained with y = int(label)."""
    text = sorted(map(str, range(12)))
    numbers = tuple(text.index(str(k)) for k in range(12))
    (one,) = [one for one in class_orders(read_as(list(numbers), 0.9, 240), text) if one.order == numbers]
    assert one.how == "sorted as numbers"
    assert [text[k] for k in one.order] == list(map(str, range(12)))


def test_the_best_order_is_the_best_of_all() -> None:
    counts = np.random.default_rng(1).integers(0, 20, (4, 4))
    best = max(sum(counts[order[j], j] for j in range(4)) for order in itertools.permutations(range(4)))
    assert max(one.correct for one in class_orders(counts, list("dbca"))) == best


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_noise_has_no_order(classes: int) -> None:
    generator, false = np.random.default_rng(2), 0
    for _ in range(1000):
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (np.arange(200) % classes, generator.integers(0, classes, 200)), 1)
        orders = found(counts, [f"c{k}" for k in range(classes)])
        false += any(log_p <= math.log(0.05 / len(orders)) for log_p in orders.values())
    assert false <= 50


def test_a_good_model_has_no_other_order() -> None:
    assert all(log_p == 0.0 for log_p in found(read_as([0, 1, 2], 0.9, 300), ["a", "b", "c"]).values())
    assert class_orders(np.zeros((2, 2), int), ["a", "b"]) == []
