"""Recorded passes compute what passes operator by operator compute, and give way to them where they cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.training.capture import WARM_UPS, Captured, Outputs
from fairprune_cli.training.trainer import Trainer, TrainOptions
from tests.support.recorder import FakeRecorder
from tests.support.training import trainer


def test_a_recording_takes_the_inputs_of_each_call_and_gives_memory_of_its_own() -> None:
    model = nn.Linear(3, 2)
    recorder = FakeRecorder(model)
    said: list[str] = []

    def work(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = model(x)
        loss = logits.square().mean() if weights is None else (weights[:, None] * logits).mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        return logits.detach(), loss.detach()

    captured = Captured(model, work, lambda: recorder, said.append)
    generator = torch.Generator().manual_seed(0)
    given: list[tuple[Tensor, Tensor]] = []
    expected: list[tuple[Tensor, ...]] = []
    for call in range(3 * (WARM_UPS + 3)):
        x = torch.randn(4 if call % 3 else 5, 3, generator=generator)
        weights = torch.rand(len(x), generator=generator) if call % 3 == 2 else None
        expected.append((*work(x, weights), model.weight.grad.clone()))
        outputs = captured(x, weights)
        given.append((*outputs, model.weight.grad.clone()))
    for got, wanted in zip(given, expected, strict=True):
        for one, other in zip(got, wanted, strict=True):
            assert torch.equal(one, other)
    assert recorder.recorded == 3  # two sizes, one of them with and without weights
    assert recorder.replayed == 9
    assert not said


class Refusing(FakeRecorder):
    """Fails while it records, or says at the rehearsal already that it would."""

    def __init__(self, model: nn.Module, reason: str) -> None:
        super().__init__(model)
        self.reason = reason

    def rehearse(self, work: Callable[[], Outputs]) -> tuple[Outputs, str]:
        return work(), self.reason

    def record(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        assert not self.reason
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.mark.parametrize("reason", ["", "it waits for the device"])
def test_what_cannot_be_recorded_runs_operator_by_operator_and_is_said_once(reason: str) -> None:
    run, plain = trainer(options=TrainOptions(upper_every=2)), trainer(options=TrainOptions(upper_every=2))
    said: list[str] = []
    run.compute.unrecorded = said.append
    run.compute._recorder = Refusing(run.model, reason)
    assert run.run()
    assert plain.run()
    assert len(said) == 1
    assert (reason or "operation not permitted when stream is capturing") in said[0]
    assert "\n" not in said[0]
    same(run, plain)


@pytest.mark.parametrize("granularity", ["weight", "channel", "2:4"])
@pytest.mark.parametrize("method", ["bifp", "fairgrape", "weighted-loss"])
def test_a_run_with_recorded_passes_is_the_run_without(method: str, granularity: str) -> None:
    sparsity = 0.5 if granularity == "2:4" else 0.7
    options = TrainOptions(upper_every=2, epochs=2)
    with as_accelerator():
        plain = trainer(method, granularity, sparsity, options=options)
        assert plain.run()
        run = trainer(method, granularity, sparsity, options=options)
        recorder = FakeRecorder(run.model)
        run.compute._recorder = recorder
        assert run.run()
    assert recorder.recorded >= (2 if method == "bifp" else 1)  # of the others the lower passes alone repeat
    assert recorder.replayed > 5
    same(run, plain)
    assert [record.loss for record in run.records] == [record.loss for record in plain.records]


def same(one: Trainer, other: Trainer) -> None:
    masks: tuple[Masks, Masks] = (one.masks, other.masks)
    assert torch.equal(masks[0].keep, masks[1].keep)
    for (name, value), wanted in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), name


def test_several_pieces_are_not_recorded() -> None:
    run = trainer(options=TrainOptions(upper_every=2))
    recorder = FakeRecorder(run.model)
    run.compute._recorder = recorder
    run.compute.pieces = 2
    assert run.run()
    assert not recorder.recorded


def test_memory_that_runs_out_takes_all_recordings_with_it() -> None:
    """Those of other passes, too, before what is free is given back."""
    run = trainer(options=TrainOptions(upper_every=2))
    recorder = FakeRecorder(run.model)
    run.compute._recorder = recorder
    while recorder.recorded < 2:
        run.step()
    assert any(captured._recordings for captured in run.compute._captured)
    run.compute._halve(16)
    assert not any(captured._recordings for captured in run.compute._captured)
