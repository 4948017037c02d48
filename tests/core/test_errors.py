"""The nearest name: whatever the case, by its other names, and never away from fairness."""

from __future__ import annotations

import pytest

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.plugins import METHOD, NOTION


@pytest.mark.parametrize("slip", ["bfip", "bipf", "bifpp", "bif", "bp", "BIFP", "bi-fp", "bitp", "biffp", "bofp"])
def test_a_slip_in_bifp_stays_with_fairness(slip: str) -> None:
    assert METHOD.nearest(slip) == "did you mean 'bifp'?"


@pytest.mark.parametrize(("word", "meant"), [
    ("BIP", "bip"), ("l1", "magnitude"), ("L2-norm", "magnitude"), ("one_shot", "magnitude-oneshot"),
    ("fairprun", "fairprune"), ("fairgrap", "fairgrape"), ("Lottery Ticket", "lottery"), ("magnitud", "magnitude"),
    ("Fair_Prune", "fairprune"), ("fair prune", "fairprune"), ("FairThenPrune", "fair-then-prune"),
])  # fmt: skip
def test_methods_by_their_other_names(word: str, meant: str) -> None:
    assert METHOD.nearest(word) == f"did you mean {meant!r}?"


@pytest.mark.parametrize(("word", "meant"), [
    ("equalized-odds", "odds"), ("Equalised Odds", "odds"), ("demographic_parity", "parity"),
    ("statistical parity", "parity"), ("equal-opportunity", "opportunity"), ("equalized-od", "odds"),
])  # fmt: skip
def test_notions_by_their_other_names(word: str, meant: str) -> None:
    assert NOTION.nearest(word) == f"did you mean {meant!r}?"


def test_what_is_like_nothing_lists_what_there_is() -> None:
    assert nearest("xyz", ["b", "a"]) == "known: a, b"
    assert NOTION.nearest("mine.gap") == "a notion of your own is written package.module:name"


def test_a_value_without_end_is_cut() -> None:
    text = str(FairpruneError(f"format version {'9' * 5000}, this one reads 1"))
    assert len(text) < 300
    assert text.endswith("… this one reads 1")
