"""Masks: exact selection, zeros that stay, and the mask gradient against oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning.masks import WeightMasks, mask_gradient, prunable_weights, selection, top_k_mask


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip


scores_with_ties = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40)


@given(scores_with_ties, st.data())
def test_top_k_equals_stable_sorting(values: list[float], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, len(values)))
    mask = top_k_mask(torch.tensor(values), keep)
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert int(mask.sum()) == keep
    assert set(torch.nonzero(mask)[:, 0].tolist()) == set(order[:keep])


def test_top_k_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="cannot keep 3 of 2"):
        top_k_mask(torch.zeros(2), 3)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.83, 0.95])
def test_weight_selection_is_exact_to_one_weight(sparsity: float) -> None:
    masks = WeightMasks(small_net())
    keep = masks.select(masks.magnitude(), sparsity)
    assert int(keep.sum()) == round((1 - sparsity) * masks.total)


def test_layer_floor_keeps_every_layer_alive() -> None:
    net = small_net()
    with torch.no_grad():
        net[5].weight.mul_(1e-6)  # by magnitude alone the classifier would vanish
    masks = WeightMasks(net, layer_floor=0.05)
    masks.apply(masks.select(masks.magnitude(), 0.9))
    assert all(int(torch.count_nonzero(w)) > 0 for w in prunable_weights(net).values())


def test_too_high_a_sparsity_is_refused_with_the_limit() -> None:
    masks = WeightMasks(small_net())
    with pytest.raises(FairpruneError, match="leaves 0 weights") as error:
        masks.select(masks.magnitude(), 0.999)
    assert "is the most for this model" in error.value.hint


def test_full_mask_changes_nothing() -> None:
    net = small_net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    masks = WeightMasks(net)
    masks.apply(masks.select(masks.magnitude(), 0.0))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert masks.achieved == 0.0


def test_masked_weights_come_back_with_their_old_value() -> None:
    net = small_net()
    weight = net[0].weight.detach().clone()
    masks = WeightMasks(net)
    gone = torch.ones(masks.total, dtype=torch.bool)
    gone[:5] = False
    masks.apply(gone)
    assert net[0].weight.detach().flatten()[:5].abs().sum() == 0
    masks.apply(torch.ones_like(gone))
    assert torch.equal(net[0].weight.detach(), weight)


def test_pruned_weights_stay_zero_under_momentum_and_decay() -> None:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    masks = WeightMasks(net)

    def step() -> None:
        optimizer.zero_grad()
        net(torch.randn(8, 3, 6, 6)).square().mean().backward()
        masks.mask_gradients()
        optimizer.step()

    for _ in range(3):
        step()  # momentum builds up on weights that are pruned next
    masks.apply(masks.select(masks.magnitude(), 0.8))
    masks.mask_state(optimizer.state)
    for _ in range(5):
        step()
    for name, keep in masks.entries(masks.keep).items():
        values = dict(net.named_parameters())[name].detach()
        assert torch.equal(values[~keep], torch.zeros(int((~keep).sum())))


def test_state_round_trip() -> None:
    net = small_net()
    masks = WeightMasks(net)
    masks.apply(masks.select(torch.rand(masks.total), 0.5))
    other = small_net()
    other.load_state_dict(net.state_dict())
    restored = WeightMasks(other)
    restored.load_state_dict(masks.state_dict())
    assert torch.equal(restored.keep, masks.keep)
    assert torch.equal(restored.magnitude(), masks.magnitude())


# --- the mask gradient ---------------------------------------------------------------------------------------


def quadratic(seed: int, n: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return a @ a.T + torch.eye(n, dtype=torch.float64), torch.randn(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_mask_gradient_at_fixed_weights_equals_finite_differences(seed: int) -> None:
    h, b = quadratic(seed)
    theta = torch.randn(7, generator=torch.Generator().manual_seed(seed + 50), dtype=torch.float64)
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 0], dtype=torch.float64)

    def upper(m: torch.Tensor) -> torch.Tensor:
        z = m * theta
        return 0.5 * z @ h @ z - b @ z

    g = h @ (mask * theta) - b
    numeric = torch.stack(
        [(upper(mask + 1e-6 * e) - upper(mask - 1e-6 * e)) / 2e-6 for e in torch.eye(7, dtype=torch.float64)]
    )
    assert torch.allclose(mask_gradient(theta, mask, g, float("inf")), numeric, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gamma", [0.5, 1.0, 4.0])
def test_mask_gradient_equals_that_of_the_unrolled_lower_level(seed: int, gamma: float) -> None:
    """One loss on both levels, linear in z, so that the neglected Hessian is truly zero.

    The lower level min over theta of c . (m theta) + gamma / 2 |theta|^2 is then solved exactly by one gradient
    step of length 1 / gamma from any start, and autograd through that step is the exact hypergradient.
    """
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(9, generator=generator, dtype=torch.float64)
    mask = torch.rand(9, generator=generator, dtype=torch.float64).round().requires_grad_()
    start = torch.randn(9, generator=generator, dtype=torch.float64).requires_grad_()
    lower = c @ (mask * start) + gamma / 2 * start.square().sum()
    (gradient,) = torch.autograd.grad(lower, start, create_graph=True)
    theta = start - gradient / gamma
    upper = c @ (mask * theta)
    (exact,) = torch.autograd.grad(upper, mask)
    ours = mask_gradient(theta.detach(), mask.detach(), c, gamma)
    assert torch.allclose(ours, exact, atol=1e-12)


def test_implicit_term_is_not_lost() -> None:
    """A pitfall of a public implementation: the second term vanished. Here both terms matter."""
    theta, mask, g = torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([3.0])
    assert mask_gradient(theta, mask, g, 1.0).item() == pytest.approx((2 - 3) * 3)
    assert mask_gradient(theta, torch.tensor([0.0]), g, 1.0).item() == pytest.approx(2 * 3)


def test_network_mask_gradient_equals_finite_differences() -> None:
    """Through a real network: the gradient that the masks read from `grad` is that of the gate m at z = m theta."""
    torch.manual_seed(3)
    net = small_net().double()
    masks = WeightMasks(net)
    masks.apply(masks.select(torch.rand(masks.total, dtype=torch.float64), 0.4))
    images, labels = torch.randn(6, 3, 5, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(net(images), labels)

    net.eval()
    net.zero_grad()
    loss().backward()
    gradient = masks.first_order_gradient(float("inf"))
    flat = {name: masks.theta(name) for name in masks.tensors}
    position, chosen = 0, np.random.default_rng(0).choice(masks.total, 25, replace=False)
    with torch.no_grad():
        for name, parameter in masks.tensors.items():
            for i in range(parameter.numel()):
                if position + i in chosen:
                    value = parameter.view(-1)[i].item()
                    step = 1e-6 * flat[name].view(-1)[i].item()  # m moves by 1e-6, z by theta times that
                    parameter.view(-1)[i] = value + step
                    high = loss().item()
                    parameter.view(-1)[i] = value - step
                    low = loss().item()
                    parameter.view(-1)[i] = value
                    assert gradient[position + i].item() == pytest.approx((high - low) / 2e-6, abs=1e-7)
            position += parameter.numel()


# --- selection by a sample, and floors only where they are needed ----------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "few values", "all the same", "sorted", "one infinite"])
def test_selection_over_many_scores_is_exact(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 256)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5000, generator=generator)
    if kind == "few values":
        scores = scores.round()
    elif kind == "all the same":
        scores = torch.ones(5000)
    elif kind == "sorted":
        scores = scores.sort().values
    elif kind == "one infinite":
        scores[7] = torch.inf
    for keep in (1, 2, 50, 2500, 4990, 5000):
        mask = selection.top_k_mask(scores, keep)
        best = sorted(range(5000), key=lambda i: (-float(scores[i]), i))[:keep]
        assert mask.nonzero()[:, 0].tolist() == sorted(best)


@pytest.mark.parametrize("seed", range(6))
def test_floors_give_what_flooring_every_layer_gives(seed: int) -> None:
    """The plain form: each layer's best entries first, then the rest by score."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 2))
    masks = WeightMasks(model, layer_floor=0.9)
    scores = torch.randn(masks.total).round(decimals=1) + torch.arange(3).repeat_interleave(torch.tensor(masks.sizes))
    for sparsity in (0.3, 0.6, 0.85):
        ranked = scores.clone()
        for part, view in zip(scores.split(masks.sizes), ranked.split(masks.sizes), strict=True):
            floor = max(1, round(0.9 * (1 - sparsity) * len(part)))
            view[selection.top_k_mask(part, floor)] = torch.inf
        expected = selection.top_k_mask(ranked, round((1 - sparsity) * masks.total))
        assert torch.equal(masks.select(scores, sparsity), expected)
