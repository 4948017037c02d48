from __future__ import annotations

import numpy as np
import pytest

from fairprune_cli.export.agreement import agreement_of


def test_kappa_of_cases_worked_by_hand() -> None:
    # Cohen's own way: 35 of 50 agree, chance is 0.5 * 0.6 + 0.5 * 0.4 = 0.5, so (0.7 - 0.5) / (1 - 0.5).
    found = agreement_of(np.array([[20, 5], [10, 15]]))
    assert (found.images, found.same) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.collapsed
    three = agreement_of(np.diag([7, 2, 1]))
    assert (three.same, three.kappa, three.collapsed) == (1.0, pytest.approx(1.0), False)


def test_what_knows_nothing_of_the_other_has_collapsed_however_often_both_say_the_same() -> None:
    independent = agreement_of(np.array([[81, 9], [9, 1]]))  # each says the first class 9 times in 10
    assert independent.same == pytest.approx(0.82)
    assert independent.kappa == pytest.approx(0.0)
    assert independent.collapsed


def test_one_class_alone_leaves_no_kappa_and_the_share_decides() -> None:
    found = agreement_of(np.array([[30, 2], [0, 0]]))
    assert found.kappa is None
    assert not found.collapsed
    assert agreement_of(np.array([[1, 31], [0, 0]])).collapsed
