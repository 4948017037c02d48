"""What a case of each kind says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.masks import ChannelMasks, Masks, WeightMasks

THETA = ((1.0, -2.0), (0.5, 1.0), (4.0, 2.0))
"""Weights of the hand-worked layer; unit i counts along the rows."""

Numbers = Sequence[float]


def layer() -> tuple[nn.Module, Masks]:
    """A linear layer with the weights THETA: six units."""
    made = nn.Linear(2, 3, bias=False)
    made.weight.data = torch.tensor(THETA)
    return made, WeightMasks(made)


def convolutions() -> tuple[nn.Module, Masks]:
    """Two convolutions of 4 and 3 filters, whose channels are seven units."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip
    net[0].weight.data = torch.tensor([[0.0, 0, 0], [3, 4, 0], [6, 8, 0], [0, 0, 12]]).view(4, 3, 1, 1)
    net[2].weight.data = torch.tensor([[0.0, 0, 0, 0], [30, 40, 0, 0], [60, 80, 0, 0]]).view(3, 4, 1, 1)
    return net, ChannelMasks(net, channel_spaces(net, 8))


@dataclass(frozen=True)
class Look:
    """A batch that the method looks at: four images of each group.

    Attributes:
        products: per group theta * gradient of each unit, of the layer.
        right: per group how many of its four images are classified right.
    """

    products: Sequence[Numbers]
    right: Sequence[int] = ()


@dataclass(frozen=True)
class ByHand:
    """A method's scores and selection, worked by hand.

    Attributes:
        kept: the units that are kept at `sparsity`.
        scores: of every unit; None where only their order means something.
        looks: what the method sees before.
        options: of `MethodOptions`.
        network: whose units are scored.
        losses: of two images, where the method has a loss of its own: the student gives the first class 1/4 twice,
            the dense model 4/5, and the labels are 0 and 1.
        weights: of four images, where the method weighs groups: their losses are 1, 2, 3 and 5, the first two are in a
            group of four images, the third in one of one image, and the last in none.
    """

    kept: Sequence[int]
    scores: Numbers | None = None
    sparsity: float = 0.5
    looks: Sequence[Look] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    network: Callable[[], tuple[nn.Module, Masks]] = layer
    losses: Numbers | None = None
    weights: Numbers | None = None


Member = Callable[[int], bool]  # of a label
Event = Callable[[int, int], bool]  # of a label and a prediction


@dataclass(frozen=True)
class Rates:
    """A notion's rates in plain words.

    Attributes:
        of: for so many classes, (which labels count, which answers are hits) of each rate.
        lost: a rate is how much of it the dense model had and the other has not.
    """

    of: Callable[[int], Sequence[tuple[Member, Event]]]
    lost: bool = False


@dataclass(frozen=True)
class DataSet:
    """A small data set in a published layout.

    Attributes:
        make: writes it into a folder.
        label, attribute: a column to predict, and one of a sensitive attribute.
        images: how many it has.
    """

    make: Callable[[Path], Any]
    label: str
    attribute: str
    images: int
