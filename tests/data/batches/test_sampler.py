"""Endless batches: passes, chances, and one sequence wherever the images lie and whenever it was interrupted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.data.batches.batch import Batch
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from fairprune_cli.data.batches.uploads import Uploads
from tests.support.batches import made_up, same

COUNT = 24


@pytest.fixture
def pool() -> Pool:
    return made_up(COUNT)


def test_each_pass_draws_every_image_at_most_once(pool: Pool) -> None:
    sampler = pool.sampler(5, "cpu", seed=0, augment=False)
    assert sampler.batches_per_pass == 4
    passes = [[sampler.next().rows for _ in range(4)] for _ in range(3)]
    for rows in passes:
        assert len(torch.cat(rows).unique()) == 20
    assert not torch.equal(torch.cat(passes[0]), torch.cat(passes[1]))


def test_pool_smaller_than_a_batch(pool: Pool) -> None:
    sampler = pool.images.pool(np.array([1, 2, 3])).sampler(8, "cpu", seed=0, augment=False)
    assert sorted(sampler.next().rows.tolist()) == [1, 2, 3]
    assert sorted(sampler.next().rows.tolist()) == [1, 2, 3]


def test_seed_decides(pool: Pool) -> None:
    one, two, other = (pool.sampler(6, "cpu", seed=seed, augment=True) for seed in (1, 1, 2))
    assert same(one.next(), two.next())
    assert not same(one.next(), other.next())


def test_state_survives_weights_only_loading(pool: Pool, tmp_path: Path) -> None:
    sampler = pool.sampler(5, "cpu", 0, True)
    sampler.next()
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    resumed = pool.sampler(5, "cpu", 9, True)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert same(sampler.next(), resumed.next())


def test_state_of_something_else_is_refused(pool: Pool) -> None:
    state = pool.sampler(5, "cpu", 0, True).state_dict()
    with pytest.raises(FairpruneError, match="other images or another batch size"):
        pool.sampler(6, "cpu", 0, True).load_state_dict(state)
    with pytest.raises(FairpruneError, match="other images or another batch size"):
        pool.images.pool(np.arange(10)).sampler(5, "cpu", 0, True).load_state_dict(state)
    with pytest.raises(FairpruneError, match="damaged"):
        pool.sampler(5, "cpu", 0, True).load_state_dict({"generator": 1})


def test_weights_are_the_chances(pool: Pool) -> None:
    weights = np.zeros(COUNT)
    weights[[2, 7, 23]] = [1, 2, 5]
    sampler = pool.sampler(2000, "cpu", 0, False, weights)
    counts = np.bincount(sampler.next().rows.numpy(), minlength=COUNT)[pool.rows]
    assert counts.sum() == 2000
    assert counts[weights == 0].sum() == 0
    assert np.abs(counts[[2, 7, 23]] / 2000 - np.array([1, 2, 5]) / 8).max() < 0.04


@pytest.mark.parametrize("weights", [[1.0], [-1.0] * COUNT, [0.0] * COUNT, [np.nan] * COUNT])
def test_impossible_weights(pool: Pool, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        pool.sampler(2, "cpu", 0, False, np.array(weights))


def test_nothing_to_draw(pool: Pool) -> None:
    with pytest.raises(FairpruneError, match="no images"):
        pool.images.pool(np.array([], dtype=np.int64)).sampler(2, "cpu", 0, False)


class Run:
    """A sampler of one kind over images in one place, and what happens between its batches.

    Args:
        kind: plain, weighted, even or adaptive; where: "memory", "resident" (on the device) or "uploaded" to it.
    """

    def __init__(self, kind: str, where: str, size: int, seed: int) -> None:
        self.where = where
        pool = made_up(COUNT, resident=where == "resident")
        self.hits = np.zeros(2)
        self.asked = 0
        with self.place():
            if kind in ("plain", "weighted"):
                weights = np.linspace(0, 1, COUNT) if kind == "weighted" else None
                self.sampler: EndlessBatches = pool.sampler(size, "cpu", seed, True, weights, channels_last=True)
            else:
                pull = self.pull if kind == "adaptive" else Strata.even
                self.sampler = StratifiedSampler(
                    pool, size, "cpu", seed, True, pull, adaptive=kind == "adaptive", channels_last=True
                )

    def place(self) -> contextlib.AbstractContextManager[None]:
        return as_accelerator() if self.where == "uploaded" else contextlib.nullcontext()

    def pull(self, strata: Strata) -> np.ndarray:
        """Follows from all batches so far, as multipliers do."""
        self.asked += 1
        return 1.0 + self.hits[strata.labels]

    def next(self) -> Batch:
        with self.place():
            batch = self.sampler.next()
        assert batch.known is not None
        self.hits += np.bincount(batch.known.labels, minlength=2) * [1.0, 0.5]
        return batch


KINDS = ["plain", "weighted", "even", "adaptive"]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    where=st.sampled_from(["resident", "uploaded"]),
    resumed_in=st.sampled_from(["memory", "resident", "uploaded"]),
    done=st.integers(0, 5),
    size=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_one_sequence_wherever_images_lie_and_wherever_it_is_taken_up(
    kind: str, where: str, resumed_in: str, done: int, size: int, seed: int
) -> None:
    expected, run = Run(kind, "memory", size, seed), Run(kind, where, size, seed)
    for _ in range(done):
        assert same(expected.next(), run.next())
    again = Run(kind, resumed_in, size, seed + 1)
    again.next()  # what it had begun is forgotten
    again.sampler.load_state_dict(run.sampler.state_dict())
    again.hits = run.hits.copy()
    state = run.sampler.state_dict()
    for _ in range(4):
        batch = expected.next()
        assert same(batch, run.next())
        assert same(batch, again.next())
    run.sampler.load_state_dict(state)  # back to where it stood
    run.hits, once_more = again.hits.copy(), Run(kind, "memory", size, seed)
    once_more.sampler.load_state_dict(state)
    once_more.hits = again.hits.copy()
    assert same(run.next(), once_more.next())


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_ahead_is_begun_unless_it_depends_on_the_one_before(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = Uploads.start
    monkeypatch.setattr(Uploads, "start", lambda self, rows: (started.append(rows), start(self, rows))[1])
    run = Run(kind, "uploaded", 5, 0)
    for count in (1, 2, 3):
        batch = run.next()
        assert len(started) == (count if kind == "adaptive" else count + 1)
        assert batch.rows.tolist() == started[count - 1].tolist()
        assert run.asked == (count if kind == "adaptive" else 0)


@pytest.mark.parametrize("where", ["memory", "resident", "uploaded"])
def test_a_share_of_the_images_with_what_is_known_of_all(where: str) -> None:
    whole, first, nothing = (Run("even", where, 7, 0) for _ in range(3))
    first.sampler.divide(lambda count: slice(2, count // 2 + 2))
    nothing.sampler.divide(lambda count: slice(0, 0))
    for _ in range(3):
        batch, part, none = whole.next(), first.next(), nothing.next()
        assert torch.equal(part.images, batch.images[2:5])
        assert none.images.shape == (0, *batch.images.shape[1:])
        for other in (part, none):
            assert same(batch, other._replace(images=batch.images))
