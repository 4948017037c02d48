"""Endless batches in an order that follows from a seed, each begun ahead where its images take their time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.batch import Batch
from fairprune_cli.data.batches.form import BatchPlan, Begun, Chosen, Device, Former
from fairprune_cli.data.batches.pixels import Augmentation
from fairprune_cli.data.batches.shuffles import Shuffles, checksum, restoring


class _Ahead(NamedTuple):
    """A batch that was begun before it was asked for, and where the sampler stood before that."""

    batch: Begun
    generator: Tensor
    shuffles: Shuffles


class EndlessBatches(ABC):
    """What all samplers have in common.

    All that is random comes from one generator, and `state_dict` tells where it and the shuffles stand: a restored
    sampler continues the sequence exactly, whether or not a batch was begun ahead.

    Args:
        size: images per batch; sizes: of the parts of the pool that are shuffled; ahead: whether the next batch does
            not depend on what happens after the one before; the others as in `Sampler`.

    Raises:
        FairpruneError: an empty pool.
        ValueError: size below 1.
    """

    def __init__(
        self, pool: Chosen, size: int, device: Device, seed: int, augment: bool, *,
        sizes: Sequence[int], ahead: bool, channels_last: bool,
    ) -> None:  # fmt: skip
        if size < 1:
            raise ValueError("a batch has at least one image")
        self.pool = pool
        self.size = size
        self.augment = augment
        self._form = Former(pool, torch.device(device), channels_last)
        self._generator = torch.Generator().manual_seed(seed)
        self._shuffles = Shuffles(sizes)
        self._may_look_ahead = ahead
        self._ahead: _Ahead | None = None

    @abstractmethod
    def _draw(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The next batch: positions in the pool (int64 [B]), and what each stands for (float32 [B]; None: 1 each)."""

    @property
    def _identity(self) -> int:
        """A checksum of what is drawn from."""
        return self.pool.identity

    def next(self) -> Batch:
        begun = self._form.begin(self._plan()) if self._ahead is None else self._ahead.batch
        self._ahead = None
        if self._may_look_ahead and self._form.uploads:
            stood = self._generator.get_state(), self._shuffles.copy()
            self._ahead = _Ahead(self._form.begin(self._plan()), *stood)
        return self._form.finish(begun)

    def divide(self, share: Callable[[int], slice]) -> None:
        """Form only the images of `share(batch size)`; labels, groups, rows and weights stay those of all."""
        self._form.share = share

    def _plan(self) -> BatchPlan:
        positions, weights = self._draw()
        change = None
        if self.augment:
            change = Augmentation.draw(len(positions), self.pool.images.transform.shape, self._generator)
        return BatchPlan(positions, change, weights)

    def state_dict(self) -> dict[str, Any]:
        """All that decides the coming batches: tensors and plain numbers, safe for weights-only loading."""
        ahead = self._ahead
        return {
            "generator": self._generator.get_state() if ahead is None else ahead.generator,
            "shuffles": (self._shuffles if ahead is None else ahead.shuffles).state_dict(),
            "size": self.size,
            "pool": self._identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the sampler that gave `state` stood.

        Raises:
            FairpruneError: the state belongs to other images, another batch size, or is damaged.
        """
        with restoring(state, self.size, self._identity):
            generator = torch.Generator()
            generator.set_state(state["generator"])
            self._shuffles.load_state_dict(state["shuffles"])
            self._generator, self._ahead = generator, None


def refuse_empty(pool: Chosen) -> None:
    """Raises FairpruneError where there is no image to draw."""
    if not len(pool):
        raise FairpruneError("there are no images to draw from", hint="see `fairprune data stats`")


class Sampler(EndlessBatches):
    """Endless batches from a pool.

    Without weights: shuffled passes, each image once a pass; what does not fill a batch at the end of a pass
    is left out, unless the pool is smaller than a batch. With weights: independent draws with replacement, an
    image's chance proportional to its weight. Order and augmentation come from one generator, so the
    sequence depends on `seed` alone.

    Args:
        size: images per batch.
        seed: of the sampler's own generator.
        augment: random flips and shifts.
        weights: float [n], at least 0, in the order of the pool.

    Raises:
        FairpruneError: an empty pool.
        ValueError: weights of a wrong shape, negative, not finite or all zero; size below 1.
    """

    def __init__(
        self,
        pool: Chosen,
        size: int,
        device: Device,
        seed: int,
        augment: bool,
        weights: np.ndarray | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        refuse_empty(pool)
        self._edges = None if weights is None else _cumulative(weights, len(pool))
        super().__init__(
            pool, size if weights is not None else min(size, len(pool)), device, seed, augment,
            sizes=[len(pool)], ahead=True, channels_last=channels_last,
        )  # fmt: skip

    @property
    def batches_per_pass(self) -> int:
        """Batches in which about every image is seen once."""
        return max(1, len(self.pool) // self.size)

    def _draw(self) -> tuple[np.ndarray, None]:
        if self._edges is not None:
            at = torch.rand(self.size, generator=self._generator, dtype=torch.float64).numpy() * self._edges[-1]
            # The edge right of the point; the last one with any weight, should rounding reach the end.
            last = np.searchsorted(self._edges, self._edges[-1])
            return np.minimum(np.searchsorted(self._edges, at, side="right"), last), None
        if self._shuffles.left(0) < self.size:
            self._shuffles.begin(0, self._generator)
        return self._shuffles.take(0, self.size), None

    @cached_property
    def _identity(self) -> int:
        return self.pool.identity if self._edges is None else checksum(self._edges, self.pool.identity)


def _cumulative(weights: np.ndarray, count: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (count,):
        raise ValueError(f"expected {count} weights, found shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise ValueError("weights must be finite, at least 0 and not all 0")
    return np.cumsum(weights)
