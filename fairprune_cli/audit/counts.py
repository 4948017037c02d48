"""One pass over the images for all models, into counts per group x label x prediction.

Memory does not grow with the number of images: a batch, or from an accelerator a piece of many, is counted on the host
and forgotten. An `AuditResult` (result.py) holds counts only, and every figure of the report derives from them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.audit import calibration
from fairprune_cli.audit.group_counts import GroupCounts
from fairprune_cli.audit.logits import ImagePool, InPieces, Seen, ToHost
from fairprune_cli.audit.points_in_use import PointsInUse, predictions
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.device import tf32
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import shift_of, without_shift

Watch = Callable[[Seen, Mapping[str, Tensor]], None]


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
    watch: Watch | None = None,
    ranks: Ranks | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AuditResult:
    """`audit_tasks` of one task, the models' first: `classes` and `watch` are those of it, labels are [B]."""
    return audit_tasks(
        models, pool, groupings, [classes], device, batch_size, progress, None if watch is None else [watch], ranks, say
    )[0]


def audit_tasks(
    models: Mapping[str, nn.Module],
    pool: ImagePool,
    groupings: Sequence[NamedGroups],
    classes: Sequence[Sequence[str]],
    device: torch.device | str = "cpu",
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
    watches: Sequence[Watch] | None = None,
    ranks: Ranks | None = None, say: Callable[[str], None] = lambda _: None,
    points: Sequence[Mapping[str, PointsInUse]] | None = None,
) -> list[AuditResult]:  # fmt: skip
    """Count what every model predicts, all of them on the same batches, in float32 throughout; a result for each task.

    Args:
        models: by name; one called "dense" is what the others are paired with. They are moved to `device`,
            run in eval mode and get back the mode of each of their modules.
        pool: the images; column j of a batch's groups belongs to `groupings[j]`.
        classes: of each task, names in the order of its scores; the tasks are the models' first ones.
        progress: called with (images done, images in all) after each batch.
        watches: of each task, called with all images, some at a time, and the models' scores of the task, on the host.
        ranks: several processes with the same models and images, all of which call this: they take turns at the
            batches, which are the same as in one process, and all have the whole result. `pool` is then a `Pool`.
        say: told when memory ran out and what is done about it.
        points: of each task, by model, thresholds of groups that predictions are made with; batches then have `rows`.

    Raises:
        FairpruneError: no images, or outputs that do not fit the classes (exit code 2); logits that are not
            finite (exit code 3, all models at fault in one message), or too little memory for one image (3).
    """
    if len(pool) == 0:
        raise FairpruneError("there is no image to audit", hint="choose a split that has images, or another manifest")
    device = torch.device(device)
    sizes, widths = [len(grouping.groups) for grouping in groupings], [len(names) for names in classes]
    used = points or [{}] * len(widths)
    tallies = [_Scores(models, task, sizes, width, used[task]) for task, width in enumerate(widths)]
    batches, at_once = _turns(pool, ranks)
    done = 0
    for model in models.values():
        model.to(device)  # outside inference mode, or the weights could not be trained any more

    def look(images: Seen, logits: Mapping[str, Tensor]) -> None:
        for task, (part, scores) in enumerate(_by_task(images, logits, widths)):
            tallies[task].add_scores(part, scores)
            if watches is not None:
                watches[task](part, scores)

    logits_of, arrivals = InPieces(widths, say), ToHost(look)
    together = contextlib.nullcontext() if ranks is None else ranks.together()
    with together, tf32(device, False), evaluating(*models.values()), torch.inference_mode():
        for batch in batches(batch_size, device):
            arrivals.add(batch, {name: logits_of(name, model, batch.images) for name, model in models.items()})
            done = min(done + at_once * len(batch.labels), len(pool))
            if progress is not None:
                progress(done, len(pool))
        arrivals.finish()
    if ranks is not None:
        ranks.add_counts([torch.from_numpy(table) for tally in tallies for table in tally.tables()])
    named = {grouping.name: tuple(grouping.groups) for grouping in groupings}
    return [tally.result(tuple(names), named) for tally, names in zip(tallies, classes, strict=True)]


def _turns(pool: ImagePool, ranks: Ranks | None) -> tuple[Any, int]:
    """What gives the batches that are this process's, and how many processes look at one at a time."""
    batches: Any = pool.batches
    if ranks is None or not ranks.several:
        return batches, 1
    return functools.partial(batches, turn=(ranks.number, ranks.count)), ranks.count


def _by_task(
    images: Seen, logits: Mapping[str, Tensor], widths: Sequence[int]
) -> Iterator[tuple[Seen, Mapping[str, Tensor]]]:
    """The images with the labels of each task, and the models' scores of it, which lie side by side."""
    if len(widths) == 1:
        yield images, logits
        return
    start = 0
    for task, width in enumerate(widths):
        part = images._replace(labels=images.labels[:, task])
        yield part, {name: table[:, start : start + width] for name, table in logits.items()}
        start += width


class BrokenScores(FairpruneError):
    """Scores are NaN or infinite for some images: a fault of the model's file, unless the model was made here."""


class _Scores(GroupCounts):
    """Running counts of a task, from scores."""

    def __init__(
        self, models: Mapping[str, nn.Module], task: int, sizes: Sequence[int], classes: int,
        points: Mapping[str, PointsInUse],
    ) -> None:  # fmt: skip
        super().__init__(list(models), sizes, classes)
        self.points = points
        self.shifts = {name: shift_of(model, task) for name, model in models.items()}
        self.broken = {m: np.zeros(1, np.int64) for m in models}

    def tables(self) -> list[np.ndarray]:
        return [*super().tables(), *self.broken.values()]

    def add_scores(self, images: Seen, logits: Mapping[str, Tensor]) -> None:
        """Count images on the host; `logits` [B, K] of every model."""
        predicted, confidence = {}, {}
        for name, table in logits.items():
            self.broken[name] += int((~table.isfinite()).any(1).sum())
            predicted[name] = predictions(table, images, self.points.get(name))
            scores = without_shift(table, self.shifts[name])
            largest = scores is table and name not in self.points
            confidence[name] = calibration.confidence_of(scores, None if largest else predicted[name])
        self.add(images.labels.numpy(), images.groups.numpy(), predicted, confidence)

    def result(self, classes: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> AuditResult:
        broken = {name: int(count[0]) for name, count in self.broken.items() if count[0]}
        if broken:
            images = ", ".join(f"{name} for {count} images" for name, count in broken.items())
            raise BrokenScores(
                f"logits are not finite: {images}",
                hint="the weights hold NaN or infinity, or the model diverged; figures would mean nothing",
            )
        return super().result(classes, groups)
