"""One pass over the images for all models, into counts per group x label x prediction.

Memory does not grow with the number of images: a batch is counted and forgotten. An `AuditResult` (result.py)
holds counts only, and every figure of the report derives from them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fairprune_cli.audit import calibration
from fairprune_cli.audit.calibration import Calibration
from fairprune_cli.audit.rates import Counts
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models.inference import evaluating

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from fairprune_cli.core.distributed import Ranks

DENSE = "dense"


class LabelledBatch(Protocol):
    """images [B, 3, S, S] float32; labels [B] int64; groups [B, A] int64, -1 where in no group."""

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


class NamedGroups(Protocol):
    """An attribute and the names of its groups, in the order of the indices in `groups`."""

    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...


def audit_models(
    models: Mapping[str, nn.Module],
    pool: ImagePool,
    groupings: Sequence[NamedGroups],
    classes: Sequence[str],
    device: torch.device | str = "cpu",
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[LabelledBatch, Mapping[str, Tensor]], None] | None = None,
    ranks: Ranks | None = None,
) -> AuditResult:
    """Count what every model predicts, all of them on the same batches.

    Args:
        models: by name; one called "dense" is what the others are paired with. They are moved to `device`,
            run in eval mode and get back the mode of each of their modules.
        pool: the images; column j of a batch's groups belongs to `groupings[j]`.
        classes: names of the models' outputs.
        progress: called with (images done, images in all) after each batch.
        watch: called with every batch and the models' logits on it.
        ranks: several processes with the same models and images, all of which call this: they take turns at the
            batches, which are the same as in one process, and all have the whole result. `pool` is then a `Pool`.

    Raises:
        FairpruneError: no images, or outputs that do not fit the classes (exit code 2); logits that are not
            finite (exit code 3, all models at fault in one message).
    """
    import torch

    if len(pool) == 0:
        raise FairpruneError("there is no image to audit", hint="choose a split that has images, or another manifest")
    tally = _Tally(list(models), [len(grouping.groups) for grouping in groupings], len(classes), device)
    batches: Any = pool.batches
    at_once = 1
    if ranks is not None and ranks.several:
        batches = functools.partial(batches, turn=(ranks.number, ranks.count))
        at_once = ranks.count
    done = 0
    for model in models.values():
        model.to(device)  # outside inference mode, or the weights could not be trained any more
    together = contextlib.nullcontext() if ranks is None else ranks.together()
    with together, evaluating(*models.values()), torch.inference_mode():
        for batch in batches(batch_size, device):
            tally.start(batch)
            logits = {name: _checked(name, model(batch.images), len(classes)) for name, model in models.items()}
            for name, table in logits.items():
                tally.add(name, table)
            if watch is not None:
                watch(batch, logits)
            done = min(done + at_once * len(batch.labels), len(pool))
            if progress is not None:
                progress(done, len(pool))
    if ranks is not None:
        ranks.add_counts(tally.tables())
    return tally.result(tuple(classes), {grouping.name: tuple(grouping.groups) for grouping in groupings})


def _checked(name: str, logits: object, classes: int) -> Tensor:
    import torch

    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise FairpruneError("the model does not return a table of logits, images x classes", where=name)
    if logits.shape[1] != classes:
        raise FairpruneError(
            f"the model tells {logits.shape[1]} classes apart, the data has {classes}",
            where=name,
            hint="use the manifest the model was trained with, or list its classes under `classes`",
        )
    return logits


class _Tally:
    """Running counts on the device; nothing is brought back before the end, so the device never waits.

    Each table has one more group than there are, which takes the images that are in none.
    """

    def __init__(self, models: list[str], sizes: list[int], classes: int, device: torch.device | str) -> None:
        import torch

        def zeros(length: int) -> Tensor:
            return torch.zeros(length, dtype=torch.int64, device=device)

        self.classes, self.sizes, self.models = classes, sizes, models
        self.paired = [name for name in models if name != DENSE] if DENSE in models else []
        # The first table of each list holds all images in one group, the others one attribute each.
        widths = [1, *sizes]
        self.counts = {m: [zeros((width + 1) * classes**2) for width in widths] for m in models}
        self.pairs = {m: [zeros((width + 1) * 4) for width in widths] for m in self.paired}
        self.sureness = {m: calibration.Sums([width + 1 for width in widths], device) for m in models}
        self.broken = {m: zeros(1) for m in models}

    def tables(self) -> list[Tensor]:
        """All that is counted, int64."""
        counted = [*self.counts.values(), *self.pairs.values(), *(sums.tables for sums in self.sureness.values())]
        return [*(table for tables in counted for table in tables), *self.broken.values()]

    def start(self, batch: LabelledBatch) -> None:
        import torch

        if batch.groups.shape[1] != len(self.sizes):
            raise ValueError(f"{batch.groups.shape[1]} columns of groups for {len(self.sizes)} attributes")
        self.labels = batch.labels
        self.ones = torch.ones_like(batch.labels)
        self.groups = [torch.zeros_like(batch.labels)]
        for column, size in zip(batch.groups.unbind(1), self.sizes, strict=True):
            self.groups.append(torch.where(column < 0, size, column))
        self.dense_right: Tensor | None = None
        self.waiting: list[tuple[str, Tensor]] = []

    def add(self, name: str, logits: Tensor) -> None:
        self.broken[name] += (~logits.isfinite()).any(1).sum()
        predictions = logits.argmax(1)
        cell = self.labels * self.classes + predictions
        for table, group in zip(self.counts[name], self.groups, strict=True):
            table.scatter_add_(0, group * self.classes**2 + cell, self.ones)
        right = (predictions == self.labels).long()
        self.sureness[name].add(logits, right, self.groups)
        if not self.paired:
            return
        # The dense model need not come first.
        if name == DENSE:
            self.dense_right = right
        else:
            self.waiting.append((name, right))
        if self.dense_right is not None:
            for other, its_right in self.waiting:
                for table, group in zip(self.pairs[other], self.groups, strict=True):
                    table.scatter_add_(0, group * 4 + self.dense_right * 2 + its_right, self.ones)
            self.waiting.clear()

    def result(self, classes: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> AuditResult:
        broken = {name: int(count) for name, count in self.broken.items() if int(count)}
        if broken:
            images = ", ".join(f"{name} for {count} images" for name, count in broken.items())
            raise FairpruneError(
                f"logits are not finite: {images}",
                hint="the weights hold NaN or infinity, or the model diverged; figures would mean nothing",
                code=ExitCode.RUNTIME,
            )

        def arrays(tables: list[Tensor], *cell: int) -> list[Counts]:
            return [table.cpu().numpy().reshape(-1, *cell) for table in tables]

        k = len(classes)
        counts = {m: arrays(tables, k, k) for m, tables in self.counts.items()}
        pairs = {m: arrays(tables, 2, 2) for m, tables in self.pairs.items()}
        first = counts[self.models[0]]
        return AuditResult(
            classes,
            groups,
            overall={m: tables[0][0] for m, tables in counts.items()},
            by_group={m: {name: t[:-1] for name, t in zip(groups, ts[1:], strict=True)} for m, ts in counts.items()},
            overall_pairs={m: tables[0][0] for m, tables in pairs.items()},
            pairs={m: {name: t[:-1] for name, t in zip(groups, ts[1:], strict=True)} for m, ts in pairs.items()},
            ungrouped={name: int(t[-1].sum()) for name, t in zip(groups, first[1:], strict=True)},
            sureness={m: self._sureness(m, list(groups)) for m in self.models},
        )

    def _sureness(self, model: str, attributes: list[str]) -> dict[str, Calibration]:
        """Sums by attribute without the images that are in no group; under "" those of all images."""
        found = {}
        for name, sums in zip(["", *attributes], self.sureness[model].result(), strict=True):
            found[name] = Calibration(sums.n[:-1], sums.right[:-1], sums.confidence[:-1], sums.squares[:-1])
        return found
