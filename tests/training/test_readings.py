"""Figures of steps come late from an accelerator, and are the same; what is not finite is noticed before it is kept."""

from __future__ import annotations

import itertools
import math
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
        elif name != "images_per_second":
            found[name] = value
    return found


@pytest.mark.parametrize("granularity", ["weight", "channel"])
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
