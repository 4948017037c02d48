"""From a plan to a batch: the same in all places, what the host knows of it, and how much it takes to make it."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from tests.support.batches import made_up, same

VIEWS = {"slice", "view", "unsqueeze", "permute", "expand", "detach"}


def place(where: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if where == "memory" else as_accelerator()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("where", ["resident", "uploaded"])
def test_batches_in_order_are_the_same_in_all_places(where: str, last: bool) -> None:
    expected = list(made_up(23).batches(5, "cpu", channels_last=last))
    with place(where):
        found = list(made_up(23, resident=where == "resident").batches(5, "cpu", channels_last=last))
    assert [len(batch.labels) for batch in found] == [5, 5, 5, 5, 3]
    layout = torch.channels_last if last else torch.contiguous_format
    for one, other in zip(expected, found, strict=True):
        assert same(one, other)
        assert one.images.is_contiguous(memory_format=layout)
        assert other.images.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("where", ["memory", "resident", "uploaded"])
def test_the_host_knows_what_the_device_has(where: str) -> None:
    pool = made_up(resident=where == "resident")
    with place(where):
        drawn = StratifiedSampler(pool, 7, "cpu", 0, True, Strata.even).next()
        for batch in (drawn, pool.sampler(7, "cpu", 0, True).next(), next(pool.batches(7, "cpu"))):
            rows = batch.rows.numpy()
            assert batch.known is not None
            labels, groups, weights = batch.known
            for known, there, dtype in ((labels, batch.labels, np.int64), (groups, batch.groups, np.int64)):
                assert known.dtype == dtype
                assert np.array_equal(known, there.numpy())
            assert np.array_equal(labels, pool.images.labels[rows])
            assert np.array_equal(groups, pool.images.groups[rows])
            if batch is drawn:
                assert weights is not None
                assert batch.weights is not None
                assert weights.dtype == np.float32
                assert np.array_equal(weights, batch.weights.numpy())
            else:
                assert weights is batch.weights is None


class Operators(TorchDispatchMode):
    """Counts what is dispatched, but for views."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        self.counts[name] += name not in VIEWS
        return func(*args, **(kwargs or {}))


def samplers(pool: Pool, augment: bool) -> list[EndlessBatches]:
    return [
        StratifiedSampler(pool, 7, "cpu", 0, augment, Strata.even, channels_last=True),
        pool.sampler(7, "cpu", 0, augment, channels_last=True),
    ]


@pytest.mark.parametrize(("augment", "most"), [(True, 10), (False, 6)])
@pytest.mark.parametrize("where", ["memory", "resident"])
def test_a_batch_takes_few_operators_and_reads_no_number(where: str, augment: bool, most: int) -> None:
    pool = made_up(200, resident=where == "resident")
    with place(where):
        for sampler in samplers(pool, augment):
            sampler.next()  # begins the passes
            with Operators() as operators:
                sampler.next()
            operators.counts.pop("randperm", None)  # a stratum's next pass
            assert sum(operators.counts.values()) <= most, operators.counts
            assert not operators.counts["_local_scalar_dense"]
