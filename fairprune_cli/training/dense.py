"""A plain trainer for dense models: augmentation, warm-up and cosine, best epoch by validation accuracy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.transfer import Arriving, on_host
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.models.frozen import training_mode
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import by_task, read_out_of, scores_of
from fairprune_cli.models.strided_convolutions import safe_strides
from fairprune_cli.pruning.schedule import cosine_lr
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.options import DenseOptions
from fairprune_cli.training.readings import READ_EVERY


@dataclass(frozen=True)
class DenseEpoch:
    """What is known after an epoch; accuracies in 0..1."""

    epoch: int
    loss: float
    train_accuracy: float
    val_accuracy: float


def pool_accuracy(model: nn.Module, pool: Pool, device: torch.device, batch_size: int = 256) -> float:
    """Share of the pool that the model classifies right, in eval mode (the mode is restored).

    Of a pool with the labels of several tasks it is the mean of theirs; with those of one, the first of the model's.
    """
    right = _right(model, pool, device, batch_size)
    return sum(right) / max(len(pool) * len(right), 1)


def task_accuracies(model: nn.Module, pool: Pool, device: torch.device, batch_size: int = 256) -> tuple[float, ...]:
    """As `pool_accuracy`, of each task whose labels the pool has."""
    return tuple(count / max(len(pool), 1) for count in _right(model, pool, device, batch_size))


def _right(model: nn.Module, pool: Pool, device: torch.device, batch_size: int) -> list[int]:
    """Images of a pool that are classified right, of each task."""
    tasks = 1 if pool.labels.ndim == 1 else pool.labels.shape[1]
    right = torch.zeros(tasks, dtype=torch.int64, device=device)
    with evaluating(model), torch.inference_mode():
        for batch in pool.batches(batch_size, device):
            table, labels = model(batch.images), batch.labels.reshape(len(batch.labels), -1)
            for task in range(tasks):
                right[task] += (scores_of(model, table, task).argmax(1) == labels[:, task]).sum()
    found: list[int] = right.tolist()
    return found


def train_dense(
    model: nn.Module,
    train: Pool,
    val: Pool,
    options: DenseOptions,
    device: torch.device,
    on_step: Callable[[int, int, float, float], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[DenseEpoch]:
    """Train in place; the model is left with the weights of the epoch that was best on `val`.

    Of several tasks loss and accuracies are the means of theirs.

    Args:
        on_step: called with (step, steps, mean loss of the epoch so far, best validation accuracy so far).
        should_stop: asked after each step; True ends the training after the epochs that are done.

    Returns:
        One record per finished epoch.

    Raises:
        FairpruneError: the loss is no longer finite (exit code 3).
    """
    sampler = train.sampler(options.batch_size, device, options.seed, options.augment)
    per_epoch = max(len(train) // options.batch_size, 1)
    total = options.epochs * per_epoch
    optimizer = sgd(model, options.lr, options.momentum, options.weight_decay)
    records: list[DenseEpoch] = []
    best = -1.0
    best_state = copy.deepcopy(model.state_dict())
    sums = _Sums(total)
    training_mode(model)
    for step in range(total):
        if should_stop():
            break
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step, total, options.lr, warmup=min(per_epoch, total // 10))
        batch = sampler.next()
        with safe_strides(device):
            logits = model(batch.images)
            parts = list(by_task(read_out_of(model), logits, batch.labels))
            loss = sum((F.cross_entropy(*part) for part in parts[1:]), F.cross_entropy(*parts[0])) / len(parts)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        ends = (step + 1) % per_epoch == 0
        sums.add(step + 1, loss.detach(), [(scores.detach(), labels) for scores, labels in parts], now=ends)
        optimizer.step()
        on_step(step + 1, total, sums.mean_loss, max(best, 0.0))
        if ends:
            reached = pool_accuracy(model, val, device)
            records.append(DenseEpoch(len(records) + 1, sums.mean_loss, sums.accuracy, reached))
            sums = _Sums(total)
            if reached >= best:
                best, best_state = reached, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    model.eval()
    return records


class _Sums:
    """Loss and right answers of an epoch, read at once on the CPU, some steps together from a device."""

    def __init__(self, steps: int) -> None:
        self.steps, self.loss, self.right, self.seen, self.answers = steps, 0.0, 0, 0, 0
        self._noted: list[tuple[int, int, Tensor]] = []

    def add(self, step: int, loss: Tensor, tasks: Sequence[tuple[Tensor, Tensor]], now: bool) -> None:
        """Note a step, counted from 1, and read what is noted where it is time to.

        Args:
            tasks: scores [B, K] and labels [B] of each.

        Raises:
            FairpruneError: the loss is no longer finite (exit code 3).
        """
        right = sum(((scores.argmax(1) == labels).sum() for scores, labels in tasks), torch.zeros_like(loss))
        self._noted.append((step, len(tasks[0][1]), torch.stack([loss, right])))
        if not (now or on_host(loss) or len(self._noted) >= READ_EVERY):
            return
        noted, self._noted = self._noted, []
        figures = Arriving(torch.stack([row for _, _, row in noted])).numpy()
        for (at, images, _), (value, hits) in zip(noted, figures.tolist(), strict=True):
            if not math.isfinite(value):
                raise FairpruneError(
                    f"training diverged: the loss is {value} at step {at} of {self.steps}", hint="lower --lr",
                    code=ExitCode.RUNTIME,
                )  # fmt: skip
            self.loss += value * images
            self.right += int(hits)
            self.seen += images
            self.answers += images * len(tasks)

    @property
    def accuracy(self) -> float:
        """Share of right answers, one per image and task, of the images read so far."""
        return self.right / max(self.answers, 1)

    @property
    def mean_loss(self) -> float:
        """Of the images read so far."""
        return self.loss / max(self.seen, 1)
