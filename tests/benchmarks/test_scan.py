"""Networks in the manner of people's own code are pruned, written and read back, or refused in a sentence."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
NETWORKS = importlib.import_module("_own_networks").NETWORKS
LARGE = {"forms.TorchvisionInside", "forms.TorchvisionChildren", "forms.Extracted"}
# By weight the kinds differ little, but for these.
BY_WEIGHT = ("shared.", "outputs.", "transformers.Multihead", "buffers.")


@pytest.fixture(scope="module")
def scan() -> Any:
    return importlib.import_module("_scan_trial")


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in LARGE])
def test_an_own_network_is_equal_to_the_bit_when_it_is_read_back(name: str, scan: Any) -> None:
    network = NETWORKS[name]
    kinds = scan.GRANULARITIES if name.startswith(BY_WEIGHT) else ("channel",)
    row = scan.trial(scan.Candidate(network.factory, network.shapes, network.manifest), granularities=kinds)
    for granularity in kinds:
        one = row[granularity]
        if network.refused:
            assert one["outcome"] == "refused"
            assert network.refused in one["message"]
            continue
        wanted = {"equal"} if network.channel or granularity == "weight" else {"less", "refused"}
        assert one["outcome"] in wanted, one["message"]


def test_there_are_networks_of_every_kind() -> None:
    kinds = {name.partition(".")[0] for name in NETWORKS}
    assert kinds == {path.stem for path in (BENCHMARKS / "_own_networks").glob("[a-z]*.py")}
    assert len(NETWORKS) >= 60
