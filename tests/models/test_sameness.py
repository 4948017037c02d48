"""Two networks are the same, or the first layer that is not is named."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.models.sameness import same_network
from tests.support.networks import network

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@dataclass
class Fields:
    logits: Tensor
    more: Any


class Opaque:
    """A class of the network's own, that is no container torch knows."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Gives(nn.Module):
    """Its parts are registered in another order than they act in."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.head, self.second, self.first = nn.Linear(4, 2), nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 1)
        self.form, self.scale, self.fails = form, 1.0, False

    def forward(self, x: Tensor) -> Any:
        h = self.second(self.first(x).relu_()).mean((2, 3))
        if self.fails:
            raise KeyError("what")
        y = self.head(h) * self.scale
        forms = {
            "tensor": y, "tuple": (y, h), "dict": {"logits": y, "more": [h, None]}, "number": y.sum().item(),
            "dataclass": Fields(y, [h, None]), "object": Opaque(y),
        }  # fmt: skip
        return forms[self.form]


def twins(form: str = "tensor") -> tuple[Gives, Gives]:
    torch.manual_seed(0)
    one = Gives(form)
    return one, copy.deepcopy(one)


def test_the_same_network_is_the_same_and_keeps_its_mode() -> None:
    model = network("resnet10-w16").train()
    assert same_network(model, copy.deepcopy(model), IMAGES) == ""
    assert all(module.training for module in model.modules())
    for form in ("tuple", "dict", "number", "dataclass", "object"):
        assert same_network(*twins(form), IMAGES) == ""


def test_the_first_layer_that_acts_otherwise_is_named() -> None:
    one, other = twins()
    with torch.no_grad():
        for layer in (other.head, other.second):
            layer.weight[0] += 0.5
    assert same_network(one, other, IMAGES).startswith("second gives other numbers, by up to ")
    # What a layer in front hands on is changed in place by what comes after it.
    one, other = twins()
    with torch.no_grad():
        other.head.bias += 0.25
    assert same_network(one, other, IMAGES) == "head gives other numbers, by up to 0.25"


def test_a_difference_shows_whatever_the_scores_are_given_in() -> None:
    for form in ("tensor", "tuple", "dict", "number", "dataclass", "object"):
        one, other = twins(form)
        other.scale = 2.0
        assert same_network(one, other, IMAGES).startswith("the network gives other numbers"), form


def test_one_bit_is_a_difference_and_no_number_is_equal_to_itself() -> None:
    one, other = twins()
    other.scale = 1 + 2.0**-23
    assert same_network(one, other, IMAGES).startswith("the network gives other numbers")
    one, other = twins()
    with torch.no_grad():
        one.head.bias[0] = other.head.bias[0] = torch.nan
    assert same_network(one, other, IMAGES) == ""


def test_what_no_layer_does_is_the_networks() -> None:
    for form in ("tensor", "tuple", "dict"):
        one, other = twins(form)
        other.scale = 2.0
        assert same_network(one, other, IMAGES).startswith("the network gives other numbers")
    one, other = twins("dict")
    other.form = "tuple"
    assert same_network(one, other, IMAGES) == "the network gives list, not dict"


def test_shapes_and_what_is_raised_are_told_with_the_layer() -> None:
    one, other = twins()
    other.first, other.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)
    assert same_network(one, other, IMAGES) == "first gives a tensor of shape [2, 6, 32, 32], not [2, 4, 32, 32]"
    one, other = twins()
    other.head = nn.Linear(5, 2)
    assert same_network(one, other, IMAGES).startswith("head fails with RuntimeError: mat1 and mat2")
    one, other = twins()
    other.fails = True
    assert same_network(one, other, IMAGES) == "the network fails with KeyError: 'what'"


def test_the_order_in_memory_is_no_difference_and_stays_as_it_was() -> None:
    """Convolutions over a single pixel are matrix products on some processors, and sum in the order of the memory."""
    torch.manual_seed(0)
    one = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 8, 1), nn.Conv2d(8, 64, 1)
    )
    other = copy.deepcopy(one)
    one.to(memory_format=torch.channels_last)
    strides = [p.stride() for p in (*one.parameters(), *other.parameters())]
    kept = [p.data_ptr() for p in other.parameters()]
    assert same_network(one, other, IMAGES) == ""
    assert [p.stride() for p in (*one.parameters(), *other.parameters())] == strides
    assert [p.data_ptr() for p in other.parameters()] == kept
    with torch.no_grad():
        other[2].weight[0, 0] += 1
    assert same_network(one, other, IMAGES).startswith("2 gives other numbers")
