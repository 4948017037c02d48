"""Counts of a batch against a loop over its images, exact and relaxed, and what is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.relaxations import get
from fairprune_cli.fairness.tally import GroupTally, add_batch
from tests.support.soft_rates import margins_by_definition


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(fairness.names()), classes=st.sampled_from([2, 3, 5]), weighted=st.booleans(),
    seed=st.integers(0, 10_000),
)  # fmt: skip
def test_counts_by_a_loop_over_the_images(name: str, classes: int, weighted: bool, seed: int) -> None:
    rng, hinge = np.random.default_rng(seed), get("hinge")
    notion, sizes = fairness.get(name, classes), [2, 4]
    logits = rng.normal(size=(20, classes)).astype(np.float32)
    labels = rng.integers(classes, size=20)
    groups = np.stack([rng.integers(-1, 2, size=20), rng.integers(-1, 3, size=20)], axis=1)
    weights = rng.uniform(0.2, 3.0, size=20).astype(np.float32) if weighted else None
    tallies = [GroupTally(count, notion, 1e12) for count in sizes]
    add_batch(tallies, GroupRows(sizes, classes), notion, [hinge.delta, hinge.kappa], logits, labels, groups, weights)
    margins = margins_by_definition(torch.tensor(logits))
    delta, kappa = hinge.delta(margins).numpy(), hinge.kappa(margins).numpy()
    alarms = notion.direction[:, None] < 0
    for a, tally in enumerate(tallies):
        counts, relaxed = np.zeros_like(tally.counts), np.zeros_like(tally.soft)
        for b, group in enumerate(groups[:, a]):
            if group >= 0:
                each = 1.0 if weights is None else float(weights[b])
                counts[group, labels[b], logits[b].argmax()] += each
                member = each * notion.population[:, labels[b]]
                soft = np.where(alarms, kappa[b], delta[b]).astype(float)
                relaxed[0, :, group] += member * (notion.event[:, labels[b]] * soft).sum(axis=1)
                relaxed[1, :, group] += member
        assert tally.counts == pytest.approx(counts, rel=1e-12)
        assert weighted or np.array_equal(tally.counts, counts)
        assert tally.seen.sum() == (groups[:, a] >= 0).sum()  # an image is one, whatever it stands for
        assert tally.soft == pytest.approx(relaxed, rel=1e-9, abs=1e-9)


def test_a_batch_pushes_out_what_was_counted_before() -> None:
    notion = fairness.get("accuracy", 2)
    tally, own = GroupTally(2, notion, 100.0), GroupTally(2, notion, 100.0, per_group=True)
    first, second = np.full((2, 2, 2), 10.0), np.zeros((2, 2, 2))
    second[0, 1, 1] = 50.0
    for each in (tally, own):
        each.add(first, np.ones((2, 1, 2)), np.full((2, 2), 3.0))
        each.add(second, np.zeros((2, 1, 2)), np.zeros((2, 2)))
    assert tally.counts[1] == pytest.approx(10 * np.exp(-0.5))
    assert tally.soft == pytest.approx(np.exp(-0.5))
    assert tally.seen == pytest.approx(3 * np.exp(-0.5))
    assert own.counts[1] == pytest.approx(10.0)
    assert own.counts[0, 1, 1] == pytest.approx(10 * np.exp(-0.5) + 50)


def test_the_relaxed_gap_looks_at_groups_that_were_seen() -> None:
    tally = GroupTally(3, fairness.get("odds", 2), 100.0)
    assert np.isnan(tally.surrogate_gap())
    tally.soft[1] = [[4.0, 2.0, 0.0], [5.0, 0.0, 0.0]]
    tally.soft[0] = [[1.0, 1.5, 0.0], [5.0, 0.0, 0.0]]  # rates 1/4 and 3/4; the other rate has one group
    assert tally.surrogate_gap() == pytest.approx(0.5)
