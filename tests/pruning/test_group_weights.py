"""Group DRO's weights against the algorithm, step by step in plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fairprune_cli.pruning.group_weights import GroupWeights

SIZES = [400, 25, 9]


def stepped(q: list[float], losses: np.ndarray, groups: np.ndarray, eta: float, adjustment: float) -> list[float]:
    """Algorithm 1, with the size adjustment of section 3.3; a group that was not drawn stays."""
    raised = []
    for g, (weight, size) in enumerate(zip(q, SIZES, strict=True)):
        own = [loss for loss, group in zip(losses, groups, strict=True) if group == g]
        raised.append(weight * math.exp(eta * (sum(own) / len(own) + adjustment / math.sqrt(size))) if own else weight)
    return [weight / sum(raised) for weight in raised]


@pytest.mark.parametrize("adjustment", [0.0, 2.0])
def test_the_loss_is_that_of_the_algorithm_and_so_are_the_weights(adjustment: float) -> None:
    rng = np.random.default_rng(0)
    weights = GroupWeights(torch.tensor(SIZES), step=0.7, adjustment=adjustment)
    place = weights.q.data_ptr()
    q = [1 / 3] * 3
    for step in range(6):
        losses = rng.exponential(size=12).astype(np.float32)
        groups = rng.integers(0, 2 if step == 3 else 3, size=12)  # once without the third
        expected = stepped(q, losses, groups, 0.7, adjustment)
        given = torch.from_numpy(losses), torch.from_numpy(groups)
        loss = float((weights.of_images(*given) * given[0]).mean())
        assert weights.q.tolist() == pytest.approx(q, rel=1e-4)  # asking changes nothing
        means = [losses[groups == g].mean() if (groups == g).any() else 0.0 for g in range(3)]
        assert loss == pytest.approx(float(np.dot(expected, means)), rel=1e-4)
        weights.learn(*given)
        assert weights.q.tolist() == pytest.approx(expected, rel=1e-4)
        q = expected
    assert weights.q.data_ptr() == place, "a pass that was recorded reads the old numbers"


def test_images_in_no_group_count_as_ever() -> None:
    weights = GroupWeights(torch.tensor(SIZES[:2]), step=0.0, adjustment=0.0)
    groups = torch.tensor([0, 0, 0, 1, -1, -1])
    # Half of the four images' weight each; the others weigh one.
    assert weights.of_images(torch.ones(6), groups).tolist() == pytest.approx([2 / 3] * 3 + [2.0, 1.0, 1.0])
