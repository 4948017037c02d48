"""Figures of the steps, read from their device late and in one piece.

Whoever reads a number from a GPU waits until it has caught up, and then it waits for the host. So loss, norm and
logits of some steps stay where they are until there are enough of them, are copied together, and are looked at when
the next ones set out. On the CPU they are there at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import Arriving, on_host
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.training.diverged import SCORES, Diverged, NotFinite, refuse_not_finite, refusing_divergence
from fairprune_cli.training.records import Means, answers

READ_EVERY = 10  # steps between two reads from an accelerator


@dataclass
class _Note:
    """Figures that came up in a step: where they are now, and on the host once they are there."""

    step: int
    kind: str
    tensors: list[Tensor]
    known: Known | None = None
    values: list[np.ndarray] = field(default_factory=list)


class Readings:
    """Carries figures from the steps of a run to the sums of its epoch.

    Args:
        steps: of the whole run, for messages.
        clip_norm: above which a gradient counts as clipped.
        columns: where each task's scores are in the logits; () where these are one task's and nothing else.
    """

    def __init__(self, steps: int, clip_norm: float, columns: Sequence[slice] = ()) -> None:
        self.steps, self.clip_norm, self.columns = steps, clip_norm, columns
        self._noted: list[_Note] = []
        self._sent: list[tuple[Arriving | None, list[_Note]]] = []
        self._last = 0  # step at which figures last set out

    def lower(self, step: int, figures: Tensor, logits: Tensor, known: Known) -> None:
        """Note a weight step, counted from 1: [3] loss, objective and gradient's norm; logits [B, K]."""
        self._noted.append(_Note(step, "lower", [figures, logits.detach()], known))

    def upper(self, step: int, logits: Tensor, known: Known) -> None:
        """Note an upper batch: logits [B, K]."""
        self._noted.append(_Note(step, "upper", [logits.detach()], known))

    def move(self, step: int, extremes: Tensor, returned: Tensor) -> None:
        """Note a move of the mask: [2] the least and the largest score, and the share of the kept that returned."""
        self._noted.append(_Note(step, "move", [extremes, returned]))

    def take(self, means: Means, step: int) -> None:
        """Add to `means` what is due after a step: on the CPU what is noted, else what set out ten steps ago.

        Raises:
            Diverged: as `settle`.
        """
        if not self._noted:
            return
        if on_host(self._noted[0].tensors[0]):
            self.settle(means)
        elif step - self._last >= READ_EVERY:
            self._last = step
            self._add(means)
            self._send()

    def settle(self, means: Means) -> None:
        """Add to `means` everything that is noted, and wait for it.

        Raises:
            Diverged: a figure is not finite; names the first step in which it was so.
        """
        self._send()
        self._add(means)

    @contextmanager
    def before(self, means: Means, step: int) -> Iterator[None]:
        """A block in a step, counted from 1, that may fail for what was not finite; where it was so first is told."""
        try:
            with refusing_divergence(step, self.steps):
                yield
        except Diverged:
            self.settle(means)
            raise

    def _send(self) -> None:
        notes, self._noted = self._noted, []
        if not notes:
            return
        if on_host(notes[0].tensors[0]):
            for note in notes:
                note.values = [tensor.numpy() for tensor in note.tensors]
            self._sent.append((None, notes))
        else:
            line = torch.cat([tensor.reshape(-1) for note in notes for tensor in note.tensors])
            self._sent.append((Arriving(line), notes))

    def _add(self, means: Means) -> None:
        sent, self._sent = self._sent, []
        for arriving, notes in sent:
            if arriving is not None:
                _divide(arriving.numpy(), notes)
            for note in notes:
                with refusing_divergence(note.step, self.steps):
                    self._add_one(note, means)

    def _add_one(self, note: _Note, means: Means) -> None:
        if note.kind == "move":
            extremes, returned = note.values
            if not np.isfinite(extremes).all():
                raise NotFinite(SCORES)
            means.add_move(float(returned))
            return
        assert note.known is not None
        right, seen = answers(note.values[-1], note.known, self.columns)
        if note.kind == "upper":
            means.add_upper(right, seen, len(note.known.labels))
            return
        loss, objective, norm = note.values[0].tolist()
        refuse_not_finite(loss, objective, norm)
        means.add_lower(loss, norm, norm > self.clip_norm, right, seen, len(note.known.labels))


def _divide(line: np.ndarray, notes: list[_Note]) -> None:
    """Give each note its part of what arrived, in the order in which it was sent."""
    at = 0
    for note in notes:
        for tensor in note.tensors:
            note.values.append(line[at : at + tensor.numel()].reshape(tensor.shape))
            at += tensor.numel()
