"""The loop: budget, exact targets, zeros that stay, resumption, batch-norm statistics, divergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli import architectures, fairness, methods, relaxations
from fairprune_cli.channels import channel_spaces
from fairprune_cli.constraint import Constraint
from fairprune_cli.errors import ExitCode, FairpruneError
from fairprune_cli.masks import ChannelMasks, Masks, WeightMasks
from fairprune_cli.methods import MethodOptions
from fairprune_cli.schedule import Budget
from fairprune_cli.training import Groups, Trainer, TrainOptions, reestimate_batch_norm


class Images(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor


class Source:
    """Random images whose class is a brightness; group 1 is dimmer, so harder."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = 0

    def next(self) -> Images:
        self.drawn += 1
        labels = torch.randint(0, 2, (16,), generator=self.generator)
        groups = torch.randint(0, 2, (16, 1), generator=self.generator)
        images = torch.randn(16, 3, 16, 16, generator=self.generator)
        strength = torch.where(groups[:, 0] == 0, 1.0, 0.3)
        return Images(images + ((labels * 2 - 1) * strength)[:, None, None, None], labels, groups)

    def state_dict(self) -> dict[str, Any]:
        return {"random": self.generator.get_state(), "drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["random"])
        self.drawn = state["drawn"]


def trainer(
    method: str = "bifp", granularity: str = "weight", sparsity: float = 0.8, passes: float = 30.0,
    options: TrainOptions | None = None, method_options: MethodOptions | None = None,
) -> Trainer:  # fmt: skip
    torch.manual_seed(0)
    model = architectures.build("resnet10-w16", 2, seed=0)
    masks: Masks
    masks = WeightMasks(model) if granularity == "weight" else ChannelMasks(model, channel_spaces(model, 16))
    kind = methods.get(method)
    constraint = Constraint(
        fairness.get("accuracy", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=200.0
    )
    budget = Budget(passes, 2 if kind.upper_gradient else 0, 0.5, kind.upper_gradient, kind.constrained)
    return Trainer(
        model, masks, kind(masks, method_options or MethodOptions()), constraint, Groups({"gender": ("a", "b")}),
        Source(1), Source(2), budget, sparsity, options or TrainOptions(mask_every=2, epochs=3),
    )  # fmt: skip


@pytest.mark.parametrize("method", methods.names())
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_target_is_met_by_every_method(method: str, granularity: str) -> None:
    run = trainer(method, granularity)
    assert run.run()
    if isinstance(run.masks, ChannelMasks):
        left = sum(p.numel() for p in run.model.parameters())
        assert left == run.masks.kept
        assert abs(run.masks.achieved - 0.8) <= run.masks.largest_unit()
    else:
        assert run.masks.kept == round(0.2 * run.masks.total)
        for name, keep in run.masks.entries(run.masks.keep).items():
            assert dict(run.model.named_parameters())[name].detach()[~keep].abs().sum() == 0
    assert len(run.records) == 3
    assert run.records[-1].exact_gap["gender"] is not None


@pytest.mark.parametrize("method", methods.names())
def test_no_method_takes_more_passes_than_it_was_given(method: str) -> None:
    run = trainer(method)
    run.run()
    lower, upper = run.lower, run.upper
    assert isinstance(lower, Source)
    assert isinstance(upper, Source)
    assert lower.drawn == run.steps
    assert run.passes <= 30.0
    assert upper.drawn == 0 or methods.get(method).upper_gradient


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("stop_at", [3, 11, 19])  # while the mask moves, at the end of the ramp, after it
def test_stopped_and_continued_equals_uninterrupted(granularity: str, stop_at: int) -> None:
    whole = trainer(granularity=granularity)
    whole.run()
    first = trainer(granularity=granularity)
    assert not first.run(lambda: first.step >= stop_at)
    state = first.state_dict()
    second = trainer(granularity=granularity)
    second.load_state_dict(state)
    assert second.run()
    expected, got = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    drop = "images_per_second"
    assert [{k: v for k, v in vars(r).items() if k != drop} for r in whole.records] == [
        {k: v for k, v in vars(r).items() if k != drop} for r in second.records
    ]


def test_upper_data_moves_the_mask_only() -> None:
    """With nothing but upper steps different, weights of the first steps are the same to the bit."""
    plain = trainer("magnitude", passes=2)
    other = trainer("bip", passes=2)
    plain.run(lambda: plain.step >= 1)
    other.run(lambda: other.step >= 1)
    a, b = plain.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("where", ["both", "weights", "mask", "none"])
def test_fairness_on_decides_which_level_sees_the_term(where: str) -> None:
    """The penalty is asked for in lower steps for both and weights, in upper steps for both and mask."""
    run = trainer(options=TrainOptions(mask_every=2, epochs=1, fairness_on=where))
    asked: list[str] = []
    original = run.constraint.penalty

    def spy(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        asked.append("asked")
        return original(logits, labels, groups)

    run.constraint.penalty = spy  # type: ignore[method-assign]
    run.run()
    upper = run.ramp // run.budget.upper_every
    expected = {"both": run.steps + upper, "weights": run.steps, "mask": upper, "none": 0}
    assert len(asked) == expected[where]
    assert run.constraint.active == (where != "none")


def test_first_and_second_order_choose_different_masks() -> None:
    first = trainer(method_options=MethodOptions(mask_step="first-order"))
    second = trainer()
    first.run()
    second.run()
    assert not torch.equal(first.masks.keep, second.masks.keep)


def test_a_diverging_run_stops_with_its_own_code() -> None:
    run = trainer(options=TrainOptions(lr=1e30, mask_every=2, clip_norm=1e30))
    with pytest.raises(FairpruneError, match="diverged") as error:
        run.run()
    assert error.value.code == ExitCode.RUNTIME


def test_epochs_are_recorded_evenly() -> None:
    run = trainer(options=replace(TrainOptions(mask_every=2), epochs=4))
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
