"""The baselines' selections beyond the case by hand that each has in tests/contract: slow references, later rounds."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.group_method import GroupMethod
from fairprune_cli.pruning.masks import ChannelMasks, Masks, WeightMasks
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.pruning.methods.fairgrape import keep_in_turn
from fairprune_cli.pruning.schedule import Budget
from fairprune_cli.run import assembly
from fairprune_cli.run.options import Settings, resolve
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.trainer import Groups, Trainer, TrainOptions
from tests.support.dispatch import Operations

NONE = torch.empty(0)  # for methods that read neither logits nor labels
THETA = [[1.0, -2.0], [0.5, 1.0], [4.0, 2.0]]  # weights of the hand-worked layer; unit i counts along the rows


def linear(name: str, **options: Any) -> tuple[nn.Linear, WeightMasks, methods.Method]:
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.data = torch.tensor(THETA)
    masks = WeightMasks(layer)
    return layer, masks, methods.get(name)(masks, MethodOptions(**options))


def give(layer: nn.Linear, saliency: Sequence[float]) -> None:
    """A gradient under which theta_i g_i is as asked; theta is that of the dense layer."""
    layer.weight.grad = torch.tensor(saliency).view(3, 2) / torch.tensor(THETA)


def kept(masks: Masks, scores: Tensor, sparsity: float) -> list[int]:
    return torch.nonzero(masks.select(scores, sparsity))[:, 0].tolist()


# --- magnitude, random, snip, bip


def test_a_masked_weight_is_ranked_by_its_old_value() -> None:
    """Gradual pruning may take a unit back: what is masked is not worth zero."""
    _, masks, method = linear("magnitude")
    masks.apply(torch.tensor([True, True, True, True, False, True]))
    assert kept(masks, method.scores(), 0.5) == [1, 4, 5]


def test_random_is_uniform_within_each_layer_and_never_takes_back() -> None:
    net = nn.Sequential(nn.Linear(6, 10, bias=False), nn.Linear(10, 2, bias=False))
    times = torch.zeros(80)
    for seed in range(400):
        masks = WeightMasks(net, layer_floor=0.0)
        method = methods.get("random")(masks, MethodOptions(seed=seed))
        scores = method.scores()
        assert method.scope == "layer"
        ranks = masks.rank_within(scores)
        keep, later = masks.select(ranks, 0.5), masks.select(ranks, 0.9)
        assert (int(keep[:60].sum()), int(keep[60:].sum())) == (30, 10)
        assert not (later & ~keep).any()
        assert float(scores.min()) >= 0.0
        times += keep
        again = methods.get("random")(masks, MethodOptions(seed=seed))
        assert torch.equal(again.scores(), scores)
    # Each unit is kept about every second time: 200 +- 10 at one standard deviation.
    assert 150 < float(times.min()) <= float(times.max()) < 250
    assert float(times.std()) == pytest.approx(10.0, abs=3.0)


def test_bip_is_bifp_without_a_constraint() -> None:
    for step in ("first-order", "second-order"):
        scores = []
        for name in ("bip", "bifp"):
            layer, _, method = linear(name, mask_step=step)
            give(layer, [3.0, -3.0, 1.0, 0.5, 2.0, 0.1])
            method.upper_step(0, NONE, NONE)
            scores.append(method.scores())
        assert torch.equal(*scores)
    assert methods.get("bifp").constrained
    assert not methods.get("bip").constrained


# --- fpgm


def two_convolutions(channels: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 1), nn.ReLU(), nn.Conv2d(channels, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip


@pytest.mark.parametrize("channels", [7, 40])  # torch computes distances of more than 25 rows in another way
def test_fpgm_equals_a_loop_over_pairs(channels: int) -> None:
    torch.manual_seed(channels)
    net = two_convolutions(channels)
    net[0].weight.data[3] = net[0].weight.data[5]  # two filters that replace each other
    masks = ChannelMasks(net, channel_spaces(net, 8))
    scores = methods.get("fpgm")(masks, MethodOptions()).scores()
    expected = []
    for conv in (net[0], net[2]):
        rows = conv.weight.detach().double().flatten(1).tolist()
        expected += [math.fsum(math.dist(row, other) for other in rows) for row in rows]
    assert scores.tolist() == pytest.approx(expected, rel=1e-3)


# --- fairgrape


def test_fairgrape_by_hand() -> None:
    layer, masks, method = linear("fairgrape")
    a, b = [3.0, 2.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.5, 1.0]
    groups = np.array([[1], [0], [1], [0]])
    assert [part.tolist() for part in method.parts(groups)] == [[1, 3], [0, 2]]
    logits, labels = torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64)
    for part, saliency in enumerate((a, b)):
        give(layer, saliency)
        method.upper_step(part, logits, labels)
    # Importances 9 4 1 1 0 0 (15 in all) and 0 0 1 0 2.25 1 (4.25): group a has .779 of them, b .221.
    #   kept      of a, b      share of a   behind   next
    #   nothing    0  0                      a       0
    #   0          9  0         1            b       4
    #   0 4        9  2.25       .8          b       2, the lower of two with 1
    #   0 4 2     10  3.25       .755        a       1
    #   .. 1      14  3.25       .812        b       5
    #   .. 5      14  4.25       .767        a       3
    scores = method.scores(0.5)
    assert kept(masks, scores, 0.5) == [0, 2, 4]  # by the sum over groups it would be 0, 1 and 4
    assert scores.argsort(descending=True).tolist()[:3] == [0, 4, 2]


def test_fairgrape_orders_all_units_by_hand() -> None:
    importance = np.array([[9.0, 4.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 2.25, 1.0]])
    assert keep_in_turn(importance, np.array([15.0, 4.25]) / 19.25, 6).tolist() == [0, 4, 2, 1, 5, 3]


def test_fairgrape_keeps_to_the_dense_shares_and_what_is_pruned_stays_pruned() -> None:
    layer, masks, method = linear("fairgrape")
    logits, labels = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)

    def look(a: Sequence[float], b: Sequence[float]) -> None:
        for part, saliency in enumerate((a, b)):
            method.parts(np.array([[0], [1]]))
            give(layer, saliency)
            method.upper_step(part, logits, labels)

    look([3.0, 2.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.5, 1.0])
    masks.apply(masks.select(method.scores(1 / 3), 1 / 3))
    assert masks.keep.tolist() == [True, True, True, False, True, False]
    # Now b has nearly everything, and so have the two units that are gone. One is to be kept: a is the first in turn,
    # as its share in the dense model was the larger one; its best unit that is left is 1.
    look([1.0, 2.0, 0.0, 10.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 4.0, 10.0])
    assert kept(masks, method.scores(5 / 6), 5 / 6) == [1]
    # The same from a fresh start would begin with b.
    method = methods.get("fairgrape")(masks, MethodOptions())
    look([1.0, 2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 4.0, 0.0])
    assert kept(masks, method.scores(5 / 6), 5 / 6) == [4]


def test_importance_is_averaged_over_the_batches_that_have_the_group() -> None:
    layer, _, method = linear("fairgrape")
    assert isinstance(method, GroupMethod)
    logits, labels = torch.tensor([[1.0, 0.0]]), torch.zeros(1, dtype=torch.int64)
    for groups, saliencies in (([[0]], [1.0]), ([[0], [1], [-1]], [3.0, 2.0])):
        parts = method.parts(np.array(groups))
        assert len(parts) == len(saliencies)  # images without a group are left out
        for part, value in enumerate(saliencies):
            give(layer, [value, 0.0, 0.0, 0.0, 0.0, 0.0])
            method.upper_step(part, logits, labels)
    importance, right, seen = method.take()
    assert importance[:, 0].tolist() == pytest.approx([(1 + 9) / 2, 4.0])  # squares first, then the mean
    assert right.tolist() == seen.tolist() == [2.0, 1.0]


def keep_slowly(importance: np.ndarray, shares: Sequence[float], keep: int) -> list[int]:
    """FairGRAPE's selection, everything computed anew at each turn, in exact numbers."""
    table = [[Fraction(float(v)) for v in row] for row in importance]
    wanted = [Fraction(float(v)) for v in shares]
    chosen: list[int] = []
    while len(chosen) < keep:
        sums = [sum((row[u] for u in chosen), Fraction()) for row in table]
        total = sum(sums, Fraction())
        lag = [w - (s / total if total else 0) for w, s in zip(wanted, sums, strict=True)]
        group = max(range(len(table)), key=lambda g: (lag[g], -g))
        left = [u for u in range(importance.shape[1]) if u not in chosen]
        chosen.append(max(left, key=lambda u: (table[group][u], -u)))
    return chosen


@given(groups=st.integers(1, 5), units=st.integers(1, 14), seed=st.integers(0, 10**6), coarse=st.booleans())
def test_fairgrape_equals_the_slow_selection(groups: int, units: int, seed: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    importance = rng.exponential(size=(groups, units)) ** 2
    if coarse:  # many units alike
        importance = np.floor(importance)
    shares = rng.dirichlet(np.ones(groups))
    keep = int(rng.integers(0, units + 1))
    assert keep_in_turn(importance, shares, keep).tolist() == keep_slowly(importance, shares, keep)


@pytest.mark.parametrize(("sparsity", "rounds"), [(0.1, 1), (0.19, 2), (0.9, 22), (0.99, 44)])
def test_fairgrape_s_own_budget_is_a_tenth_a_round_with_three_epochs_after_each(sparsity: float, rounds: int) -> None:
    kind = methods.get("fairgrape")
    assert kind.own_budget(MethodOptions(), sparsity) == {}
    own = dict(kind.own_budget(MethodOptions(fairgrape_budget="own"), sparsity))
    epochs = own.pop("epochs")
    assert epochs == 3 * rounds
    plan = kind.plan(MethodOptions(**own))  # type: ignore[arg-type]
    steps = 10 * int(epochs)
    assert plan.round_steps(steps) == [30 * r for r in range(rounds)]
    left = [1.0 - plan.sparsity(step, steps, sparsity) for step in plan.round_steps(steps)]
    assert all(later >= 0.899 * before for before, later in itertools.pairwise([1.0, *left]))
    assert left[-1] == pytest.approx(1.0 - sparsity)


# --- fairprune


def fairprune_round(layer: nn.Linear, method: methods.Method, parts: Sequence[tuple[Sequence[float], int]]) -> None:
    """One batch with four images of each group; of group i so many are classified right."""
    method.parts(np.arange(len(parts)).repeat(4)[:, None])
    for part, (saliency, right) in enumerate(parts):
        give(layer, saliency)
        labels = torch.tensor([0] * right + [1] * (4 - right))
        method.upper_step(part, torch.tensor([[1.0, 0.0]] * 4), labels)


def test_fairprune_by_hand() -> None:
    layer, masks, method = linear("fairprune", beta=0.5)
    # Group 1, with 1 of 4 right, is the unprivileged one: s = 1/2 (u - p / 2), u and p four times (the images of a
    # group) the squares.
    p, u = [3.0, 1.0, 2.0, 0.0, 2.0, 1.0], [2.0, 1.0, 0.0, 0.5, 1.0, 2.0]
    fairprune_round(layer, method, [(p, 3), (u, 1)])
    scores = method.scores()
    assert scores.tolist() == pytest.approx([-1.0, 1.0, -4.0, 0.5, -2.0, 7.0])
    # Unit 0 is the second most important one of all, but it is the privileged group that needs it.
    assert kept(masks, scores, 0.5) == [1, 3, 5]
    masks.apply(masks.select(scores, 0.5))
    # The roles stay, though group 0 is the worse one now, and what is gone stays gone.
    fairprune_round(layer, method, [([0.0, 1.0, 0.0, 0.0, 0.0, 2.0], 0), ([9.0, 2.0, 9.0, 1.0, 9.0, 1.0], 4)])
    scores = method.scores()
    assert scores[masks.keep].tolist() == pytest.approx([2 * (4 - 0.5), 2 * 1, 2 * (1 - 2)])
    assert kept(masks, scores, 4 / 6) == [1, 3]


def test_fairprune_has_all_other_groups_as_the_privileged_side() -> None:
    layer, _, method = linear("fairprune", beta=0.25)
    ones = [1.0] * 6
    fairprune_round(layer, method, [([2.0] * 6, 4), (ones, 2), ([4.0] * 6, 3)])
    # u = 4, p = (16 + 64) / 2, each group having four images
    assert method.scores().tolist() == pytest.approx([0.5 * (4 - 0.25 * 40)] * 6)


def test_fairprune_without_an_image_of_the_unprivileged_group_takes_what_it_knew() -> None:
    layer, _, method = linear("fairprune", beta=0.0)
    fairprune_round(layer, method, [([3.0] * 6, 4), ([1.0, 2.0, 0.0, 0.0, 1.0, 0.0], 0)])
    before = method.scores()
    method.parts(np.zeros((4, 1), dtype=np.int64))
    give(layer, [5.0] * 6)
    method.upper_step(0, torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(method.scores(), before)


def test_group_methods_say_when_no_image_is_in_a_group() -> None:
    _, _, method = linear("fairgrape")
    method.parts(np.full((4, 2), -1))
    with pytest.raises(FairpruneError, match="none of the images looked at is in a group"):
        method.scores(0.5)


# --- weighted loss


def test_weighted_loss_by_hand() -> None:
    _, _, method = linear("weighted-loss", weight_floor=0.3, weight_power=1.0)
    # The dense model says (.8, .2) twice; the first time rightly, the second time not.
    teacher = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log() + 5.0  # a shift of the logits changes nothing
    student = torch.tensor([[0.25, 0.75], [0.25, 0.75]]).log()
    losses = method.image_loss(student, torch.tensor([0, 1]), teacher)
    easy = (0.3 + 0.7 * 0.2) * -(0.8 * math.log(0.25) + 0.2 * math.log(0.75))
    hard = (0.3 + 0.7 * 0.8) * -math.log(0.75)
    assert losses.tolist() == pytest.approx([easy, hard], rel=1e-5)
    _, _, steep = linear("weighted-loss", weight_floor=0.3, weight_power=2.0)
    losses = steep.image_loss(student, torch.tensor([0, 1]), teacher)
    assert losses.tolist() == pytest.approx([easy * (0.3 + 0.7 * 0.04) / 0.44, hard * (0.3 + 0.7 * 0.64) / 0.86])


def test_weighted_loss_scatters_nothing() -> None:
    """Where results must repeat, a GPU sorts instead."""
    _, _, method = linear("weighted-loss")
    with Operations() as operations:
        method.image_loss(torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.randn(6, 3))
    assert not any("scatter" in name or "index_put" in name for name in operations.counts)


def test_weighted_loss_equals_a_loop_and_reads_the_teacher_s_own_row() -> None:
    rng = np.random.default_rng(0)
    _, _, method = linear("weighted-loss", weight_floor=0.2, weight_power=1.5)
    table, student = rng.normal(size=(9, 4)) * 2, rng.normal(size=(6, 4)) * 2
    rows, labels = rng.permutation(9)[:6], rng.integers(4, size=6)
    labels[:3] = table[rows[:3]].argmax(1)  # some that the dense model knows
    expected = []
    for logits, row, label in zip(student, rows, labels, strict=True):
        dense = np.exp(table[row]) / np.exp(table[row]).sum()
        target = dense if dense.argmax() == label else np.eye(4)[label]
        log = logits - np.log(np.exp(logits).sum())
        expected.append((0.2 + 0.8 * (1 - dense[label]) ** 1.5) * -(target * log).sum())
    made = Objective(method, accuracy_constraint([2]), torch.tensor(table))
    batch = SimpleNamespace(labels=torch.tensor(labels), rows=torch.tensor(rows))
    assert float(made.lower(torch.tensor(student), batch)) == pytest.approx(float(np.mean(expected)), rel=1e-6)


# --- ceag


def accuracy_constraint(groups: Sequence[int]) -> Constraint:
    return Constraint(
        fairness.get("accuracy", 2), groups, relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=200.0
    )


def test_ceag_has_the_notion_that_is_asked_for_and_else_its_own() -> None:
    method = methods.get("ceag")
    for asked, expected in (({}, "degradation"), ({"notion": "accuracy"}, "accuracy"), ({"notion": "odds"}, "odds")):
        made = assembly.constrained_notion(resolve(asked, {}, None).settings, method, 2)
        assert (made.name, made.against) == (expected, "whole" if not asked else "best")
    both = resolve({"notion": "odds", "method_notion": "own"}, {}, None).settings
    assert assembly.constrained_notion(both, method, 2).name == "degradation"


@pytest.mark.parametrize("notion", ["accuracy", "odds"])
def test_ceag_s_constraint_is_its_own_whatever_the_settings_say(notion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The constraint that tests/fairness/test_constraint.py works out by hand is the one that a run gets."""
    settings = Settings(
        notion=notion, levelling=0.0, multiplier_decay=0.1, multiplier_data="upper", tolerance=0.01,
        multiplier_rate=0.5, multiplier_memory=3000.0, batch_size=10,
    )  # fmt: skip
    method = methods.get("ceag")
    assert method.constrained
    made = assembly.constrained_notion(settings, method, 2)
    assert (made.name, made.against, made.relative) == ("degradation", "whole", True)
    audited: list[object] = []
    counts = np.array([[[150, 10], [20, 120]], [[40, 10], [10, 40]], [[5, 5], [5, 5]]])  # .9, .8, .5; 360 of 420

    def count_dense(_: object, drawn: list[object], __: object, evaluated: bool) -> tuple[object, int]:
        assert not evaluated  # the weights are trained in training mode, and so counted
        audited.extend(drawn)
        return [[counts]], 42

    monkeypatch.setattr(assembly, "dense_counts", count_dense)
    monkeypatch.setattr(assembly, "images_in", lambda *_: [counts.sum(axis=2)])
    monkeypatch.setattr(assembly.Assembly, "_sampler", lambda _self, pool, *_: pool)
    data = SimpleNamespace(
        groupings=[SimpleNamespace(name="age", groups=("a", "b", "c"))],
        manifest=SimpleNamespace(tasks=[SimpleNamespace(classes=("x", "y"))]),
    )
    pools = SimpleNamespace(lower=range(420), upper=range(50))
    masks = WeightMasks(nn.Linear(2, 2))
    run = assembly.Assembly(
        settings, method, (made,), nn.Identity(), nn.Identity(), masks, data, torch.device("cpu")  # type: ignore[arg-type]
    )  # fmt: skip
    constraint, cost = run._constraint(pools)  # type: ignore[arg-type]
    assert audited == [pools.lower]  # the dense rates are those of the images that are counted
    assert run._multiplier_data == "lower"
    assert cost == pytest.approx(420 / 10 / 3)
    assert constraint.weight == 0.0

    def count(now: np.ndarray) -> list[float]:
        constraint.tallies[0].counts, constraint.tallies[0].seen = now.astype(float), now.sum(axis=2)
        constraint.update()
        return constraint.multipliers[0][0, 0].tolist()

    # Pruned .8, .8, .5 and 330 of 420: psi_g is the loss of the group minus that of all, (.1, 0, 0) - 30 / 420.
    pruned = np.array([[[140, 20], [40, 100]], [[40, 10], [10, 40]], [[5, 5], [5, 5]]])
    psi = 0.1 - 30 / 420
    assert count(pruned) == pytest.approx([0.5 * (psi - 0.01), 0.0, 0.0])
    assert count(pruned) == pytest.approx([2 * 0.5 * (psi - 0.01), 0.0, 0.0])
    assert not constraint.multipliers[0][1].any()  # nobody can be too good
    assert constraint.weight == 0.0  # L is not divided
    logits, labels = torch.randn(12, 2, dtype=torch.float64), torch.arange(12) % 2
    losses = F.cross_entropy(logits, labels, reduction="none")
    groups = torch.tensor([[0], [0], [1], [2]] * 3)
    term = constraint.penalty(logits, labels, groups)
    mu = float(constraint.multipliers[0][0, 0, 0])
    assert float(term) == pytest.approx(mu * float(losses[groups[:, 0] == 0].mean() - losses.mean()))  # mu (CE_a - CE)
    assert count(counts) == [0.0, 0.0, 0.0]  # within the tolerance: zero at once
    # A buffer per group, of as many images in all as one for everybody.
    constraint.forget()
    for _ in range(2):
        constraint.tallies[0].add(
            np.array([[[500, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]), np.zeros((2, 1, 3))
        )
    assert constraint.tallies[0].counts[0, 0, 0] == pytest.approx(500 * (1 + math.exp(-500 / 1000)))


# --- what the loop feeds to the methods that look at gradients


class Images(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor
    rows: Tensor
    weights: Tensor


class Source:
    """Random images with two attributes, now and then without a group; remembers what it gave."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.given: list[Images] = []

    def next(self) -> Images:
        labels = torch.randint(0, 2, (24,), generator=self.generator)
        groups = torch.randint(0, 2, (24, 2), generator=self.generator)
        groups[torch.rand(24, generator=self.generator) < 0.15, 1] = -1
        images = torch.randn(24, 3, 8, 8, generator=self.generator) + ((labels * 2 - 1) * 0.4)[:, None, None, None]
        weights = 0.5 + torch.rand(24, generator=self.generator)
        self.given.append(Images(images, labels, groups, torch.arange(24), weights))
        return self.given[-1]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise NotImplementedError


class Look(NamedTuple):
    """What was there when the scores were asked for, and what they became."""

    values: dict[str, Tensor]
    stash: dict[str, Tensor]
    keep: Tensor
    batches: list[Images]
    sparsity: float
    table: tuple[Tensor, Tensor, Tensor] | None
    scores: Tensor


ROUNDS, BATCHES, BETA, SPARSITY = 3, 2, 0.4, 0.6


class Watched(NamedTuple):
    """A run that is over: the dense model, the masks, the method, and the state at each pruning."""

    dense: nn.Module
    masks: Masks
    method: methods.Method
    looks: list[Look]


def watch(name: str, granularity: str) -> Watched:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip
    nn.init.normal_(net[1].bias)
    net[1].running_mean.normal_(std=0.1)  # statistics that no batch has
    net[1].running_var.uniform_(0.5, 2.0)
    dense = copy.deepcopy(net).eval()
    masks = WeightMasks(net, 0.0) if granularity == "weight" else ChannelMasks(net, channel_spaces(net, 8))
    method = methods.get(name)(masks, MethodOptions(ramp_share=0.5, rounds=ROUNDS, beta=BETA))
    plan = type(method).plan(method.options)
    upper, seen, used, tables = Source(2), [], [0], []
    scores, take = method.scores, getattr(method, "take", None)

    def watched_take() -> tuple[Tensor, Tensor, Tensor]:
        assert take is not None
        tables.append(take())
        return tables[-1]

    def watched_scores(sparsity: float = 0.0) -> Tensor:
        result = scores(sparsity)
        values = {key: value.detach().clone() for key, value in net.state_dict().items()}
        stash = {key: value.clone() for key, value in masks.stash.items()}
        batches, used[0] = upper.given[used[0] :], len(upper.given)
        table = tables[-1] if tables else None
        seen.append(Look(values, stash, masks.keep.clone(), batches, sparsity, table, result.clone()))
        return result

    method.scores = watched_scores  # type: ignore[method-assign]
    if take is not None:
        method.take = watched_take  # type: ignore[attr-defined]
    extra = float(plan.rounds * BATCHES)
    run = Trainer(
        net, masks, Objective(method, accuracy_constraint([2, 2])), Groups({"x": ("a", "b"), "y": ("c", "d")}),
        Source(3), upper, Budget(12.0 + extra, plan, 2, True, False, extra), SPARSITY,
        TrainOptions(lr=0.05, upper_every=2, epochs=1, saliency_batches=BATCHES),
    )  # fmt: skip
    assert run.run()
    return Watched(dense, masks, method, seen)


def look_at(watched: Watched, look: Look, batch: Images, index: Tensor) -> tuple[Tensor, int]:
    """dL/dc at c = 1, [U], and how many were right; c multiplies each weight, or all entries of each channel's gates.

    That is how SNIP defines it (eq. 3 and 5). L is the mean loss of the images at `index`, each as much as it stands
    for, of the network in eval mode.
    """
    masks, values = watched.masks, dict(look.values)
    by_channel = isinstance(masks, ChannelMasks)
    factor = torch.ones(len(look.keep), requires_grad=True)
    owners = (
        [[g.tensor for g in s.gates] for s in masks.spaces]
        if isinstance(masks, ChannelMasks)
        else [(name,) for name in masks.tensors]
    )
    for names, c, keep in zip(owners, factor.split(masks.sizes), look.keep.split(masks.sizes), strict=True):
        for name in names:
            shape = (-1,) + (1,) * (values[name].dim() - 1) if by_channel else values[name].shape
            if by_channel:  # closed gates are open by a thousandth while gradients are taken
                values[name] = torch.where(keep.view(shape), values[name], 1e-3 * look.stash[name])
            values[name] = values[name] * c.view(shape)
    logits = functional_call(watched.dense, values, (batch.images[index],))
    weights = batch.weights[index]
    losses = logits.exp().sum(1).log() - logits[torch.arange(len(index)), batch.labels[index]]
    (gradient,) = torch.autograd.grad((weights * losses).sum() / weights.sum(), factor)
    return gradient, int((logits.argmax(1) == batch.labels[index]).sum())


def wanted_sparsity(done: int, rounds: int) -> float:
    return 1.0 - (1.0 - SPARSITY) ** (done / rounds)


def check_selection(watched: Watched, scores: Tensor, at: int) -> None:
    """The mask after pruning `at` has what `scores` ranks highest, and nothing that was gone before."""
    look, masks = watched.looks[at], watched.masks
    after = watched.looks[at + 1].keep if at + 1 < len(watched.looks) else masks.keep
    assert not (after & ~look.keep).any()
    if isinstance(masks, ChannelMasks):
        assert torch.equal(after, masks.select(scores, look.sparsity))
    else:
        number = round((1.0 - look.sparsity) * len(scores))
        best = scores.argsort(descending=True, stable=True)[:number]
        assert set(torch.nonzero(after)[:, 0].tolist()) == set(best.tolist())
        assert all(int(part.sum()) > 1 for part in after.split(masks.sizes))  # the floor of a layer plays no part


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_snip_prunes_once_by_the_derivative_of_the_dense_model_s_gates(granularity: str) -> None:
    watched = watch("snip", granularity)
    (look,) = watched.looks
    assert look.sparsity == SPARSITY
    assert len(look.batches) == BATCHES
    assert all(torch.equal(value, look.values[key]) for key, value in watched.dense.state_dict().items())
    every = torch.arange(24)
    expected = sum(look_at(watched, look, batch, every)[0] for batch in look.batches).abs()  # type: ignore[union-attr]
    assert look.scores.tolist() == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-7)
    check_selection(watched, expected, 0)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("name", ["fairgrape", "fairprune"])
def test_group_methods_see_each_group_by_itself_at_every_round(name: str, granularity: str) -> None:
    watched = watch(name, granularity)
    assert [look.sparsity for look in watched.looks] == pytest.approx([wanted_sparsity(r, ROUNDS) for r in (1, 2, 3)])
    combinations = watched.method.state_dict()["combinations"].tolist()
    assert sorted(combinations) == [[0, 0], [0, 1], [1, 0], [1, 1]]
    shares: list[list[float]] = []
    unprivileged = -1
    for at, look in enumerate(watched.looks):
        assert len(look.batches) == BATCHES
        assert look.table is not None
        importance, right, seen = look.table
        for row, combination in enumerate(combinations):
            found = [(batch, torch.nonzero((batch.groups == torch.tensor(combination)).all(1))[:, 0])
                     for batch in look.batches]  # fmt: skip
            found = [(batch, index) for batch, index in found if len(index)]
            parts = [look_at(watched, look, batch, index) for batch, index in found]
            sizes = [len(index) if name == "fairprune" else 1 for _, index in found]
            squares = [n * gradient.square() for n, (gradient, _) in zip(sizes, parts, strict=True)]
            expected = torch.stack(squares).mean(0)
            there = look.keep
            assert importance[row][there].tolist() == pytest.approx(expected[there].tolist(), rel=2e-3, abs=1e-9)
            assert int(right[row]) == sum(number for _, number in parts)
            assert int(seen[row]) == sum(len(index) for _, index in found)
        if name == "fairprune":
            if unprivileged < 0:
                unprivileged = int((right / seen).argmin())
            others = importance[[g for g in range(4) if g != unprivileged]].mean(0)
            scores = (importance[unprivileged] - BETA * others) / 2
            assert look.scores[look.keep].tolist() == pytest.approx(scores[look.keep].tolist(), rel=1e-4, abs=1e-9)
            scores[~look.keep] = -torch.inf
        else:
            table = importance.double().numpy() * look.keep.numpy()
            dense = importance.double().split(watched.masks.sizes, dim=1)
            shares = shares or [(layer.sum(1) / layer.sum()).tolist() for layer in dense]
            parted = []
            for layer, wanted in zip(torch.from_numpy(table).split(watched.masks.sizes, dim=1), shares, strict=True):
                units = layer.shape[1]
                number = min(units, round((1.0 - look.sparsity) * units) + 1)
                order = keep_slowly(layer.numpy(), wanted, number)
                # What is left over when the budget is one of parameters goes by its sum over groups.
                part = layer.sum(0) / layer.sum()
                part[order] = 2.0 + torch.arange(number, 0, -1, dtype=torch.float64)
                parted.append(part)
            scores = torch.cat(parted)
            scores[~look.keep] = -torch.inf
            scores = watched.masks.rank_within(scores)
            scores[~look.keep] = -torch.inf
        check_selection(watched, scores, at)
    # Between the rounds the weights were trained, so each had another network to look at.
    assert not torch.equal(watched.looks[0].values["7.bias"], watched.looks[1].values["7.bias"])
