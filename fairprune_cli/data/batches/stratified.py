"""Batches whose strata (label x groups) have the shares that are wanted of them, and weights that make up for it.

A group that is rare gives a batch few images, and the fairness term of that batch is then mostly noise. A
stratified batch holds as many of each stratum as the term needs; an image's weight is its stratum's share of the
data over its share of the batch, so weighted means estimate the same quantities with less variance (importance
sampling). Shares proportional to the images' part in the Lagrangian make all terms of one size, where the variance
is least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fairprune_cli.data.batches.form import Device
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches, refuse_empty
from fairprune_cli.data.tables.partition import cells_of

# A stratum is drawn at most so many times as often as it occurs, or a handful of images would be learnt by heart.
MOST = 10.0
# Strata by the labels of all tasks together, where there are no more of them than this; else by those of the first.
MOST_JOINT = 64


@dataclass(frozen=True)
class Strata:
    """Combinations of label and groups that occur in a pool.

    Attributes:
        labels: int64 [C], or [C, T] of several tasks; groups: int64 [C, A], -1 for none; sizes: int64 [C]; of_image:
            int64 [n], the stratum of each position in the pool.
    """

    labels: np.ndarray
    groups: np.ndarray
    sizes: np.ndarray
    of_image: np.ndarray

    @classmethod
    def of(cls, pool: Pool) -> Strata:
        labels = pool.labels
        if labels.ndim > 1 and len(np.unique(cells_of([*labels.T, *pool.groups.T]))) > MOST_JOINT:
            labels = labels[:, 0]
        columns = [labels] if labels.ndim == 1 else list(labels.T)
        _, first, of_image, sizes = np.unique(
            cells_of([*columns, *pool.groups.T]), return_index=True, return_inverse=True, return_counts=True
        )
        return cls(labels[first], pool.groups[first], sizes, of_image)

    def cells(self, over: str) -> np.ndarray:
        """The group of each stratum, from 0, int64 [C]; -1 where its images are in no group of an attribute.

        Args:
            over: "groups" takes the combinations of groups, "label-groups" those of label and groups.
        """
        columns = [np.zeros(len(self.sizes), dtype=np.int64), *self.groups.T]
        if over == "label-groups":
            columns += [self.labels] if self.labels.ndim == 1 else [*self.labels.T]
        known = (self.groups >= 0).all(axis=1)
        result = np.full(len(self.sizes), -1)
        result[known] = np.unique(cells_of(columns)[known], return_inverse=True)[1]
        return result

    def balanced(self, over: str) -> np.ndarray:
        """Pull of each stratum under which its groups have the same share of a batch, [C]; over: as in `cells`.

        Images in no group keep their own share, and the labels theirs within a group, where they are not told apart.
        """
        cells = self.cells(over)
        known = cells >= 0
        images = np.bincount(cells[known], self.sizes[known])
        pull = np.ones(len(cells))
        pull[known] = self.sizes[known].sum() / (len(images) * images[cells[known]])
        return pull

    def even(self) -> np.ndarray:
        """Pull of each stratum under which all of them have the same share of a batch, [C]."""
        return self.sizes.sum() / (len(self.sizes) * self.sizes)


def shares(sizes: np.ndarray, pull: np.ndarray, most: float = MOST) -> np.ndarray:
    """Shares of a batch proportional to size x pull, none above `most` times the stratum's share of the data.

    Args:
        sizes: [C], above 0; pull: [C], above 0.

    Returns:
        [C], adding up to 1.
    """
    natural = sizes / sizes.sum()
    wanted = natural * pull
    capped = np.zeros(len(sizes), dtype=bool)
    result = natural
    for _ in range(len(sizes)):
        free = ~capped
        result = np.where(capped, most * natural, 0.0)
        result[free] = wanted[free] / wanted[free].sum() * (1.0 - result.sum())
        over = free & (result > most * natural * (1 + 1e-12))
        if not over.any():
            break
        capped |= over
    return result


class StratifiedSampler(EndlessBatches):
    """Endless stratified batches; within a stratum, shuffled passes in which each image comes once.

    Numbers per stratum are whole and equal the wanted shares in expectation (systematic rounding). Everything random
    comes from one generator, so the sequence depends on `seed` and on the wanted shares alone.

    Args:
        size: images per batch, at most the pool's.
        pull: asked before each batch; [C], how much more often than it occurs a stratum is wanted, up to a factor.
        adaptive: whether what `pull` gives may change while batches are drawn.
        most: as in `shares`.

    Raises:
        FairpruneError: an empty pool.
    """

    def __init__(
        self, pool: Pool, size: int, device: Device, seed: int, augment: bool, pull: Callable[[Strata], np.ndarray], *,
        adaptive: bool = True, most: float = MOST, channels_last: bool = False,
    ) -> None:  # fmt: skip
        refuse_empty(pool)
        self.pull, self.most = pull, most
        self._pool, self._device, self._channels_last = pool, device, channels_last
        self.strata = Strata.of(pool)
        sizes = self.strata.sizes
        self._members = np.split(np.argsort(self.strata.of_image, kind="stable"), np.cumsum(sizes)[:-1])
        super().__init__(
            pool, min(size, len(pool)), device, seed, augment,
            sizes=sizes.tolist(), ahead=not adaptive, channels_last=channels_last,
        )  # fmt: skip

    def as_wanted_now(self, seed: int) -> StratifiedSampler | None:
        """Batches of images as they are whose shares stay what is wanted now; None where those are the data's own."""
        pull = self.pull(self.strata)
        if np.allclose(shares(self.strata.sizes, pull, self.most) * self.strata.sizes.sum(), self.strata.sizes):
            return None
        return StratifiedSampler(
            self._pool, self.size, self._device, seed, False, lambda _: pull,
            adaptive=False, most=self.most, channels_last=self._channels_last,
        )  # fmt: skip

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        wanted = shares(self.strata.sizes, self.pull(self.strata), self.most)
        counts = self._whole_numbers(wanted)
        positions = np.concatenate([self._take(int(c), int(counts[c])) for c in np.flatnonzero(counts)])
        natural = self.strata.sizes / self.strata.sizes.sum()
        weights = np.repeat(natural / np.maximum(wanted, 1e-12), counts)
        return positions, weights.astype(np.float32)

    def _whole_numbers(self, wanted: np.ndarray) -> np.ndarray:
        """Whole numbers that add up to the batch and are size x share in expectation."""
        edges = np.concatenate([[0.0], np.cumsum(wanted)]) * self.size
        edges[-1] = self.size
        offset = torch.rand(1, generator=self._generator).numpy().item()
        return np.diff(np.floor(edges + offset).astype(np.int64))

    def _take(self, stratum: int, count: int) -> np.ndarray:
        parts = []
        while count:
            if not self._shuffles.left(stratum):
                self._shuffles.begin(stratum, self._generator)
            parts.append(self._members[stratum][self._shuffles.take(stratum, count)])
            count -= len(parts[-1])
        return np.concatenate(parts)
