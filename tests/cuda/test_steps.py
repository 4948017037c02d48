"""What a step computes and keeps, on the CPU and on a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.audit.logits import InPieces
from fairprune_cli.training.trainer import Diverged
from tests.support.recorder import FakeRecorder
from tests.support.training import Images, trainer


@pytest.mark.parametrize("granularity", ["channel", "weight", "2:4"])
def test_a_run_reaches_its_end_and_a_second_one_has_the_same_bits(device: str, granularity: str) -> None:
    """By channel the optimiser's memory has to follow what was removed."""
    ends = []
    for _ in range(2):
        run = trainer("bifp", granularity, passes=10.0, device=device, channels_last=True)
        assert run.run()
        assert all(parameter.device.type == device for parameter in run.model.parameters())
        ends.append({name: value.cpu() for name, value in run.model.state_dict().items()})
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(device: str, granularity: str) -> None:
    whole = trainer("bifp", granularity, passes=10.0, device=device)
    whole.run()
    for stop in (1, 2, whole.steps - 1):  # also while a move waits for its scores, and after channels have left
        first = trainer("bifp", granularity, passes=10.0, device=device)
        first.run(lambda first=first, stop=stop: first.done >= stop)  # type: ignore[misc]
        second = trainer("bifp", granularity, passes=10.0, device=device)
        torch.manual_seed(99)  # of a process that has done other things
        second.load_state_dict(on_host(first.state_dict()))
        assert second.done == stop
        second.run()
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[name]), name


@pytest.mark.parametrize("granularity", ["channel", "weight", "2:4"])
def test_recorded_passes_compute_what_passes_operator_by_operator_compute(device: str, granularity: str) -> None:
    recorded, plain = (trainer("bifp", granularity, passes=60.0, device=device) for _ in range(2))
    said: list[str] = []
    recorded.compute.unrecorded = said.append
    plain.compute._recorder = None
    if device == "cuda":
        assert recorded.compute._recorder is not None
    else:
        recorded.compute._recorder = FakeRecorder(recorded.model)
    assert recorded.run()
    assert plain.run()
    assert not said
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, recorded.model.state_dict()[name]), name


class Waits(nn.Module):
    """A layer whose pass reads a number from the device."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.0 if float(x.detach().mean()) < 1e9 else 0.0)


def test_a_network_that_waits_for_its_device_is_pruned_and_it_is_said(device: str) -> None:
    run = trainer("bifp", "weight", passes=30.0, device=device)
    run.model.avgpool = nn.Sequential(run.model.avgpool, Waits())
    said: list[str] = []
    run.compute.unrecorded = said.append
    assert run.run()
    assert len(said) == (device == "cuda")


def test_a_step_that_is_not_finite_moves_no_weight_and_is_told_of(device: str) -> None:
    run = trainer("bifp", "channel", passes=60.0, device=device)
    draw, at = run.lower.next, 6

    def spoilt() -> Images:
        batch: Images = draw()
        return batch if run.done + 1 != at else batch._replace(images=batch.images * math.nan)

    run.lower.next = spoilt  # type: ignore[method-assign]
    with pytest.raises(Diverged, match=f"at step {at} of"):
        run.run()
    assert run.done <= at + 20
    assert all(bool(torch.isfinite(parameter).all()) for parameter in run.model.parameters())


def on_host(state: object) -> object:
    """A state as it is read from a file."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_host(value) for key, value in state.items()}
    return [on_host(value) for value in state] if isinstance(state, list) else state


def test_group_counts_are_exact_and_the_same_everywhere(device: str) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(200, 2, generator=generator)
    labels, group = (torch.randint(2, (200,), generator=generator) for _ in range(2))
    group[::7] = -1
    constraint = trainer(device=device).constraint
    constraint.observe(logits.to(device), labels.numpy(), group[:, None].numpy())
    constraint.settle()
    expected = np.zeros((2, 2, 2))
    for of, label, prediction in zip(group.tolist(), labels.tolist(), logits.argmax(1).tolist(), strict=True):
        if of >= 0:
            expected[of, label, prediction] += 1
    assert np.array_equal(constraint.tallies[0].counts, expected)


def test_memory_that_runs_out_in_training_halves_the_pieces(device: str) -> None:
    run = trainer("bifp", "channel", passes=8.0, device=device)
    forward, calls = run.model.forward, []

    def starved(images: Tensor) -> Tensor:
        calls.append(len(images))
        if len(calls) > 3 and len(images) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: Tensor = forward(images)
        return logits

    run.model.forward = starved  # type: ignore[method-assign]
    said: list[str] = []
    run.compute.say = said.append
    assert run.run()
    assert run.compute.pieces == 2
    assert len(said) == 1
    assert run.masks.achieved == pytest.approx(0.8, abs=0.02)


def test_memory_that_runs_out_in_the_audit_halves_the_batches_and_changes_no_count(device: str) -> None:
    model = trainer(device=device).model.eval()
    images = Images(*(part.to(device) for part in trainer().lower.next())).images
    with torch.inference_mode():
        expected = model(images)
    forward, sizes = model.forward, []

    def starved(images: Tensor) -> Tensor:
        sizes.append(len(images))
        if len(images) > 4:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        logits: Tensor = forward(images)
        return logits

    model.forward = starved  # type: ignore[method-assign]
    said: list[str] = []
    logits_of = InPieces([2], said.append)
    with torch.inference_mode():
        found = logits_of("dense", model, images)
        logits_of("dense", model, images)
    assert sizes == [16, 8, *[4] * 8]
    assert [text.rpartition(" in ")[2] for text in said] == ["2 pieces", "4 pieces"]
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert torch.allclose(found, expected, atol=1e-4)
