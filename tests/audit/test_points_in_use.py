"""An audit with thresholds of groups, against plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.gates import GateResult
from fairprune_cli.audit.leniency import leniencies
from fairprune_cli.audit.logits import Seen
from fairprune_cli.audit.points_in_use import PointsInUse, PointsTally
from fairprune_cli.audit.points_json import points_record, used_points
from fairprune_cli.models.file.group_points import GroupPoints

CLASSES = ("no", "yes")
BIASES = {"young": (0.0, 0.7), "old": (0.4, 0.0)}
POINTS = GroupPoints("", CLASSES, "age", "odds", 0.02, BIASES, {"young": 50, "old": 60})


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Gender:
    name: str = "gender"
    groups: tuple[str, ...] = ("f", "m")


@dataclass
class Pool:
    """Images are the scores of two models, side by side; they stand in another order in the manifest."""

    scores: Tensor
    labels: Tensor
    gender: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: object) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.scores[part], self.labels[part], self.gender[part, None], self.rows[part])


class Columns(nn.Module):
    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.first : self.first + 2]


def made() -> tuple[Pool, PointsInUse]:
    """Images of an attribute that is not audited; the manifest knows a group more than the points do."""
    draw = torch.Generator().manual_seed(0)
    n = 300
    pool = Pool(
        torch.randn(n, 4, generator=draw), torch.randint(2, (n,), generator=draw),
        torch.randint(2, (n,), generator=draw), torch.randperm(2 * n, generator=draw)[:n],
    )  # fmt: skip
    index = torch.randint(-1, 3, (2 * n,), generator=draw).numpy()
    return pool, PointsInUse(POINTS, ("old", "young", "ageless"), index)


def by_hand(pool: Pool, use: PointsInUse) -> np.ndarray:
    found = []
    for scores, row in zip(pool.scores[:, 2:].tolist(), pool.rows.tolist(), strict=True):
        group = use.index[row]
        no, yes = BIASES.get(use.names[group], (0.0, 0.0)) if group >= 0 else (0.0, 0.0)
        found.append(int(scores[1] + yes > scores[0] + no))
    return np.array(found)


def test_predictions_are_made_with_them_and_confidence_is_the_networks() -> None:
    pool, use = made()
    models = {"dense": Columns(0), "pruned": Columns(2)}
    changed = ChangesWatch(points={"pruned": use})
    found = audit_tasks(models, pool, [Gender()], [CLASSES], batch_size=64, watches=[changed], points=[{"pruned": use}])
    predicted, labels, dense = by_hand(pool, use), pool.labels.numpy(), pool.scores[:, :2].argmax(1).numpy()
    assert (predicted != pool.scores[:, 2:].argmax(1).numpy()).any()
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (labels, predicted), 1)
    assert found[0].overall["pruned"].tolist() == counts.tolist()
    assert int(np.trace(found[0].moves["pruned"][""][0])) == int((predicted == dense).sum())
    assert sum(len(part) for part in changed.found["pruned"]) == int((predicted != dense).sum())
    sure = pool.scores[:, 2:].softmax(1).numpy()[np.arange(len(labels)), predicted]
    assert float(found[0].sureness["pruned"][""].confidence.sum()) == pytest.approx(float(sure.sum()), abs=1e-3)
    without = audit_tasks(models, pool, [Gender()], [CLASSES])[0]
    assert without.overall["pruned"].tolist() != counts.tolist()
    assert without.overall["dense"].tolist() == found[0].overall["dense"].tolist()


def test_what_they_do_is_counted_by_the_groups_of_their_own_attribute() -> None:
    pool, use = made()
    tally = PointsTally(use)
    for part in (slice(0, 100), slice(100, 300)):
        seen = Seen(pool.labels[part], pool.gender[part, None], pool.rows[part])
        tally.look(seen, pool.scores[part, 2:])
    figures = tally.figures(Judgement(notions=("accuracy",)), judged=False)
    labels, own, common = pool.labels.numpy(), by_hand(pool, use), pool.scores[:, 2:].argmax(1).numpy()
    groups = use.index[pool.rows.numpy()]
    assert figures.accuracy.common.value == pytest.approx((common == labels).mean())
    assert figures.accuracy.own.value == pytest.approx((own == labels).mean())
    for g, name in enumerate(use.names):
        here = groups == g
        one = figures.groups[name]
        assert one.n == here.sum()
        assert one.change.value == pytest.approx((own == labels)[here].mean() - (common == labels)[here].mean())
    assert figures.groups["ageless"].change.value == 0.0
    recall = {rate.rate: rate.groups["old"] for rate in figures.rates}["predicted yes among images labelled yes"]
    wanted = (groups == 0) & (labels == 1)
    assert recall.common.value == pytest.approx(common[wanted].mean())
    assert recall.own.value == pytest.approx(own[wanted].mean())
    assert figures.gaps.keys() == {"accuracy", "parity", "opportunity", "odds"}
    assert used_points({"dense": figures}) == []
    assert "for groups of age" in used_points({"dense": replace(figures, judged=True)})[0]
    assert points_record(figures)["fitted"]["young"] == {"images": 50, "biases": {"no": 0.0, "yes": 0.7}}


def test_a_notion_of_ones_own_in_a_file_is_not_imported() -> None:
    pool, use = made()
    tally = PointsTally(replace(use, points=replace(POINTS, notion="os.path:join")))
    tally.look(Seen(pool.labels, pool.gender[:, None], pool.rows), pool.scores[:, 2:])
    figures = tally.figures(Judgement(notions=("parity",)), judged=False)
    assert figures.notion == "parity"
    assert [rate.rate for rate in figures.rates] == ["predicted yes"] * len(figures.rates)


def test_a_verdict_with_them_says_so() -> None:
    gate = GateResult("max-gap", "age", 0.1, 0.0, 0.0, 0.05, "pass", "within")
    assert leniencies([gate]) == []
    (told,) = leniencies([gate], points=("age",))
    assert told == "with thresholds of their own for groups of age, which need the group at use"
    assert leniencies([], points=("age",)) == []
