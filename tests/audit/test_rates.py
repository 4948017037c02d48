"""A notion's rates against loops over images, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest

from fairprune_cli.audit.rates import rate_of, rates_of
from fairprune_cli.fairness import notions

BINARY, THREE = ("neutral", "smiling"), ("cat", "dog", "fox")


def told(name: str, classes: tuple[str, ...]) -> list[str]:
    k = len(classes)
    return [rate.name for rate in rates_of(notions.get(name, k), np.ones((2, k, k), int), classes)]


def test_two_classes_are_told_of_the_positive_one() -> None:
    assert told("parity", BINARY) == ["predicted smiling"]
    assert told("opportunity", BINARY) == ["predicted smiling among images labelled smiling"]
    assert told("odds", BINARY) == [
        "predicted smiling among images labelled smiling",
        "predicted smiling among images labelled neutral",
    ]
    assert told("accuracy", BINARY) == ["classified right"]


def test_the_complement_counts_the_other_prediction() -> None:
    counts = np.array([[[50, 10], [5, 35]], [[40, 40], [20, 100]]])
    positive, alarms = rates_of(notions.get("odds", 2), counts, BINARY)
    assert (positive.k.tolist(), positive.n.tolist()) == ([35, 100], [40, 120])
    assert (alarms.k.tolist(), alarms.n.tolist()) == ([10, 40], [60, 80])
    assert alarms.of == "images labelled neutral"


def test_three_classes_are_told_one_by_one() -> None:
    assert told("opportunity", THREE) == [f"predicted {c} among images labelled {c}" for c in THREE]
    odds = told("odds", THREE)
    assert len(odds) == 9
    assert odds[:4] == [f"predicted {c} among images labelled fox" for c in THREE] + [
        "predicted cat among images labelled dog"
    ]


@pytest.mark.parametrize(
    ("cells", "labels", "expected"),
    [
        ([(0, 1), (0, 2)], [0], "predicted dog or fox among images labelled cat"),
        ([(1, 1), (2, 2)], [1, 2], "classified right among images labelled dog or fox"),
        ([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)], [0, 1, 2], "classified wrong"),
        ([(0, 1), (2, 0)], [0, 1, 2], "predicted dog for cat or cat for fox"),
        ([(0, 0), (1, 0), (2, 0)], [0, 1], "predicted cat among images labelled cat or dog"),
    ],
)
def test_any_event_has_words_and_counts_its_own_images(
    cells: list[tuple[int, int]], labels: list[int], expected: str
) -> None:
    event, population = np.zeros((3, 3), bool), np.zeros(3, bool)
    event[tuple(np.transpose(cells))] = True
    population[labels] = True
    counts = np.random.default_rng(0).integers(0, 50, (4, 3, 3))
    rate = rate_of(event, population, counts, THREE)
    assert rate.name == expected
    for g in range(4):
        assert rate.k[g] == sum(counts[g, y, p] for y, p in cells if y in labels)
        assert rate.n[g] == sum(counts[g, y].sum() for y in labels)
