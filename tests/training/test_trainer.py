"""The loop: budget, exact targets, zeros that stay, resumption, batch-norm statistics, divergence."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.training.objective import Objective, Terms
from fairprune_cli.training.phase import Phase
from fairprune_cli.training.reestimate import reestimate_batch_norm
from fairprune_cli.training.trainer import Diverged, StepFigures, Trainer, TrainOptions
from tests.support.training import Source, trainer

OPTIONS = TrainOptions(upper_every=2, epochs=3, saliency_batches=2, average=0.3)
EVERY = [(m, g) for m in methods.names() for g in methods.get(m).granularities]


class Whole(NamedTuple):
    """A run from its first step to its end; phases after each step, and the steps after which the mask was another."""

    run: Trainer
    phases: list[Phase]
    moved: set[int]


@cache
def whole(method: str, granularity: str) -> Whole:
    run = trainer(method, granularity, options=OPTIONS)
    phases: list[Phase] = []
    moved: set[int] = set()
    last = [run.masks.keep.clone()]

    def note(_: StepFigures) -> None:
        phases.append(run.phase)
        if not torch.equal(last[0], run.masks.keep):
            moved.add(run.done)
            last[0] = run.masks.keep.clone()

    run.on_progress = note
    assert run.phase.prunes
    assert run.run()
    return Whole(run, phases, moved)


@pytest.mark.parametrize(("method", "granularity"), EVERY)
def test_phases_come_in_order_and_the_mask_moves_only_in_its_own(method: str, granularity: str) -> None:
    run, phases, moved = whole(method, granularity)
    first = Phase.ROUNDS if run.plan.rounds else Phase.GRADUAL
    assert phases == [first] * run.ramp + [Phase.FIXED] * (run.steps - run.ramp)
    assert run.phase is Phase.DONE
    rounds = run.plan.round_steps(run.steps)  # a round comes after so many steps, so it is seen after the next
    due = {edge + 1 for edge in rounds} if rounds else {*range(2, run.ramp + 1, 2), run.ramp + 1}
    assert moved <= due
    assert moved or run.ramp == run.steps


@pytest.mark.parametrize("granularity", ["channel", "weight", "2:4"])
@pytest.mark.parametrize("density", [1.0, 0.8])
def test_the_best_state_can_be_written_as_it_was(granularity: str, density: float) -> None:
    """At any time its shapes and zeros are those of its own moment, not of what the masks are by now."""
    run = trainer(granularity=granularity, density=density, options=TrainOptions(upper_every=2, epochs=5))
    seen: set[bool] = set()

    def look(_: StepFigures) -> None:
        best = run.best
        seen.add(best.fixed)
        assert bool(best.sparse) == (granularity != "channel" or density < 1.0)
        for name, mask in best.sparse.items():
            assert mask.shape == best.model[name].shape
            assert not bool(best.model[name][~mask].any())

    run.on_progress = look
    assert run.run()
    assert seen == {False, True}


def test_steps_one_by_one_are_those_of_a_run() -> None:
    at_once, single = trainer(granularity="channel"), trainer(granularity="channel")
    last = at_once.steps - 2
    at_once.run(lambda: at_once.done >= last)
    for _ in range(last):
        single.model.eval()  # as after a look at the model; a step trains all the same
        single.step()
    assert (single.done, single.phase, single.steps) == (last, Phase.FIXED, at_once.steps)
    got = single.model.state_dict()
    assert all(torch.equal(value, got[name]) for name, value in at_once.model.state_dict().items())


def count_passes(run: Trainer) -> tuple[list[int], list[int]]:
    """Images forward and backward through the model from now on."""
    forwards, backwards = [0], [0]

    def forward(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        forwards[0] += len(inputs[0])
        if output.requires_grad:
            output.register_hook(lambda grad: backwards.__setitem__(0, backwards[0] + len(grad)))

    run.model.register_forward_hook(forward)
    return forwards, backwards


@pytest.mark.parametrize("method", [name for name in methods.names() if "channel" in methods.get(name).granularities])
def test_no_method_takes_more_passes_than_it_was_given(method: str) -> None:
    run = trainer(method, "channel")
    forwards, backwards = count_passes(run)
    run.run()
    lower, upper = run.lower, run.upper
    assert isinstance(lower, Source)
    assert isinstance(upper, Source)
    assert lower.drawn == run.steps
    assert run.passes <= 30.0
    # Images that went through the model, forward and backward, against what the budget says was spent.
    assert (forwards[0] + 2 * backwards[0]) / 16 / 3 <= run.passes + 1e-9


def test_upper_data_moves_the_mask_only() -> None:
    """With nothing but upper steps different, weights of the first steps are the same to the bit."""
    plain = trainer("magnitude", passes=2)
    other = trainer("bip", passes=2)
    plain.run(lambda: plain.done >= 1)
    other.run(lambda: other.done >= 1)
    a, b = plain.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("where", ["both", "weights", "mask", "none"])
def test_fairness_on_decides_which_level_sees_the_term(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The multipliers' terms are asked for in lower steps for both and weights, in upper steps for both and mask."""
    run = trainer(options=TrainOptions(upper_every=2, epochs=1, fairness_on=where))
    asked: list[str] = []
    original = Objective.terms

    def spy(self: Objective, known: Known, device: torch.device) -> Terms | None:
        asked.append("asked")
        return original(self, known, device)

    monkeypatch.setattr(Objective, "terms", spy)
    run.run()
    upper = run.ramp // run.budget.upper_every
    expected = {"both": run.steps + upper, "weights": run.steps, "mask": upper, "none": 0}
    assert len(asked) == expected[where]
    assert run.constraint.active == (where != "none")


def test_first_and_second_order_choose_different_masks() -> None:
    first = trainer(method_options=MethodOptions(mask_step="first-order", ramp_share=0.5))
    second = trainer()
    first.run()
    second.run()
    assert not torch.equal(first.masks.keep, second.masks.keep)


def test_a_diverging_run_stops_with_its_own_code() -> None:
    run = trainer(options=TrainOptions(lr=1e30, upper_every=2, clip_norm=1e30))
    with pytest.raises(Diverged, match="diverged") as error:
        run.run()
    assert error.value.code == ExitCode.RUNTIME
    assert all(torch.isfinite(value).all() for value in run.best.model.values())


def test_the_best_epoch_of_the_final_structure_is_kept() -> None:
    run = trainer(options=TrainOptions(upper_every=2, epochs=6))
    run.run()
    after = [r for r in run.records if r.step > run.ramp]
    assert run.best.accuracy == pytest.approx(max(float(r.upper_accuracy or 0) for r in after))
    assert run.best.sparsity == pytest.approx(run.masks.achieved)


def test_averaged_weights_are_the_mean_of_the_last_steps() -> None:
    run = trainer("magnitude", options=TrainOptions(upper_every=2, epochs=1, average=0.2))
    seen: list[Tensor] = []
    run.on_progress = lambda now: seen.append(run.model.state_dict()["conv1.weight"].clone())
    run.run()
    first = math.ceil(0.8 * run.steps)  # the first step of the last fifth, which is after the ramp
    assert run._average.count == run.steps - first
    expected = torch.stack(seen[first:]).mean(0)
    assert torch.allclose(run.model.state_dict()["conv1.weight"], expected, atol=1e-6)


def test_lottery_tickets_start_from_the_checkpoint() -> None:
    run = trainer("lottery")
    start = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.run(lambda: run.done >= 3)
    run._moves.rewind()
    keep = run.masks.entries(run.masks.keep)
    for name, value in run.model.state_dict().items():
        expected = start[name] * keep[name] if name in keep else start[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("method", ["fair-then-prune", "prune-then-fair"])
def test_two_stages_have_the_constraint_in_one(method: str) -> None:
    run = trainer(method)
    acted: list[int] = []
    original = run.constraint.update

    def spy() -> None:
        acted.append(run.done)
        original()

    run.constraint.update = spy  # type: ignore[method-assign]
    run.run()
    half = round(run.steps / 2)
    assert acted == list(range(1, half + 1) if method == "fair-then-prune" else range(half + 1, run.steps + 1))


def test_epochs_are_recorded_evenly() -> None:
    run = trainer(options=replace(TrainOptions(upper_every=2), epochs=4))
    run.run()
    assert [r.epoch for r in run.records] == [1, 2, 3, 4]
    assert run.records[-1].step == run.steps


# --- batch norm ------------------------------------------------------------------------------------------------


def test_reestimated_statistics_are_the_averages_of_the_batches() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    batches = [torch.randn(8, 3, 4, 4) * 2 + 5 for _ in range(6)]
    reestimate_batch_norm(nn.Sequential(norm), batches)
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    variances = torch.stack([b.var((0, 2, 3), unbiased=True) for b in batches]).mean(0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, means, atol=1e-5)
    assert torch.allclose(norm.running_var, variances, atol=1e-4)
    assert norm.momentum == 0.1
    assert not norm.training


def test_what_channels_were_removed_from_is_let_go() -> None:
    """On a GPU their memory is, and that of the graphs that computed their gradients."""
    run = trainer("bifp", "channel", passes=10.0)
    old = weakref.ref(dict(run.model.named_parameters())["layer1.0.conv1.weight"])
    assert run.run()
    gc.collect()
    assert old() is None


def test_distillation_asks_the_dense_model_about_the_picture_that_the_student_sees() -> None:
    """Pixel for pixel, batch by batch: not about the same image before it was flipped and shifted."""
    looked_at: list[torch.Tensor] = []

    class Dense(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            looked_at.append(images)
            return torch.zeros(len(images), 2)

    run = trainer("magnitude")
    run._weights.objective = replace(run.objective, distill=0.5, dense=Dense())
    for _ in range(3):
        run.step()
    source = Source(1)
    assert [torch.equal(images, source.next().images) for images in looked_at] == [True] * 3
