"""Stratified batches: shares, weights that make up for them, whole passes within a stratum, resumption."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import Pool, load_images
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler, shares
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("faces")
    sizes = {"train": 120, "val": 30, "test": 30}
    manifest = load_manifest(write_sample(folder / "s", seed=0, sizes=sizes))
    images = load_images(manifest, ["gender"])
    return images.pool(np.flatnonzero(manifest.splits == 0))


def natural(strata: Strata) -> np.ndarray:
    return np.ones(len(strata.sizes))


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0.01, 100)), min_size=1, max_size=30), st.floats(1.5, 20))
def test_shares_add_up_and_stay_below_the_cap(strata: list[tuple[int, float]], most: float) -> None:
    sizes, pull = np.array([s for s, _ in strata]), np.array([p for _, p in strata])
    result = shares(sizes, pull, most)
    assert result.sum() == pytest.approx(1.0)
    assert (result >= 0).all()
    assert (result <= most * sizes / sizes.sum() * (1 + 1e-9)).all()
    free = result < most * sizes / sizes.sum() * (1 - 1e-9)
    if free.sum() > 1:  # those below the cap keep the proportions that were asked for
        ratio = result[free] / (sizes * pull)[free]
        assert ratio == pytest.approx(ratio[0])


def test_batches_have_the_shares_asked_for_and_weights_restore_the_data(pool: Pool) -> None:
    sampler = StratifiedSampler(pool, 30, "cpu", 0, False, Strata.even)
    wanted = shares(sampler.strata.sizes, sampler.strata.even())
    drawn, weight = np.zeros(len(wanted)), np.zeros(len(wanted))
    for _ in range(400):
        batch = sampler.next()
        assert len(batch.labels) == 30
        assert batch.weights is not None
        for c, (label, group) in enumerate(zip(sampler.strata.labels, sampler.strata.groups[:, 0], strict=True)):
            inside = (batch.labels == label) & (batch.groups[:, 0] == group)
            drawn[c] += int(inside.sum())
            weight[c] += float(batch.weights[inside].sum())
            assert abs(int(inside.sum()) - 30 * wanted[c]) < 1 + 1e-9  # systematic: never a whole image off
    assert drawn / drawn.sum() == pytest.approx(wanted, abs=0.01)
    assert weight / weight.sum() == pytest.approx(sampler.strata.sizes / len(pool), abs=0.01)


def test_within_a_stratum_every_image_comes_once_a_pass(pool: Pool) -> None:
    sampler = StratifiedSampler(pool, 10, "cpu", 0, False, natural)
    seen: Counter[int] = Counter()
    for _ in range(len(pool) // 10 * 3):
        seen.update(sampler.next().rows.tolist())
    for c in range(len(sampler.strata.sizes)):
        counts = [seen[int(pool.rows[i])] for i in np.flatnonzero(sampler.strata.of_image == c)]
        assert max(counts) - min(counts) <= 1


def test_resumes_exactly(pool: Pool, tmp_path: Path) -> None:
    whole = StratifiedSampler(pool, 16, "cpu", 3, True, Strata.even)
    for _ in range(9):
        whole.next()
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    again = StratifiedSampler(pool, 16, "cpu", 9, True, Strata.even)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(20):
        a, b = whole.next(), again.next()
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.rows, b.rows)
    with pytest.raises(FairpruneError, match="other images or another batch size"):
        StratifiedSampler(pool, 8, "cpu", 3, True, Strata.even).load_state_dict(whole.state_dict())


def test_weighted_batches_give_the_same_counts_and_penalty_as_the_whole(pool: Pool) -> None:
    """The term over one stratified batch of all images, each weighed, equals the term over the plain data."""
    torch.manual_seed(0)
    notion = fairness.get("odds", 2)
    logits = torch.randn(len(pool), 2)
    labels, groups = torch.from_numpy(pool.labels), torch.from_numpy(pool.groups)

    def constraint() -> Constraint:
        made = Constraint(notion, [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=1e9)
        made.multipliers[0][...] = 0.7
        return made

    plain, weighed = constraint(), constraint()
    # Every image twice, but the first stratum four times and half the weight each.
    strata = Strata.of(pool)
    times = np.where(strata.of_image == 0, 4, 2)
    index = torch.from_numpy(np.repeat(np.arange(len(pool)), times))
    weights = torch.from_numpy(np.repeat(1.0 / times, times)).float()
    plain.observe(logits, labels, groups)
    weighed.observe(logits[index], labels[index], groups[index], weights)
    assert weighed.tallies[0].counts == pytest.approx(plain.tallies[0].counts, abs=1e-4)
    assert weighed.tallies[0].soft == pytest.approx(plain.tallies[0].soft, abs=1e-4)
    a = plain.penalty(logits, labels, groups)
    b = weighed.penalty(logits[index], labels[index], groups[index], weights)
    assert float(b) == pytest.approx(float(a), rel=1e-5)


def test_pull_is_what_an_image_weighs_in_the_lagrangian() -> None:
    """Against autograd: d L / d loss_i of image i, for the term whose surrogate is the cross-entropy itself."""
    labels = np.array([0, 0, 1, 1, 0, 1])
    groups = np.array([[0], [1], [0], [1], [-1], [-1]])
    sizes = np.array([40, 10, 30, 5, 3, 2])
    constraint = Constraint(
        fairness.get("odds", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=100.0
    )
    constraint.multipliers[0][...] = np.arange(8).reshape(2, 2, 2) / 4
    total = sizes.sum()
    expected = []
    for label, (group,) in zip(labels, groups, strict=True):
        weight = 1.0
        if group >= 0:
            n = sizes[(labels == label) & (groups[:, 0] == group)].sum()
            weight += total * constraint.multipliers[0][:, label, group].sum() / n
        expected.append(weight)
    assert constraint.pull(labels, groups, sizes) == pytest.approx(expected)


def test_strata_of_several_tasks_are_those_of_all_labels_unless_they_are_too_many() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, (300, 1))

    def strata(tasks: int) -> Strata:
        labels = rng.integers(0, 2, (300, tasks))
        return Strata.of(SimpleNamespace(labels=labels, groups=groups))  # type: ignore[arg-type]

    joint, many = strata(2), strata(9)
    assert joint.labels.shape == (8, 2)  # 2 x 2 labels x 2 groups
    assert joint.sizes.sum() == 300
    assert many.labels.shape == (4,)  # 512 x 2 would be too many: the first task's label x groups
    assert many.even() == pytest.approx(300 / (4 * many.sizes))


COUNTED = Strata(
    labels=np.array([0, 0, 0, 1, 1, 1]), groups=np.array([[0], [1], [-1], [0], [1], [-1]]),
    sizes=np.array([60, 5, 10, 20, 15, 10]), of_image=np.zeros(0, dtype=np.int64),
)  # fmt: skip


@pytest.mark.parametrize(
    ("over", "expected"),
    [  # 100 of the 120 images are in a group: 80 in the first, 20 in the second; the others keep their 20 of 120
        ("groups", [50 * 60 / 80, 50 * 5 / 20, 10, 50 * 20 / 80, 50 * 15 / 20, 10]),
        ("label-groups", [25, 25, 10, 25, 25, 10]),
    ],
)
def test_balanced_shares_of_counted_strata(over: str, expected: list[float]) -> None:
    found = shares(COUNTED.sizes, COUNTED.balanced(over), np.inf)
    assert found.tolist() == pytest.approx([share / 120 for share in expected])


def test_no_group_is_too_rare_to_be_balanced() -> None:
    rare = Strata(np.zeros(2, np.int64), np.array([[0], [1]]), np.array([999, 1]), np.zeros(0, dtype=np.int64))
    assert shares(rare.sizes, rare.balanced("groups"), np.inf).tolist() == pytest.approx([0.5, 0.5])
    assert shares(rare.sizes, rare.balanced("groups"))[1] == pytest.approx(0.01)  # at most ten times its share


def test_groups_of_several_attributes_are_their_combinations(pool: Pool) -> None:
    strata = Strata(
        np.array([0, 1, 0, 0]), np.array([[0, 0], [0, 0], [0, 1], [1, -1]]), np.array([1, 2, 3, 4]),
        np.zeros(0, dtype=np.int64),
    )  # fmt: skip
    assert strata.cells("groups").tolist() == [0, 0, 1, -1]
    assert strata.cells("label-groups").tolist() == [0, 1, 2, -1]
    assert Strata.of(pool.images.regrouped(()).pool(pool.rows)).cells("groups").tolist() == [0, 0]
