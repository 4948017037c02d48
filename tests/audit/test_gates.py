"""What gates can be asked for, and what the verdict over them ends with."""

from __future__ import annotations

import math

import pytest

from fairprune_cli.audit.gates import GatePolicy, exit_code
from fairprune_cli.core.errors import ExitCode, FairpruneError


def test_exit_codes() -> None:
    codes = {kind: exit_code(kind) for kind in ("pass", "none", "fail", "inconclusive")}
    assert codes == {
        "pass": ExitCode.OK, "none": ExitCode.OK,
        "fail": ExitCode.GATE_FAILED, "inconclusive": ExitCode.INCONCLUSIVE,
    }  # fmt: skip


def test_a_bad_policy_reports_every_problem_at_once() -> None:
    with pytest.raises(FairpruneError) as caught:
        GatePolicy(max_gap=5, min_accuracy=math.nan, min_group=0, confidence=95, notion="parety")
    text = str(caught.value)
    for flag in (
        "--max-gap is 5",
        "--min-accuracy is nan",
        "--min-group is 0",
        "--confidence is 95",
        "parity",
    ):
        assert flag in text
    assert caught.value.code == ExitCode.BAD_INPUT
