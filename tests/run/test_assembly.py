"""What a run is put together from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import WeightMasks
from fairprune_cli.run.assembly import Assembly, constrained_notion
from fairprune_cli.run.options import Settings
from fairprune_cli.run.prepare import _refuse_target


@pytest.mark.parametrize("count", [1, 2])
def test_levelling_is_a_share_of_what_each_task_has_of_the_loss(count: int) -> None:
    """CE is the mean of the tasks': an image of the better group is never pulled harder away than CE pulls it."""
    settings, method = Settings(levelling=1.0, target="absolute"), methods.get("bifp")
    tasks = [SimpleNamespace(name=str(t), classes=("x", "y")) for t in range(count)]
    dense = nn.Linear(2, 2 * count)
    columns = [(2 * t, 2 * t + 1) for t in range(count)]
    attach(dense, ReadOut((OutputTable(None, 2 * count),), tuple(Scores(0, own) for own in columns)))
    data = SimpleNamespace(
        groupings=[SimpleNamespace(name="age", groups=("a", "b"))], manifest=SimpleNamespace(tasks=tasks)
    )
    run = Assembly(
        settings, method, tuple(constrained_notion(settings, method, 2) for _ in tasks), dense, dense,
        WeightMasks(dense), data, torch.device("cpu"),  # type: ignore[arg-type]
    )  # fmt: skip
    seen = SimpleNamespace(labels=np.zeros((1, count), np.int64), groups=np.zeros((1, 1), np.int64))
    constraint, _ = run._constraint(SimpleNamespace(lower=seen, upper=seen))  # type: ignore[arg-type]
    for mu in constraint.multipliers:
        mu[0, 0, 1] = 3.0  # the second group is behind
    labels, groups = np.zeros((10, count), np.int64), np.array([[0], [1]] * 5)
    term = constraint.term(labels[:, 0] if count == 1 else labels, groups)
    own_pull = 1.0 / (10 * count)  # of CE, on the score of an image that is told to be wrong
    assert term[0, 0] / count == pytest.approx([own_pull, 0.0] * count)  # the Lagrangian has the mean of the tasks'


@pytest.mark.parametrize(
    ("method_name", "notion_name", "target", "to_dense"),
    [
        ("bifp", "accuracy", "absolute", False), ("bifp", "accuracy", "dense", True),
        ("bifp", "accuracy", "method", False), ("bifp", "worst-group", "method", False),
        ("bifp", "odds", "method", True), ("bifp", "odds", "absolute", False),
        ("bifp", "degradation", "method", False), ("constrained", "odds", "method", False),
        ("constrained", "odds", "dense", True),
    ],
)  # fmt: skip
def test_a_gap_comes_down_to_the_dense_models_where_that_is_asked_for(
    method_name: str, notion_name: str, target: str, to_dense: bool
) -> None:
    settings, method = Settings(notion=notion_name, target=target, tolerance_errors=0.0), methods.get(method_name)
    dense = nn.Linear(2, 2)
    data = SimpleNamespace(groupings=[SimpleNamespace(name=n, groups=("a", "b")) for n in ("age", "gender")])
    notion = constrained_notion(settings, method, 2)
    run = Assembly(
        settings, method, (notion,), dense, dense, WeightMasks(dense), data, torch.device("cpu"),  # type: ignore[arg-type]
    )  # fmt: skip
    right = [np.array([[[n, 100 - n], [0, 0]] for n in pair]) for pair in ((90, 60), (80, 79))]
    images = [counts.sum(axis=2) for counts in right]
    made = run._task_constraint(notion, right, None, images)
    assert made.tolerances == pytest.approx([0.3 if to_dense else 0.02, 0.02])
    assert made._dual.rests == (not to_dense)  # at their start, which keeps the groups in balance
    if made.notion.relative:
        return
    # Of the first attribute the pruned model has a gap of .2, of the second one of .05.
    for tally, pair in zip(made.tallies, ((90, 70), (80, 75)), strict=True):
        tally.add(np.array([[[n, 100 - n], [0, 0]] for n in pair], dtype=float), np.zeros((2, 1, 2)))
    made.update()
    assert [bool(mu.any()) for mu in made.multipliers] == [not to_dense, True]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"notion": "degradation"}, "leave it out, or ask for another --notion"),
        ({"notion": "odds", "method": "ceag", "method_notion": "own"}, "--notion with --set method_notion=asked"),
        ({"notion": "degradation", "method": "bip"}, ""), ({"notion": "degradation", "fairness_on": "none"}, ""),
        ({"notion": "degradation", "method": "bip", "group_thresholds": True}, "another --notion"),
    ],
)  # fmt: skip
def test_the_dense_models_gap_is_refused_where_it_is_read_and_means_nothing(given: dict[str, Any], hint: str) -> None:
    settings = Settings(**{"target": "dense", **given})
    method = methods.get(settings.method)
    asked = [constrained_notion(settings, method, 2)]
    if not hint:
        _refuse_target(settings, method, asked)
        return
    with pytest.raises(FairpruneError, match="held against the dense model as it is") as refused:
        _refuse_target(settings, method, asked)
    assert refused.value.hint.endswith(hint)


def test_a_rate_of_a_handful_of_images_does_not_speak_for_the_dense_models_gap() -> None:
    settings, method = Settings(notion="odds", tolerance_errors=0.0), methods.get("bifp")
    dense = nn.Linear(2, 2)
    data = SimpleNamespace(groupings=[SimpleNamespace(name="gender", groups=("a", "b", "c"))])
    notion = constrained_notion(settings, method, 2)
    run = Assembly(
        settings, method, (notion,), dense, dense, WeightMasks(dense), data, torch.device("cpu"),  # type: ignore[arg-type]
    )  # fmt: skip
    counts = np.array([[[90, 10], [20, 80]], [[80, 20], [30, 70]], [[0, 9], [0, 30]]])  # c: .0 of 9 and 1.0 of 30 right
    made = run._task_constraint(notion, [counts], None, [counts.sum(axis=2)])
    assert made.tolerances == pytest.approx([0.3])  # recall of the second label, c before b; its false alarms are of 9
    everything = run._task_constraint(notion, [counts], None, [10 * counts.sum(axis=2)])
    assert everything.tolerances == pytest.approx([0.9])
