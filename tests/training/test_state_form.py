"""A state whose values are of other kinds than a trainer's is refused before anything of it is taken up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from fairprune_cli.training.state_form import refuse_other_form

GROUP = {"lr": 0.1, "momentum": 0.9, "params": [0]}
OWN: dict[str, Any] = {
    "done": 0, "bf16": False, "best": {"accuracy": -1.0, "keep": torch.ones(2)}, "records": [], "later": None,
    "optimizer": {"param_groups": [GROUP]},
}  # fmt: skip


def changed(*path: Any, to: Any) -> dict[str, Any]:
    state = copy.deepcopy(OWN) | {"done": 3, "later": {"anything": 1}}
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return state


def test_a_state_of_the_same_kinds_is_taken() -> None:
    refuse_other_form(changed("best", "accuracy", to=1), OWN, 10)
    refuse_other_form(changed("optimizer", "param_groups", 0, "lr", to=0.01), OWN, 10)


@pytest.mark.parametrize(
    "state",
    [
        changed("done", to=None), changed("done", to=True), changed("done", to=-1), changed("done", to=11),
        changed("done", to="3"), changed("bf16", to=0), changed("best", to=[]), changed("best", "accuracy", to=None),
        changed("best", "keep", to=torch.ones(2, dtype=torch.int64)), changed("best", "keep", to=[1.0]),
        changed("records", to={}), changed("records", to=[{}]),
        changed("optimizer", "param_groups", 0, "momentum", to=1e30), changed("optimizer", "param_groups", to=[]),
    ],
)  # fmt: skip
def test_another_kind_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        refuse_other_form(state, OWN, 10)
