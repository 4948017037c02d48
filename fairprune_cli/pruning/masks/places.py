"""Where channels sit in tensors, as tables, so that all of them are summed or closed by one operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host, sent
from fairprune_cli.pruning.channels import Slot


class Places:
    """The places of U channels among the rows (indices of the first dimension) of some tensors.

    Args:
        slots: for each space, its places in the tensors; first dimension.
        tensors: whose rows are counted one tensor after the other, by name.
        sizes: channels of each space, U in all.

    Attributes:
        entries: [U], how many entries the rows of each channel have.
        owners: int32 [k, entries of all tensors as they lie in memory]: the channels that each belongs to; U for none.
    """

    def __init__(
        self, slots: Sequence[Sequence[Slot]], tensors: Mapping[str, Tensor], sizes: Sequence[int]
    ) -> None:  # fmt: skip
        some = next(iter(tensors.values()))
        self._heights = [len(tensor) for tensor in tensors.values()]
        self._widths = [tensor[0].numel() for tensor in tensors.values()]
        starts = dict(zip(tensors, np.cumsum([0, *self._heights[:-1]]), strict=True))
        total, units = sum(self._heights), sum(sizes)
        rows, channels, first = [], [], 0
        for space, size in zip(slots, sizes, strict=True):
            for slot in space:
                channel = slot.channel.cpu().numpy()
                inside = np.flatnonzero(channel >= 0)
                rows.append(starts[slot.tensor] + inside)
                channels.append(first + channel[inside])
            first += size
        row, channel = np.concatenate(rows), np.concatenate(channels)
        table = _padded(channel, row, units, total)
        widths = np.repeat(self._widths, self._heights)
        self._table = sent(table, some.device)
        self.entries = sent(np.append(widths, 0)[table].sum(0).astype(np.float32), some.device).to(some.dtype)
        owners = np.repeat(_padded(row, channel, total, units), widths, axis=1).astype(np.int32)
        self.owners = [sent(np.ascontiguousarray(one), some.device) for one in owners]
        self._none = some.detach().new_zeros(1)

    def by_row(self, flat: Tensor) -> Tensor:
        """Sums over each row, [rows], of numbers for all entries as they lie in memory."""
        if max(self._widths) == 1:
            return flat
        sizes = [height * width for height, width in zip(self._heights, self._widths, strict=True)]
        lines = flat.split(sizes)
        return torch.cat([
            one if width == 1 else one.view(-1, width).sum(1) for one, width in zip(lines, self._widths, strict=True)
        ])  # fmt: skip

    def by_channel(self, rows: Tensor) -> Tensor:
        """Sums over the rows of each channel, [U], of numbers for all rows."""
        if on_host(rows):
            sums: np.ndarray = np.append(rows.numpy(), rows.numpy().dtype.type(0))[self._table.numpy()].sum(0)
            return torch.from_numpy(sums)
        chosen = torch.cat([rows, self._none]).index_select(0, self._table.view(-1))
        return chosen.view(self._table.shape).sum(0)


def rows_of(slot: Slot) -> Tensor:
    """Indices of a slot, channel by channel."""
    inside = torch.nonzero(slot.channel >= 0)[:, 0]
    return inside[torch.argsort(slot.channel[inside], stable=True)]


def _padded(keys: np.ndarray, values: np.ndarray, count: int, nothing: int) -> np.ndarray:
    """int64 [n, count]: the values of each key 0..count-1, in their order, and `nothing` below them."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    rank = np.arange(len(keys)) - np.searchsorted(keys, keys)
    table = np.full((rank.max(initial=0) + 1, count), nothing, dtype=np.int64)
    table[rank, keys] = values
    return table
