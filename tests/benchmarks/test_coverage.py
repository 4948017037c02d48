"""The simulation of the intervals knows every kind of gate, and the page on the method shows what it found."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.audit.policy import BOUNDS
from fairprune_cli.fairness import notions

ROOT = Path(__file__).parents[2]
# By its path: a well-known package has the same name.
_SPEC = importlib.util.spec_from_file_location("simulated_coverage", ROOT / "benchmarks" / "coverage.py")
assert _SPEC is not None
assert _SPEC.loader is not None
coverage = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = coverage  # its dataclasses look themselves up
_SPEC.loader.exec_module(coverage)
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "coverage.json").read_text("utf-8"))


def test_every_kind_of_gate_is_simulated() -> None:
    flags = {bound.replace("_", "-") for bound in BOUNDS}
    assert flags <= {kind.split(",")[0] for kind in coverage.KINDS}
    assert {f"max-gap, {name}" for name in notions.names()} <= set(coverage.KINDS)
    assert list(RESULTS["kinds"]) == list(coverage.KINDS)


@pytest.mark.parametrize("kind", coverage.KINDS)
def test_an_interval_holds_the_truth_of_its_setting(kind: str) -> None:
    """The truth that is simulated is that of the figure: with many images the interval closes around it."""
    setting = coverage.Setting(np.array([400_000, 600_000, 500_000]), 0.8, "one worse")
    found = coverage.KINDS[kind](setting, 20, np.random.default_rng(0))
    assert np.mean((found.low <= found.truth) & (found.truth <= found.high)) >= 0.7
    assert np.all(found.high - found.low < 0.01)


def test_what_was_found_is_what_is_promised_and_what_the_page_shows() -> None:
    kinds = RESULTS["kinds"]
    assert min(of["least_holds"] for of in kinds.values()) >= RESULTS["confidence"] - 0.015
    assert max(of["most_alarms"] for of in kinds.values()) <= 1 - RESULTS["confidence"]
    assert max(of["most_passes"] for of in kinds.values()) <= 1 - RESULTS["confidence"]
    assert coverage.table(kinds) in (ROOT / "docs" / "method.md").read_text("utf-8")
