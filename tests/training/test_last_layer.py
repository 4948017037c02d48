"""The last layer of networks with heads of every form: found or refused before the work, trained again by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach
from fairprune_cli.pruning.options import MethodOptions
from fairprune_cli.training.last_layer import LastLayer, last_layers, retrain_last_layers
from tests.support.batches import made_up

SHAPE = ImageShape.of(8)
OPTIONS = MethodOptions(dfr_c=1.0, dfr_subsets=2)


class Net(nn.Module):
    """A body of 12 features and a head; `answer` makes the output of the head's."""

    def __init__(self, outputs: int, answer: Callable[[Tensor], object] = lambda scores: scores) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.between, self.head, self.answer = nn.Linear(12, 12), nn.Linear(12, outputs), answer

    def forward(self, images: Tensor) -> object:
        return self.answer(self.head(self.between(self.body(images))))


def taught() -> Pool:
    """Images whose label is whether they are rather red."""
    pool = made_up(60)
    red = np.asarray(pool.images.pixels)[:, 0].mean(axis=(1, 2))
    return replace(pool.images, labels=(red > np.median(red)).astype(np.int64)).pool(pool.rows)


def with_read_out(net: nn.Module, entries: list[OutputTable], *tasks: Scores) -> nn.Module:
    attach(net, ReadOut(tuple(entries), tasks))
    return net.eval()


def one(net: nn.Module, width: int, columns: tuple[int, ...], **more: object) -> nn.Module:
    return with_read_out(net, [OutputTable(None, width)], Scores(0, columns, **more))  # type: ignore[arg-type]


HEADS = {
    "a score per class": (lambda: one(Net(2), 2, (0, 1)), (0, 1)),
    "one score": (lambda: one(Net(1), 1, (0,), threshold=0.3), (0,)),
    "a slice of many": (lambda: one(Net(18), 18, (7, 8)), (7, 8)),
    "one of a tuple": (
        lambda: with_read_out(Net(2, lambda s: (s * 2, s)), [OutputTable(0, 2), OutputTable(1, 2)], Scores(1, (0, 1))),
        (0, 1),
    ),
    "a head with two empty axes": (lambda: one(Net(2, lambda s: s[:, :, None, None]), 2, (0, 1)), (0, 1)),
}


@pytest.mark.parametrize("what", HEADS)
def test_heads_that_can_be_trained_again(what: str) -> None:
    made, rows = HEADS[what]
    net = made()
    assert last_layers(net, SHAPE) == [LastLayer("head", rows)]
    before = copy.deepcopy(net.state_dict())
    pool = taught()
    labels = torch.tensor(pool.labels)

    def loss() -> float:
        with torch.no_grad():
            scores = torch.cat([net(batch.images) for batch in pool.batches(20, "cpu")])
        shift = -np.log(0.3 / 0.7) if what == "one score" else 0.0
        return float(nn.functional.cross_entropy(scores[:, :2] - torch.tensor([0.0, shift]), labels))

    first = loss()
    retrain_last_layers(net, last_layers(net, SHAPE), pool, {}, OPTIONS, 20)
    assert loss() < first
    after = net.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["head.weight", "head.bias"]
    others = [row for row in range(len(before["head.bias"])) if row not in rows]
    assert torch.equal(before["head.weight"][others], after["head.weight"][others])


def test_each_task_has_rows_of_its_own() -> None:
    net = with_read_out(Net(4), [OutputTable(None, 4)], Scores(0, (0, 1)), Scores(0, (3,)))
    assert last_layers(net, SHAPE) == [LastLayer("head", (0, 1)), LastLayer("head", (3,))]


def test_what_is_masked_stays_zero() -> None:
    net = one(Net(2), 2, (0, 1))
    keep = torch.rand(2, 12, generator=torch.Generator().manual_seed(1)) < 0.5
    retrain_last_layers(net, last_layers(net, SHAPE), made_up(60), {"head.weight": keep}, OPTIONS, 20)
    weight = net.head.weight
    assert isinstance(weight, Tensor)
    assert not weight[~keep].any()
    assert weight[keep].any()


def tied() -> nn.Module:
    net = Net(12)
    net.head.weight = net.between.weight
    return one(net, 12, (0, 1))


def frozen() -> nn.Module:
    net = Net(2)
    net.head.requires_grad_(False)
    return one(net, 2, (0, 1))


def convolution() -> nn.Module:
    return one(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2, (0, 1))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (convolution, "do not come straight from a linear layer"),
        (lambda: one(Net(2, lambda s: s.softmax(1)), 2, (0, 1), undo="log"), "do not come straight"),
        (lambda: one(Net(2, torch.tanh), 2, (0, 1)), "do not come straight"),
        (tied, "used elsewhere"),
        (frozen, "head, is frozen"),
    ],
)
def test_what_cannot_be_trained_again_is_said(made: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(FairpruneError, match=why):
        last_layers(made(), SHAPE)
