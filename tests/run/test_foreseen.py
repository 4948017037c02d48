"""Gates that the data cannot judge are refused, or told, before anything is computed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.audit.policy import Policy
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.manifest import Grouping, Manifest
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.run.foreseen import refuse_gates_without_groups, warn_of_undecidable_gates
from fairprune_cli.run.inputs import Data


def data(*groupings: Grouping, images: int = 100) -> Data:
    manifest = Manifest(
        Path("manifest.yaml"), "m", Path("."), ("a", "b"), Transform((8, 8), (0.5,), (0.5,)), "0" * 64,
        tuple(f"{i}.png" for i in range(images)), np.zeros(images, np.int64), np.full(images, 2, np.int8),
        np.zeros(images, np.int64), {one.name: one for one in groupings}, None, "table.csv", (),
    )  # fmt: skip
    return Data(manifest, groupings)


def skin(sizes: dict[str, int], ungrouped: int = 0, dropped: bool = False, absent: tuple[str, ...] = ()) -> Grouping:
    index = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    return Grouping("skin", tuple(sizes), np.append(index, np.full(ungrouped, -1)), absent, dropped)


def warned(policy: dict[str, object], grouping: Grouping) -> list[str]:
    terminal = Terminal(io.StringIO(), io.StringIO())
    warn_of_undecidable_gates(Policy.parse(policy), data(grouping, images=len(grouping.index)), "test", terminal)
    return [warning["text"] for warning in terminal.warnings]


def test_gates_on_groups_that_are_not_there_are_refused() -> None:
    alone, both = skin({"light": 100}), skin({"light": 60, "dark": 40})
    for policy, found, expected in (
        ({"max_gap": 0.1}, data(), "no attributes"),
        ({"max_degradation": 0.1}, data(), "no attributes"),
        ({"max_churn": 0.1}, data(), "no attributes"),
        ({"rules": [{"attribute": "skin", "max_gap": 0.1}]}, data(alone), "skin: a gap needs two groups.*only 'light'"),
    ):
        with pytest.raises(FairpruneError, match=expected) as caught:
            refuse_gates_without_groups(Policy.parse(policy), found)
        assert caught.value.code == ExitCode.BAD_INPUT
    refuse_gates_without_groups(Policy.parse({"max_gap": 0.1}), data(both))
    refuse_gates_without_groups(Policy.parse({"min_accuracy": 0.5}), data())
    refuse_gates_without_groups(Policy.parse({"rules": [{"attribute": "skin", "min_accuracy": 0.5}]}), data(alone))


def test_what_can_only_be_inconclusive_is_told_before_the_training() -> None:
    few = skin({"light": 71, "dark": 29})
    told = [
        "a gate on skin asks for 30 images of each group, there are dark (29 images) in the test split: "
        "the verdict cannot be pass"
    ]
    assert warned({"max_gap": 0.1}, few) == told
    assert warned({"max_gap": 0.1, "max_degradation": 0.1}, few) == told
    assert warned({"max_churn": 0.1}, few) == told
    assert warned({"max_gap": 0.1, "min_group": 29}, few) == []
    assert warned({"max_gap": 0.1, "allow_small_groups": True}, few) == []
    assert warned({"min_accuracy": 0.5}, few) == []
    assert "dark (0 images)" in warned({"max_gap": 0.1}, skin({"light": 60, "medium": 40}, absent=("dark",)))[0]
    enough = {"light": 60, "dark": 40}
    assert "3 images are in none of its groups" in warned({"max_gap": 0.1}, skin(enough, 3))[0]
    assert warned({"max_gap": 0.1}, skin(enough, 3, dropped=True)) == []
