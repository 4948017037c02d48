"""Logits of the audited models: computed in pieces where memory is short, and brought to the host without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.core.transfer import Arriving, on_host
from fairprune_cli.data.batches.batch import Known, known_of
from fairprune_cli.models.read_out import scores_of_first

AT_ONCE = 64 * 2**20  # bytes of logits that are brought from an accelerator in one piece


class LabelledBatch(Protocol):
    """images [B, C, H, W] float32; labels [B] int64, of several tasks [B, T]; groups [B, A] int64, -1 where in none."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def groups(self) -> Tensor: ...


class ImagePool(Protocol):
    """Anything that yields all of its images once, in batches on the device."""

    def __len__(self) -> int: ...
    def batches(self, size: int, device: Any) -> Iterable[LabelledBatch]: ...


class Seen(NamedTuple):
    """Images that the models have seen, on the host; from an accelerator many batches come together."""

    labels: Tensor  # int64 [B], or [B, T] of several tasks
    groups: Tensor  # int64 [B, A], -1 = in no group
    rows: Tensor | None  # int64 [B], position in the manifest, where the batches had it


class InPieces:
    """Logits of a batch, from a model in eval mode, in which images do not see each other: any division will do.

    Args:
        classes: how many each task has; the tasks are the models' first ones.
        say: told when memory ran out and what is done about it.
    """

    def __init__(self, classes: Sequence[int], say: Callable[[str], None]) -> None:
        self.tasks, self.classes, self.say = len(classes), sum(classes), say
        self.pieces = 1

    def __call__(self, name: str, model: nn.Module, images: Tensor) -> Tensor:
        """[B, classes of all tasks]; name: the model's, for errors.

        Raises:
            FairpruneError: outputs that do not fit the classes (exit code 2); no room for a single image (3).
        """
        while True:
            try:
                if self.pieces == 1:
                    return self._checked(name, model, model(images))
                parts = images.tensor_split(min(self.pieces, len(images)))
                return torch.cat([self._checked(name, model, model(part)) for part in parts])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.pieces >= len(images):
                    raise FairpruneError(
                        "out of memory, even with one image at a time",
                        hint="close other programs, or use another --device", code=ExitCode.RUNTIME,
                    ) from error  # fmt: skip
            self.pieces *= 2
            self.say(f"out of memory: batches of {len(images)} are now audited in {self.pieces} pieces")
            if images.is_cuda:
                torch.cuda.empty_cache()

    def _checked(self, name: str, model: nn.Module, logits: object) -> Tensor:
        if isinstance(logits, torch.Tensor) and logits.ndim == 2:
            logits = scores_of_first(model, logits, self.tasks)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
            raise FairpruneError("the model does not return a table of logits, images x classes", where=name)
        if logits.shape[1] != self.classes:
            raise FairpruneError(
                f"the model tells {logits.shape[1]} classes apart, the data has {self.classes}",
                where=name,
                hint="use the manifest the model was trained with, or list its classes under `classes`",
            )
        return logits


class ToHost:
    """Hands logits on where they can be looked at without waiting for an accelerator, and then in large pieces.

    A piece is looked at when the next one is sent, or at the end. On the CPU each batch is one.

    Args:
        use: called with every piece and the logits [B, K] of each model on it.
    """

    def __init__(self, use: Callable[[Seen, Mapping[str, Tensor]], None]) -> None:
        self.use = use
        self._held: list[tuple[Known, Tensor | None, Mapping[str, Tensor]]] = []
        self._bytes = 0
        self._coming: _Piece | None = None

    def add(self, batch: LabelledBatch, logits: Mapping[str, Tensor]) -> None:
        """Take the logits of every model on a batch; nobody may write to them afterwards."""
        rows: Tensor | None = getattr(batch, "rows", None)
        if all(on_host(table) for table in logits.values()):
            self.use(Seen(batch.labels, batch.groups, rows), logits)
            return
        self._held.append((known_of(batch), rows, logits))
        self._bytes += sum(table.nbytes for table in logits.values())
        if self._bytes >= AT_ONCE:
            self._send()

    def finish(self) -> None:
        """Hand on what is left."""
        if self._held:
            self._send()
        self._look()

    def _send(self) -> None:
        piece = _Piece(self._held)
        self._look()
        self._held, self._bytes, self._coming = [], 0, piece

    def _look(self) -> None:
        if self._coming is not None:
            self.use(*self._coming.here())
            self._coming = None


class _Piece:
    """Several batches on their way."""

    def __init__(self, batches: Sequence[tuple[Known, Tensor | None, Mapping[str, Tensor]]]) -> None:
        self.known = [known for known, _, _ in batches]
        self.models = list(batches[0][2])
        rows = [rows for _, rows, _ in batches if rows is not None]
        self.rows = Arriving(torch.cat(rows)) if rows else None
        self.logits = Arriving(torch.cat([logits[name] for name in self.models for _, _, logits in batches]))

    def here(self) -> tuple[Seen, dict[str, Tensor]]:
        """What has arrived; waits where it has not."""
        labels = torch.from_numpy(np.concatenate([known.labels for known in self.known]))
        groups = torch.from_numpy(np.concatenate([known.groups for known in self.known]))
        rows = None if self.rows is None else torch.from_numpy(self.rows.numpy())
        tables = torch.from_numpy(self.logits.numpy()).split(len(labels))
        return Seen(labels, groups, rows), dict(zip(self.models, tables, strict=True))
