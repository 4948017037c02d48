"""What a training step dispatches stays within bounds of a plain one, on the CPU's path and on an accelerator's."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fairprune_cli.core.transfer import Arriving, as_accelerator

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MOVING, FIXED = 1.5, 1.25  # times the operators of a plain step
READS = 0.1  # numbers read from tensors per step


@pytest.fixture
def dispatch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("dispatch")


@pytest.fixture
def rows(dispatch: ModuleType, tmp_path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dispatch.rows_of("resnet18", tmp_path, ["bifp"], full=False, breakdown=False)
    return found


def test_a_pruning_step_dispatches_little_more_than_a_plain_one_and_reads_next_to_nothing(
    rows: list[dict[str, Any]],
) -> None:
    plain, *pruning = rows
    assert plain["cpu"]["operators"] == plain["accelerator"]["operators"] > 150
    assert {(row["granularity"], row["mask"]) for row in pruning} == {
        (granularity, mask) for granularity in ("weight", "channel", "2:4") for mask in ("moving", "fixed")
    }
    over = [
        f"{row['granularity']}, mask {row['mask']}, {path}: {row[path]['ratio']:.2f} times plain, "
        f"{row[path]['reads']:.2f} reads"
        for row in pruning
        for path in ("cpu", "accelerator")
        if row[path]["ratio"] > (MOVING if row["mask"] == "moving" else FIXED) or row[path]["reads"] > READS
    ]
    assert over == []


def test_what_is_counted_and_what_is_not(dispatch: ModuleType) -> None:
    a, keep = torch.ones(2, 3), torch.tensor([True, False])
    with dispatch.Dispatched() as counted:
        (a.t().view(3, 2)[0].detach().unsqueeze(0) + 1).relu_()  # two operators among views
        with torch.autograd.profiler.record_function("marker"):
            pass
        assert float(a.sum()) == 6.0
        a[keep]
    assert counted.operators == {
        "aten.add.Tensor": 1, "aten.relu_.default": 1, "aten.sum.default": 1, "aten._local_scalar_dense.default": 1,
        "aten.index.Tensor": 1,
    }  # fmt: skip
    assert counted.reads == {"aten._local_scalar_dense.default": 1}


def test_an_accelerator_also_waits_for_sizes_and_for_copies_that_have_not_arrived(dispatch: ModuleType) -> None:
    a, keep, step = torch.ones(2, 3), torch.tensor([True, False]), 0
    counted = dispatch.Dispatched()
    with as_accelerator(), dispatch.looked_at_once(counted, lambda: step), counted:
        a[keep]
        a[torch.tensor([0])]
        keep.nonzero()
        at_once, later = Arriving(a), Arriving(a)
        at_once.numpy()
        step = 1
        later.numpy()
    assert counted.reads == {"aten.index.Tensor": 1, "aten.nonzero.default": 1, "a copy to the host": 1}


def test_narrow_networks_have_the_operators_of_the_wide_ones(
    dispatch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    narrow = importlib.import_module("_narrow")
    from torchvision import models

    for wide, made in ((models.resnet18, narrow.resnet18), (models.resnet50, narrow.resnet50)):
        counts = []
        for network in (wide(num_classes=2), made(2)):
            with dispatch.Dispatched() as counted:
                network(torch.rand(2, 3, 32, 32)).sum().backward()
            counts.append(counted.operators)
        assert counts[0] == counts[1]
        assert sum(p.numel() for p in made(2).parameters()) < sum(p.numel() for p in wide().parameters()) / 8
