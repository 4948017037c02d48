"""Networks that give no numbers, or other ones each time, are refused with the cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.soundness import refuse_unsound

SIZE = 16


class Net(nn.Module):
    """Two layers; `between` acts on what the first gives, `after` on the scores."""

    def __init__(
        self, between: Callable[[Tensor], Tensor] = torch.relu, after: Callable[[Tensor], Tensor] = torch.clone
    ) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.register_buffer("scale", torch.ones(2), persistent=False)
        self.between, self.after = between, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.fc(self.between(self.conv(x)).mean((2, 3))) * self.scale)


def _said(model: nn.Module) -> str:
    with pytest.raises(FairpruneError) as caught:
        refuse_unsound(model, SIZE, "model.pt")
    assert caught.value.where == "model.pt"
    return f"{caught.value.what}; {caught.value.hint}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    model = Net()
    with torch.no_grad():
        model.conv.bias[1] = value
        model.get_buffer("scale")[0] = value
    said = _said(model)
    assert "no finite scores for any image: conv.bias, scale hold NaN or infinities" in said
    assert "fc" not in said


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (Net(between=lambda x: x / 0), "fc is given NaN or infinities, which the forward of the network makes"),
        (Net(after=lambda x: x.mul(-1).exp().log().sqrt().log().sqrt()), "what its own forward makes of them is not"),
    ],
)
def test_else_the_place_where_such_numbers_first_show(model: nn.Module, cause: str) -> None:
    assert cause in _said(model)


def test_a_layer_that_makes_them_is_named() -> None:
    model = Net()
    model.conv.weight.data.fill_(1e38)
    assert "conv is the first layer that gives NaN or infinities" in _said(model)


@pytest.mark.parametrize(
    "between", [lambda x: F.dropout(x, 0.5), lambda x: x + torch.randn(x.shape), lambda x: x * torch.rand(1)]
)
def test_random_numbers_in_eval_mode_are_told_with_the_way_out(between: Callable[[Tensor], Tensor]) -> None:
    said = _said(Net(between=between))
    assert "other outputs for the same images in eval mode" in said
    assert "F.dropout(x, p, self.training)" in said


def test_what_is_sound_is_let_through_and_the_runs_random_numbers_stay() -> None:
    sound = (Net(), Net(between=lambda x: F.dropout(x, 0.5, training=False)))
    masked = Net(after=lambda x: torch.cat([x[:, :1], x[:, :1].new_full((len(x), 1), -torch.inf)], 1))
    drawing = Net(between=lambda x: torch.relu(x) + 0 * torch.rand(1))
    before = torch.get_rng_state()
    for model in (*sound, masked, drawing):
        model.train()
        refuse_unsound(model, SIZE)
        assert model.training
    assert torch.equal(torch.get_rng_state(), before)
