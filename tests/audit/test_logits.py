"""From an accelerator the audit takes logits late and in large pieces, and short of memory it takes small batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fairprune_cli.audit import logits as arriving
from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.counts import audit_models
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.transfer import as_accelerator

CLASSES = ("a", "b", "c")
GROUPINGS = [SimpleNamespace(name="gender", groups=("m", "f")), SimpleNamespace(name="age", groups=("x", "y", "z"))]


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor
    rows: Tensor


@dataclass
class Pool:
    """Images are what a model says of them: the logits of two models side by side."""

    images: Tensor
    labels: Tensor
    groups: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: object) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            rows = torch.arange(start, min(start + size, len(self)))
            yield Batch(self.images[rows], self.labels[rows], self.groups[rows], 1000 + rows)


class Columns(nn.Module):
    """Says what stands in three columns, and notes for how many images it was asked."""

    def __init__(self, first: int, most: int = 1000, fault: Exception | None = None) -> None:
        super().__init__()
        self.first, self.most = first, most
        self.fault = fault or torch.OutOfMemoryError("CUDA out of memory")
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        if len(images) > self.most:
            raise self.fault
        return images[:, self.first : self.first + 3].clone()


def pool(n: int, seed: int = 0) -> Pool:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 6, generator=generator)
    groups = torch.stack([torch.randint(-1, 2, (n,), generator=generator) for _ in GROUPINGS], 1)
    return Pool(images, torch.randint(3, (n,), generator=generator), groups)


def same(one: AuditResult, other: AuditResult) -> None:
    """Every count and every sum, to the last bit."""
    for part in ("overall", "by_group", "overall_pairs", "pairs", "moves"):
        np.testing.assert_equal(getattr(one, part), getattr(other, part), part)
    assert one.ungrouped == other.ungrouped
    for model, sums in one.sureness.items():
        for attribute, found in sums.items():
            np.testing.assert_equal(vars(found), vars(other.sureness[model][attribute]))


@given(n=st.integers(1, 120), size=st.integers(1, 50), at_once=st.integers(1, 3000), seed=st.integers(0, 9))
def test_an_accelerators_audit_is_that_of_the_cpu(n: int, size: int, at_once: int, seed: int) -> None:
    data, results, lost = pool(n, seed), [], []
    for there in (False, True):
        models: dict[str, nn.Module] = {"pruned": Columns(3), "dense": Columns(0)}
        lost.append(ChangesWatch())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arriving, "AT_ONCE", at_once)
            if there:
                patch.setattr("fairprune_cli.core.transfer._as_accelerator", True)
            results.append(audit_models(models, data, GROUPINGS, CLASSES, batch_size=size, watch=lost[-1]))
    same(*results)
    np.testing.assert_array_equal(lost[0].of("pruned"), lost[1].of("pruned"))


def test_logits_of_all_batches_come_in_one_piece_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    models: dict[str, nn.Module] = {"dense": Columns(0), "pruned": Columns(3)}
    looks: list[list[int]] = []

    def watch(images: arriving.Seen, logits: Mapping[str, Tensor]) -> None:
        order.append(f"look at {len(images.labels)}")
        assert images.rows is not None
        looks.append(images.rows.tolist())
        for name, first in (("dense", 0), ("pruned", 3)):
            assert torch.equal(logits[name], data.images[images.rows - 1000, first : first + 3])

    def progress(done: int, _: int) -> None:
        order.append(f"{done} done")

    data = pool(10)
    with as_accelerator():
        audit_models(models, data, GROUPINGS, CLASSES, batch_size=4, watch=watch, progress=progress)
    assert order == ["4 done", "8 done", "10 done", "look at 10"]
    # 4 images of two models with 3 float32 each are 96 bytes; a piece is looked at when the next one has been sent.
    monkeypatch.setattr(arriving, "AT_ONCE", 96)
    order.clear()
    looks.clear()
    with as_accelerator():
        audit_models(models, data, GROUPINGS, CLASSES, batch_size=4, watch=watch, progress=progress)
    assert order == ["4 done", "look at 4", "8 done", "10 done", "look at 4", "look at 2"]
    assert [row for rows in looks for row in rows] == list(range(1000, 1010))


@pytest.mark.parametrize("there", [False, True])
def test_logits_that_are_not_finite_are_told_wherever_they_come_from(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    data = pool(50)
    data.images[7, 4], data.images[8, 5] = float("-inf"), float("nan")
    monkeypatch.setattr("fairprune_cli.core.transfer._as_accelerator", there)
    with pytest.raises(FairpruneError, match="pruned for 2 images"):
        audit_models({"dense": Columns(0), "pruned": Columns(3)}, data, GROUPINGS, CLASSES, batch_size=16)


def test_short_of_memory_batches_are_halved_and_the_result_is_the_same() -> None:
    def audit(most: int, say: Any = lambda _: None) -> tuple[AuditResult, list[int]]:
        models: dict[str, Any] = {"dense": Columns(0), "pruned": Columns(3, most)}
        return audit_models(models, pool(40), GROUPINGS, CLASSES, batch_size=16, say=say), models["pruned"].asked

    said: list[str] = []
    result, asked = audit(5, said.append)
    same(result, audit(1000)[0])
    assert asked == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2, 2, 2]
    assert said == [f"out of memory: batches of 16 are now audited in {pieces} pieces" for pieces in (2, 4)]


def test_no_room_for_one_image_is_an_error_and_other_faults_are_not_hidden() -> None:
    with pytest.raises(FairpruneError, match="even with one image at a time") as caught:
        audit_models({"dense": Columns(0, 0)}, pool(9), GROUPINGS, CLASSES, batch_size=5)
    assert caught.value.code == ExitCode.RUNTIME
    with pytest.raises(RuntimeError, match="sizes do not match"):
        audit_models({"dense": Columns(0, 0, RuntimeError("sizes do not match"))}, pool(9), GROUPINGS, CLASSES)
