"""Scores of both mask steps against a slow reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import WeightMasks
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.pruning.methods.bifp import damp

NONE = torch.empty(0)  # neither step reads logits or labels


def setup(step: str) -> tuple[nn.Linear, WeightMasks, methods.Method]:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    masks = WeightMasks(layer)
    options = MethodOptions(mask_step=step, rho=0.3, ema=0.5, gamma=2.0, mask_lr=0.2)
    return layer, masks, methods.get("bifp")(masks, options)


def test_second_order_score_by_hand() -> None:
    layer, _, method = setup("second-order")
    gradients = [torch.randn(3, 4) for _ in range(3)]
    average = torch.zeros(3, 4)
    for g in gradients:
        layer.weight.grad = g.clone()
        method.upper_step(0, NONE, NONE)
        average = 0.5 * average + 0.5 * g**2
    expected = [
        abs(w) * (a / float(average.mean())) ** 0.3
        for w, a in zip(layer.weight.flatten().tolist(), average.flatten().tolist(), strict=True)
    ]
    assert method.scores().tolist() == pytest.approx(expected, rel=1e-4)


def test_first_order_score_by_hand() -> None:
    layer, masks, method = setup("first-order")
    theta = layer.weight.detach().flatten().clone()
    keep = torch.ones(12, dtype=torch.bool)
    keep[3] = keep[7] = False
    masks.apply(keep)
    g = torch.randn(3, 4)
    layer.weight.grad = g.clone()
    method.upper_step(0, NONE, NONE)
    gradient = [float((t - m * x / 2.0) * x) for t, m, x in zip(theta, keep.float(), g.flatten(), strict=True)]
    rms = (sum(v * v for v in gradient) / 12) ** 0.5
    start = float(theta.square().mean().sqrt())
    expected = [abs(float(t)) - 0.2 * start / rms * v for t, v in zip(theta, gradient, strict=True)]
    assert method.scores().tolist() == pytest.approx(expected, rel=1e-4)


def test_first_scores_by_choice_have_the_scale_of_the_magnitudes() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30, bias=False)
    scale = float(layer.weight.detach().square().mean().sqrt())
    for init in ("magnitude", "random", "gradient"):
        options = MethodOptions(mask_step="first-order", score_init=init, mask_lr=1e-9)
        method = methods.get("bifp")(WeightMasks(layer), options)
        layer.weight.grad = torch.randn(30, 40)
        method.upper_step(0, NONE, NONE)
        scores = method.scores()
        assert float(scores.square().mean().sqrt()) == pytest.approx(scale, rel=1e-4)
        saliency = (layer.weight.detach() * layer.weight.grad).abs().flatten()
        expected = {"magnitude": layer.weight.detach().abs().flatten(), "gradient": saliency}.get(init)
        if expected is not None:
            assert torch.equal(scores.argsort()[-50:], expected.argsort()[-50:])
    again = methods.get("bifp")(WeightMasks(layer), MethodOptions(mask_step="first-order", score_init="random", seed=1))
    other = methods.get("bifp")(WeightMasks(layer), MethodOptions(mask_step="first-order", score_init="random", seed=2))
    assert not torch.equal(again.scores(), other.scores())


def test_scores_do_not_share_storage_with_the_weights() -> None:
    """A pitfall of a public implementation: training the weights moved the scores."""
    layer, _, method = setup("first-order")
    before = method.scores().clone()
    with torch.no_grad():
        layer.weight.add_(1.0)
    assert torch.equal(method.scores(), before)


def test_undamped_is_optimal_brain_damage_and_rho_zero_is_magnitude() -> None:
    weights, squared = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([9.0, 1.0, 0.1])
    assert torch.equal(damp(weights.clone(), squared, 0.0), weights)
    saliency = 0.5 * weights**2 * squared
    assert torch.equal(damp(weights.clone(), squared, 0.5).argsort(), saliency.argsort())


def test_scores_do_not_depend_on_the_scale_of_the_loss() -> None:
    weights, squared = torch.rand(50), torch.rand(50)
    assert torch.allclose(damp(weights.clone(), squared, 0.2), damp(weights.clone(), squared * 1e-6, 0.2), rtol=1e-4)
