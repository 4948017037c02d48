"""Balanced batches, group DRO, plain fine-tuning under the constraint: what they declare, what a run makes of it."""

from __future__ import annotations

import pytest
import torch

from fairprune_cli.pruning import methods
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.training.objective import Answers
from fairprune_cli.training.trainer import TrainOptions
from tests.support.training import trainer

BOTH = ["balanced", "group-dro"]
LOGITS = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
ANSWERS = Answers(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([9.0, 1.0]))


@pytest.mark.parametrize("name", BOTH)
def test_the_mask_is_the_one_that_is_asked_for(name: str) -> None:
    bilevel, magnitude = (
        methods.get(name).formed(MethodOptions(mask_score=score)) for score in ("bi-level", "magnitude")
    )
    assert (bilevel.upper_gradient, magnitude.upper_gradient) == (True, False)
    for kind in (bilevel, magnitude):
        assert kind.balanced
        assert not kind.constrained
        assert kind.by_group == (name == "group-dro")


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("granularity", ["weight", "channel", "2:4"])
def test_on_the_magnitude_mask_they_meet_the_target_and_continue_to_the_same_bytes(name: str, granularity: str) -> None:
    options, own = TrainOptions(upper_every=2, epochs=3), MethodOptions(ramp_share=0.5, mask_score="magnitude")
    whole, first, second = (
        trainer(name, granularity, options=options, method_options=own, passes=12.0) for _ in range(3)
    )
    assert whole.steps == 12  # a magnitude mask costs no upper step
    assert whole.run()
    assert abs(whole.masks.achieved - whole.sparsity) <= (0.02 if granularity == "channel" else 1e-4)
    first.run(lambda: first.done >= 7)
    second.load_state_dict(first.state_dict())
    assert second.run()
    states = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_each_image_of_a_balanced_batch_counts_alike() -> None:
    losses = torch.nn.functional.cross_entropy(LOGITS, ANSWERS.labels, reduction="none")
    assert torch.equal(trainer("balanced").objective.lower(LOGITS, ANSWERS), losses.mean())
    weighted = (ANSWERS.weights * losses).sum() / 10.0  # what their weights are for
    assert torch.allclose(trainer("constrained").objective.lower(LOGITS, ANSWERS), weighted)


def test_group_dro_turns_to_the_group_with_the_larger_loss() -> None:
    """The groups of rows 0 and 1 are 0 and 1; the second is wrong, and its share grows from step to step."""
    run = trainer("group-dro", method_options=MethodOptions(dro_step=0.5))
    before = float(run.objective.lower(LOGITS, ANSWERS))
    run.objective.learn(LOGITS, ANSWERS)
    after = float(run.objective.lower(LOGITS, ANSWERS))
    right, wrong = torch.nn.functional.cross_entropy(LOGITS, ANSWERS.labels, reduction="none").tolist()
    assert (right + wrong) / 2 < before < after < wrong
    q = run.method.state_dict()["q"]
    run.step()
    assert not torch.equal(q, torch.tensor([0.5, 0.5]))


def test_constrained_is_magnitude_with_multipliers_from_the_first_step_on() -> None:
    kind = methods.get("constrained")
    assert (kind.constrained, kind.upper_gradient, kind.plan(MethodOptions()).fair) == (True, False, (0.0, 1.0))
    run = trainer("constrained")
    for _ in range(4):
        run.step()
    assert run.constraint.active
