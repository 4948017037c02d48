"""How torch's CUDA graphs are made, on a torch whose CUDA is made up."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fairprune_cli.training.capture import CudaRecorder


class Graph:
    def replay(self) -> None:
        """Nothing is in it."""


class Cuda:
    """Attributes: pools: those that recordings were made in, None for one of its own; ended: those left by hand."""

    def __init__(self) -> None:
        self.pools: list[object] = []
        self.ended: list[object] = []
        self.told = False

    @contextmanager
    def graph(self, graph: Graph, *, pool: object = None, **_: object) -> Iterator[None]:
        self.pools.append(pool)
        yield

    def set_sync_debug_mode(self, mode: int | str) -> None:
        if not self.told:
            warnings.warn("Synchronization debug mode does not yet detect all synchronizing operations", stacklevel=2)
        self.told = True


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    made = Cuda()
    for name, value in {
        "CUDAGraph": Graph, "graph": made.graph, "graph_pool_handle": object, "current_stream": lambda: None,
        "current_device": lambda: 0, "get_sync_debug_mode": lambda: 0, "set_sync_debug_mode": made.set_sync_debug_mode,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda _, pool: made.ended.append(pool), raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *_: None, raising=False)
    return made


def nothing() -> tuple[Tensor, ...]:
    return (torch.zeros(1),)


def test_recordings_share_a_pool_and_one_whose_graphs_are_gone_is_not_taken_up_again(cuda: Cuda) -> None:
    """torch refuses a pool without a graph as long as a tensor of it lives."""
    recorder = CudaRecorder()
    first = recorder.record(nothing)
    second = recorder.record(nothing)
    del first
    third = recorder.record(nothing)
    assert cuda.pools[0] is cuda.pools[1] is cuda.pools[2]
    del second, third
    recorder.record(nothing)
    assert cuda.pools[3] is not cuda.pools[0]
    assert not cuda.ended


def test_what_a_recording_that_fails_leaves_behind_is_put_right(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pool is left, and another recording succeeds, whose end puts the generator of random numbers right."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, device=None: empty(*size))

    def fails() -> tuple[Tensor, ...]:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaRecorder().record(fails)
    assert cuda.ended == cuda.pools[:1]
    assert cuda.pools[1:] == [None]


def test_a_rehearsal_says_nothing_of_the_mode_in_which_torch_tells_of_waits(cuda: Cuda) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CudaRecorder().rehearse(nothing)[1] == ""
    assert cuda.told


def test_what_waits_cannot_be_recorded(cuda: Cuda) -> None:
    def waits() -> tuple[Tensor, ...]:
        warnings.warn("called a synchronizing CUDA operation (Triggered internally at ...)", stacklevel=1)
        return nothing()

    assert CudaRecorder().rehearse(waits)[1] == "it waits for the device"


@pytest.mark.parametrize("draw", [torch.rand, np.random.rand, lambda n: random.sample(range(9), n)])
def test_what_draws_on_the_host_cannot_be_recorded(cuda: Cuda, draw: Callable[[int], Any]) -> None:
    """Each replay would drop the layers that were dropped when it was recorded."""
    outputs, reason = CudaRecorder().rehearse(lambda: (torch.as_tensor(draw(1)),))
    assert len(outputs) == 1
    assert reason == "it draws random numbers on the host"
