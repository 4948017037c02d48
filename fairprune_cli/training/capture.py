"""Pieces of a step as CUDA graphs: recorded once, replayed without Python and without a launch for every operator.

On small images a GPU waits for the host, which launches some four hundred kernels a step one by one. A graph is one
launch. What is recorded reads and writes the same memory every time, so inputs are copied to where they were when it
was recorded, and what comes out is copied away. Whatever differs between steps must be an input and not a number that
the host computes, or it would stay what it was.
"""

from __future__ import annotations

import contextlib
import random
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

Inputs = Sequence[Tensor | None]
Outputs = tuple[Tensor, ...]

WARM_UPS = 3  # times that a piece runs operator by operator first: libraries choose their algorithms, memory is found


class Recorder(Protocol):
    """What makes graphs on a device."""

    def rehearse(self, work: Callable[[], Outputs]) -> tuple[Outputs, str]:
        """Run `work` operator by operator; also why it cannot be recorded, "" where nothing speaks against it."""
        ...

    def record(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """What replays `work`, and where its outputs then are; nothing is computed yet."""
        ...


class CudaRecorder:
    """Records what a function does on the current stream of a device; all recordings share their memory.

    They may, as they are replayed one after the other, and whatever is needed of one after another's replay is held by
    a tensor that outlives the recording.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._graphs: weakref.WeakSet[Any] = weakref.WeakSet()  # that live in the pool

    def rehearse(self, work: Callable[[], Outputs]) -> tuple[Outputs, str]:
        """As in `Recorder`. A pass that waits for the device would break a recording, and leave it in disorder.

        What a pass draws on the host would stay as it was when it was recorded, and so would what follows from it.
        """
        chance, before = _chance_on_host(), torch.cuda.get_sync_debug_mode()
        _tell_of_waits("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                outputs = work()
        finally:
            _tell_of_waits(before)
        if any("called a synchronizing" in str(warning.message) for warning in caught):
            return outputs, "it waits for the device"
        return outputs, "" if _chance_on_host() == chance else "it draws random numbers on the host"

    def record(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """As in `Recorder`, on a stream that is not the default one."""
        if not self._graphs:  # a pool dies with its last graph, and cannot be taken up again
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread may be moving the next images into page-locked memory meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
            ):
                outputs = work()
        except Exception:
            self._tidy_up()
            raise
        self._graphs.add(graph)
        return graph.replay, outputs

    def _tidy_up(self) -> None:
        """After a recording that failed: versions of torch take it for one that goes on.

        They would free no memory any more, and random numbers of the device would raise.
        """
        device = torch.cuda.current_device()
        with contextlib.suppress(RuntimeError, AttributeError):  # where there is nothing to end
            torch._C._cuda_endAllocateToPool(device, self._pool)  # noqa: SLF001
            torch._C._cuda_releasePool(device, self._pool)  # noqa: SLF001
        # The end of one that succeeds puts the generator right.
        with contextlib.suppress(RuntimeError):
            number = torch.empty(1, device="cuda")
            with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=torch.cuda.current_stream()):
                number.zero_()


def _tell_of_waits(mode: int | str) -> None:
    """Have torch warn of operations that wait for the device; without its warning that it does not see them all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode(mode)


def _chance_on_host() -> tuple[Any, ...]:
    """Where the host's generators of random numbers stand."""
    legacy: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), legacy[1].tobytes(), legacy[2]


def recorder_for(device: torch.device) -> Recorder | None:
    """What records on a device; None where nothing does."""
    return CudaRecorder() if device.type == "cuda" else None


class OwnStream:
    """A stream for the steps: nothing can be recorded on the one that everything else runs on."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else _Within(self._stream)


class _Within:
    """A block on a stream that begins after what was queued on the present one, and that this one waits for."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream, self._outer = stream, torch.cuda.current_stream(stream.device)
        self._context = torch.cuda.stream(stream)

    def __enter__(self) -> None:
        self._stream.wait_stream(self._outer)
        self._context.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)
        self._outer.wait_stream(self._stream)


@dataclass
class _Recording:
    inputs: Inputs
    outputs: Outputs
    gradients: list[tuple[nn.Parameter, Tensor | None]]
    replay: Callable[[], None]


class Captured:
    """A function of tensors that leaves gradients in a model's parameters, recorded per form of its inputs.

    Args:
        work: gives tensors; does the same operators for inputs of the same form, and replaces the parameters' `grad`
            (by None first) where it computes gradients at all.
        recorder: asked before each call; None runs it operator by operator.
        failed: told why when something cannot be recorded; `recorder` then gives None.
    """

    def __init__(
        self, model: nn.Module, work: Callable[..., Outputs], recorder: Callable[[], Recorder | None],
        failed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.model, self.work, self.recorder, self.failed = model, work, recorder, failed
        self._seen: dict[Any, int] = {}
        self._recordings: dict[Any, _Recording] = {}

    def forget(self) -> None:
        """Told when layers or parameters of the model are others than before."""
        self._seen.clear()
        self._recordings.clear()

    def __call__(self, *inputs: Tensor | None) -> Outputs:
        """What `work(*inputs)` gives, in memory of its own; the parameters' `grad` are valid until the next call."""
        recorder = self.recorder()
        if recorder is None:
            self.forget()
            return self.work(*inputs)
        key = (self.model.training, *((None if x is None else (x.shape, x.dtype, x.stride())) for x in inputs))
        found = self._recordings.get(key)
        if found is not None:
            into = [to for to in found.inputs if to is not None]
            torch._foreach_copy_(into, [x for x in inputs if x is not None], non_blocking=True)
            return self._replay(found)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] < WARM_UPS:
            return self.work(*inputs)
        if self._seen[key] == WARM_UPS:
            outputs, reason = recorder.rehearse(lambda: self.work(*inputs))
            if reason:
                self._fail(reason)
            return outputs
        found = self._record(recorder, inputs)
        if found is None:
            return self.work(*inputs)
        self._recordings[key] = found
        return self._replay(found)

    def _replay(self, found: _Recording) -> Outputs:
        found.replay()
        for parameter, gradient in found.gradients:
            parameter.grad = gradient
        return tuple(output.clone() for output in found.outputs)

    def _record(self, recorder: Recorder, inputs: Inputs) -> _Recording | None:
        """A recording, which has not computed anything yet; None where there cannot be one."""
        # In the layout that they have, as it decides what is launched.
        held = [None if x is None else torch.empty_like(x).copy_(x) for x in inputs]
        try:
            replay, outputs = recorder.record(lambda: self.work(*held))
        except Exception as error:  # whatever a network does that a graph cannot hold
            self.model.zero_grad(set_to_none=True)
            self._fail(next((line for line in str(error).splitlines() if line.strip()), type(error).__name__))
            return None
        return _Recording(held, outputs, [(p, p.grad) for p in self.model.parameters()], replay)

    def _fail(self, reason: str) -> None:
        self.failed(f"steps run operator by operator, as the network cannot be recorded as a CUDA graph: {reason}")
