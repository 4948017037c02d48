"""Figures of steps come late from an accelerator, and are the same; what is not finite is noticed before it is kept."""

from __future__ import annotations

import io
import itertools
import math
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.training.readings import READ_EVERY
from fairprune_cli.training.trainer import Diverged, StepFigures, Trainer, TrainOptions
from tests.support.training import Images, trainer

OPTIONS = TrainOptions(upper_every=2, epochs=2, clip_norm=1e6)  # what is clipped is rounded otherwise


def figures(run: Trainer) -> list[StepFigures]:
    seen: list[StepFigures] = []
    run.on_progress = seen.append
    assert run.run()
    return seen


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Every figure of a record but its speed, by where it stands."""
    found = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": number for inner, number in numbers(value).items()}
        elif name != "images_per_second" and value is not None:
            found[name] = value
    return found


@pytest.mark.parametrize("granularity", ["weight", "2:4"])
def test_records_are_those_of_figures_read_at_once(granularity: str) -> None:
    at_once = trainer("magnitude", granularity, passes=60.0, options=OPTIONS)
    shown = figures(at_once)
    with as_accelerator():
        late = trainer("magnitude", granularity, passes=60.0, options=OPTIONS)
        shown_late = figures(late)
    for one, other in zip(late.records, at_once.records, strict=True):
        assert numbers(asdict(one)) == pytest.approx(numbers(asdict(other)), rel=1e-5)
    changes = [now.step for before, now in itertools.pairwise(shown_late) if before.loss != now.loss]
    assert len(changes) <= len(shown) / READ_EVERY + 2 * OPTIONS.epochs
    assert shown_late[-1].loss == pytest.approx(shown[-1].loss, rel=1e-5)


class Spoilt:
    """Batches of which one has an image that is not a number."""

    def __init__(self, source: Any, at: int) -> None:
        self.source, self.at, self.drawn = source, at, 0

    def next(self) -> Images:
        batch: Images = self.source.next()
        self.drawn += 1
        if self.drawn != self.at:
            return batch
        images = batch.images.clone()
        images[3] = math.nan
        return batch._replace(images=images)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("method", ["magnitude", "bifp"])
@pytest.mark.parametrize("at", [3, 47])
def test_divergence_is_noticed_within_some_steps_and_no_weight_moves(granularity: str, method: str, at: int) -> None:
    with as_accelerator():
        run = trainer(method, granularity, passes=120.0, options=replace(OPTIONS, epochs=1))
        run.lower = Spoilt(run.lower, at)
        weights: list[Tensor] = []
        steps: list[int] = []

        def note(now: StepFigures) -> None:
            steps.append(now.step)
            weights.append(torch.cat([p.detach().reshape(-1) for p in run.model.parameters()]))

        run.on_progress = note
        with pytest.raises(Diverged, match=f"the loss is nan .* at step {at} of"):
            run.run()
    assert steps[-1] <= at + 2 * READ_EVERY
    assert all(bool(torch.isfinite(line).all()) for line in weights[: at + 1])


def test_nothing_is_saved_after_a_step_that_was_not_finite() -> None:
    with as_accelerator():
        run = trainer("magnitude", "weight", passes=60.0, options=replace(OPTIONS, epochs=1))
        run.lower = Spoilt(run.lower, 4)
        run.model.train()
        for _ in range(4):
            run.step()
        with pytest.raises(Diverged, match="at step 4 of"):
            run.state_dict()
        assert run.best.epoch == 0


def test_a_stop_tells_of_a_step_that_was_not_finite() -> None:
    with as_accelerator():
        run = trainer("magnitude", "weight", passes=60.0, options=replace(OPTIONS, epochs=1))
        run.lower = Spoilt(run.lower, 2)
        with pytest.raises(Diverged, match="at step 2 of"):
            run.run(lambda: run.done == 3)


def test_channels_follow_their_scores_one_step_later_and_end_where_they_should() -> None:
    moved: dict[bool, set[int]] = {}
    for accelerated in (False, True):
        with as_accelerator() if accelerated else nullcontext():
            run = trainer("bifp", "channel", passes=40.0, options=replace(OPTIONS, upper_every=4))
            seen, before = set[int](), run.masks.keep
            while run.done < run.ramp:
                run.step()
                if run.masks.keep is not before:
                    seen.add(run.done)
                    before = run.masks.keep
            moved[accelerated] = seen
            assert run.run()
            assert run.masks.meets(0.8, run.model, run.model)
    late = {step + 1 for step in moved[False] if step < run.ramp}
    assert moved[True] - {run.ramp} == late - {run.ramp}
    assert len(late) >= 3


@pytest.mark.parametrize("stop", [4, 5, 6])
def test_a_run_resumed_while_figures_counts_and_a_move_are_on_their_way_is_the_run_without(stop: int) -> None:
    options = replace(OPTIONS, upper_every=4)
    with as_accelerator():
        whole, first = (trainer("bifp", "channel", passes=40.0, options=options) for _ in range(2))
        assert whole.run()
        assert not first.run(lambda: first.done == stop)
        stream = io.BytesIO()
        torch.save(first.state_dict(), stream)
        stream.seek(0)
        second = trainer("bifp", "channel", passes=40.0, options=options)
        second.load_state_dict(torch.load(stream, weights_only=True))
        assert second.run()
        first.run()
    for run in (first, second):
        assert [record.loss for record in run.records] == [record.loss for record in whole.records]
        assert torch.equal(run.masks.keep, whole.masks.keep)
        for name, value in run.model.state_dict().items():
            assert torch.equal(value, whole.model.state_dict()[name]), name


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_the_optimiser_clips_as_torch_does(granularity: str) -> None:
    options = replace(OPTIONS, clip_norm=0.05)
    at_once = trainer("magnitude", granularity, options=options)
    at_once.step()
    with as_accelerator():
        late = trainer("magnitude", granularity, options=options)
        late.step()
    for one, other in zip(late.model.parameters(), at_once.model.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)
    unclipped = trainer("magnitude", granularity, options=replace(OPTIONS, clip_norm=1e6))
    unclipped.step()
    pairs = zip(late.model.parameters(), unclipped.model.parameters(), strict=True)
    assert not all(torch.allclose(one, other, rtol=1e-4, atol=1e-7) for one, other in pairs)
