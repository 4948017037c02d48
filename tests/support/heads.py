"""Networks that give their scores in every way that is found, over a trunk small enough for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.data.manifest.task import Head, Task


class Trunk(nn.Module):
    """A convolution, a norm, and a linear head of K outputs."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.features(x))


class InDict(Trunk):
    def forward(self, x: Tensor) -> Any:
        h = self.features(x)
        return {"embedding": h, "logits": self.fc(h)}


class InTuple(Trunk):
    def forward(self, x: Tensor) -> Any:
        h = self.features(x)
        return self.fc(h), h


class Given(NamedTuple):
    scores: Tensor
    aux: Tensor


class Auxiliary(Trunk):
    """In training its own scores and auxiliary ones, as GoogLeNet."""

    def forward(self, x: Tensor) -> Any:
        scores = self.fc(self.features(x))
        return Given(scores, scores * 0 - 1) if self.training else scores


class OtherInTraining(Trunk):
    def forward(self, x: Tensor) -> Any:
        scores = self.fc(self.features(x))
        return {"loss": scores.sum()} if self.training else scores


class Spatial(Trunk):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[:, :, None, None]


class CarelessSqueeze(Trunk):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).squeeze()


class Predicted(Trunk):
    """The class itself, as an index."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x).argmax(1)


class FirstAlone(Trunk):
    """The scores of the first image, [K], whatever the number of images."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[0]


@dataclass
class Named:
    hidden: Tensor
    logits: Tensor


class InDataclass(Trunk):
    def forward(self, x: Tensor) -> Any:
        h = self.features(x)
        return Named(h, self.fc(h))


class Softmax(Trunk):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).softmax(1)


class Sigmoid(Trunk):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).sigmoid()


class HeadFirst(nn.Module):
    """Its classifier is registered before everything else, and no number of classes is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 2)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.body(x).mean((2, 3)))


class Transposed(nn.Module):
    """The classifier's weight is [features, classes]."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, 2, 1)
        self.weight = nn.Parameter(torch.randn(8, num_classes))

    def forward(self, x: Tensor) -> Any:
        return self.body(x).relu().mean((2, 3)) @ self.weight


class Pairs(nn.Module):
    """Two outputs for each class."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, 2, 1)
        self.fc = nn.Linear(8, 2 * num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.body(x).relu().mean((2, 3)))


def task(classes: int = 2, name: str = "", **head: Any) -> Task:
    """A task of so many classes a, b, c, ..., whose head is told by the keys of a manifest."""
    return Task(name, tuple("abcdefghijklmnop"[:classes]), np.zeros(4, dtype=np.int64), Head(**head))
