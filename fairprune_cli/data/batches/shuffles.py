"""Shuffled passes whose position is saved in a few bytes, however many images a pass has."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from fairprune_cli.core.errors import FairpruneError

STATE_BYTES = torch.Generator().get_state().numel()


def checksum(values: np.ndarray, start: int = 0) -> int:
    """CRC-32 of an array's bytes, 0..2^32-1; `start` is that of what comes before."""
    return zlib.crc32(np.ascontiguousarray(values).data, start)


class Shuffles:
    """Shuffled passes over 0..n-1 for each of several n; the caller says when one begins.

    The order of a pass follows from the generator's state at its beginning. That state (5 kB) is what is saved, with a
    checksum of the order, unless the order itself is smaller; so a saved position does not grow with the images.

    Args:
        sizes: n of each, at least 1.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = [int(size) for size in sizes]
        self._orders = [np.empty(0, dtype=np.int64) for _ in self.sizes]
        self._origins: dict[int, torch.Tensor] = {}  # generator states, of those that are larger than such a state
        self._positions = np.zeros(len(self.sizes), dtype=np.int64)

    def copy(self) -> Shuffles:
        """One that stands where this one stands, and stays there."""
        other = Shuffles(self.sizes)
        other._orders, other._origins, other._positions = [*self._orders], {**self._origins}, self._positions.copy()
        return other

    def begin(self, which: int, generator: torch.Generator) -> None:
        """Shuffle anew: the next number is the first of a pass."""
        if self._long(which):
            self._origins[which] = generator.get_state()
        self._orders[which] = torch.randperm(self.sizes[which], generator=generator).numpy()
        self._positions[which] = 0

    def left(self, which: int) -> int:
        """Numbers until the pass is over; 0 before the first one."""
        return len(self._orders[which]) - int(self._positions[which])

    def take(self, which: int, count: int) -> np.ndarray:
        """The next numbers of the pass, int64; `count` of them, or those that are left."""
        position = int(self._positions[which])
        taken = self._orders[which][position : position + count]
        self._positions[which] = position + len(taken)
        return taken

    def _long(self, which: int) -> bool:
        return 8 * self.sizes[which] > STATE_BYTES

    def state_dict(self) -> dict[str, Any]:
        """Where every pass stands: tensors, at most 5 kB for each of them."""
        begun = np.array([len(order) > 0 for order in self._orders])
        short = [order for c, order in enumerate(self._orders) if not self._long(c)]
        origins = [origin for _, origin in sorted(self._origins.items())]
        sums = [checksum(self._orders[c]) for c in sorted(self._origins)]
        return {
            "begun": torch.from_numpy(begun), "positions": torch.from_numpy(self._positions.copy()),
            "orders": torch.from_numpy(np.concatenate([np.empty(0, dtype=np.int64), *short])),
            "origins": torch.stack(origins) if origins else torch.empty(0, STATE_BYTES, dtype=torch.uint8),
            "sums": torch.tensor(sums, dtype=torch.int64),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where the one that gave `state` stood; nothing is changed if that cannot be.

        Raises:
            KeyError, TypeError, AttributeError, RuntimeError, ValueError: it does not belong to passes of these sizes.
        """
        begun, positions = state["begun"].tolist(), state["positions"].numpy().copy()
        if not len(begun) == len(positions) == len(self.sizes):
            raise ValueError(f"it has {len(begun)} passes, not {len(self.sizes)}")
        long = [c for c, is_begun in enumerate(begun) if is_begun and self._long(c)]
        short = [c for c, is_begun in enumerate(begun) if is_begun and not self._long(c)]
        orders = [np.empty(0, dtype=np.int64) for _ in self.sizes]
        saved, ends = state["orders"].numpy(), np.cumsum([self.sizes[c] for c in short], dtype=np.int64)
        if len(saved) != (ends[-1] if short else 0):
            raise ValueError("its orders have other lengths")
        for c, end in zip(short, ends.tolist(), strict=True):
            orders[c] = saved[end - self.sizes[c] : end].copy()
        generator = torch.Generator()
        for c, origin, expected in zip(long, state["origins"], state["sums"].tolist(), strict=True):
            generator.set_state(origin.clone())  # torch 2.14 crashes over a row of a larger tensor
            orders[c] = torch.randperm(self.sizes[c], generator=generator).numpy()
            if checksum(orders[c]) != expected:
                raise ValueError("this version of torch shuffles otherwise than the one that saved it")
        if any(not 0 <= position <= len(order) for position, order in zip(positions, orders, strict=True)):
            raise ValueError("it stands outside of a pass")
        self._orders, self._positions = orders, positions
        self._origins = {c: origin.clone() for c, origin in zip(long, state["origins"], strict=True)}


@contextmanager
def restoring(state: Mapping[str, Any], size: int, pool: int) -> Iterator[None]:
    """A block that takes up a sampler's saved position.

    Args:
        size: images per batch; pool: checksum of what is drawn from; both as the state should have them.

    Raises:
        FairpruneError: it belongs to other images, another batch size, or is damaged.
    """
    try:
        if (state["size"], state["pool"]) != (size, pool):
            raise FairpruneError(
                "the saved position belongs to other images or another batch size",
                hint="resume with the data and settings of the interrupted run",
            )
        yield
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise FairpruneError(f"the saved position is damaged: {error}") from error
