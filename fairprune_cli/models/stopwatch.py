"""Time of forward passes: by the host's clock, or on CUDA by the device's own, without waiting for it in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch

IN_FLIGHT = 2  # laps of one stopwatch that the host may be ahead of CUDA


class Stopwatch(Protocol):
    """Times laps one after the other."""

    def lap(self) -> AbstractContextManager[None]:
        """A block whose work is one lap."""
        ...

    def seconds(self) -> list[float]:
        """Seconds of each lap so far."""
        ...


class HostClock:
    """For devices that have finished when a call returns."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    @contextmanager
    def lap(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds.append(time.perf_counter() - start)

    def seconds(self) -> list[float]:
        return self._seconds


class CudaClock:
    """For CUDA, which works through a queue: a mark before and after each lap, whose times are read at the end.

    Waiting for the device around each lap would time the waiting, too. The host runs at most `IN_FLIGHT` laps ahead,
    so that whoever looks at its clock sees about the time that the device is at; the queue never runs empty.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device)
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def lap(self) -> Iterator[None]:
        if len(self._marks) >= IN_FLIGHT:
            self._marks[-IN_FLIGHT][1].synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(self._stream)
        yield
        end.record(self._stream)
        self._marks.append((start, end))

    def seconds(self) -> list[float]:
        if self._marks:
            self._marks[-1][1].synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in self._marks]


def stopwatch(device: torch.device) -> Stopwatch:
    """A new one that suits the device."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
