"""CUDA's clock, on a device that is made up: a queue of which the host sees nothing until it waits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.models import measure
from fairprune_cli.models import peak_memory as footprint
from fairprune_cli.models.stopwatch import IN_FLIGHT, CudaClock, HostClock, stopwatch


class Device:
    """Does what it is told one after the other, in milliseconds of its own."""

    def __init__(self) -> None:
        self.queued: list[tuple[str, object]] = []
        self.done, self.now = 0, 0.0
        self.waits: list[int] = []  # how many marks were still to come when the host waited

    def work(self, milliseconds: float) -> None:
        self.queued.append(("work", milliseconds))

    def run_to(self, mark: Mark) -> None:
        behind = 0
        while mark.at is None:
            kind, what = self.queued[self.done]
            self.done += 1
            if kind == "work":
                self.now += what  # type: ignore[operator]
            else:
                what.at = self.now  # type: ignore[attr-defined]
        behind = sum(kind == "mark" for kind, _ in self.queued[self.done :])
        self.waits.append(behind)


class Mark:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.at: float | None = None

    def record(self, device: Device) -> None:
        self.device = device
        device.queued.append(("mark", self))

    def synchronize(self) -> None:
        self.device.run_to(self)

    def elapsed_time(self, end: Mark) -> float:
        assert self.at is not None
        assert end.at is not None
        return end.at - self.at


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(torch.cuda, "Event", Mark)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: device)
    return device


def test_laps_are_timed_by_the_device_which_is_never_idle(cuda: Device) -> None:
    clock = CudaClock(torch.device("cuda"))
    for milliseconds in (5.0, 1.0, 7.0, 2.0, 9.0):
        cuda.work(100.0)  # of something else, in between
        with clock.lap():
            cuda.work(milliseconds)
    assert len(cuda.waits) == 5 - IN_FLIGHT
    assert all(behind > 0 for behind in cuda.waits)  # when the host was let go, there was work to do
    assert clock.seconds() == pytest.approx([0.005, 0.001, 0.007, 0.002, 0.009])
    assert CudaClock(torch.device("cuda")).seconds() == []


def test_a_device_has_its_clock(cuda: Device) -> None:
    assert isinstance(stopwatch(torch.device("cpu")), HostClock)
    assert isinstance(stopwatch(torch.device("cuda:1")), CudaClock)


def test_latency_takes_turns_and_reads_the_devices_clock(cuda: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    class Timed(nn.Module):
        def __init__(self, milliseconds: float) -> None:
            super().__init__()
            self.milliseconds, self.weight = milliseconds, nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            cuda.work(self.milliseconds * len(images))
            return self.weight

    monkeypatch.setattr(measure, "stopwatch", lambda _: CudaClock(torch.device("cuda")))
    result = measure.latency({"dense": Timed(3.0), "pruned": Timed(2.0)}, 8, batches=(1, 4), repeats=6)
    for name, milliseconds in (("dense", 3.0), ("pruned", 2.0)):
        for batch in (1, 4):
            times = result[name]["batch"][str(batch)]
            assert times["repeats"] == 6
            assert [times[key] for key in ("low_ms", "median_ms", "high_ms")] == pytest.approx(
                [milliseconds * batch] * 3
            )


def test_memory_on_a_device_is_what_its_allocator_gave_out_beyond_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allocator = {"now": 1000, "peak": 5000}  # other models, and an older peak

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.first = nn.Parameter(torch.ones(1)), True

        def forward(self, images: Tensor) -> Tensor:
            if self.first:  # a library's workspace, which stays
                allocator["now"] += 300
                self.first = False
            allocator["peak"] = max(allocator["peak"], allocator["now"] + 70)
            return images

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: allocator["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: allocator["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: allocator.update(peak=allocator["now"]))
    monkeypatch.setattr(footprint, "_living", footprint._allocated)
    model = Layers()
    assert footprint.forward_peak_bytes(model, 2, 8) == 70 + 4 + 2 * 3 * 64 * 4
    assert footprint.peak_memory_is(torch.device("cpu")) != footprint.peak_memory_is(torch.device("cuda"))
