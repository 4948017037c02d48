"""Pruning jobs over made-up images, put together as `fairprune prune` puts them together, and plain fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import platform
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fairprune_cli.data.batches.batch import known_of
from fairprune_cli.data.batches.pixels import Normaliser
from fairprune_cli.data.batches.pool import ImageSet, Pool
from fairprune_cli.data.batches.stratified import StratifiedSampler
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.options import PATTERN
from fairprune_cli.pruning.target import Earlier, build_masks
from fairprune_cli.run.assembly import Assembly
from fairprune_cli.run.inputs import PruningPools
from fairprune_cli.run.options import Settings
from fairprune_cli.training import records as history
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.precision import in_format
from fairprune_cli.training.records import Means
from fairprune_cli.training.sources import BatchSource
from fairprune_cli.training.trainer import Trainer

FOREVER = 100_000  # epochs: the mask moves in all that is measured
CLASSES = 2

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Job:
    """One pruning run, or the plain fine-tuning beside it.

    Attributes:
        granularity: channel, weight or 2:4; "" is fine-tuning.
        attributes: number of groups of each attribute.
        method: of pruning.
        ramp: about so many lower steps long the mask moves; 0 fixes it before the first, None lets it move in all that
            is measured, so slowly that hardly anything is masked.
        device: cpu or cuda; precision: fp32 or bf16.
    """

    arch: str = "resnet10"
    granularity: str = "channel"
    batch: int = 128
    size: int = 64
    rows: int = 20_000
    attributes: tuple[int, ...] = (2,)
    method: str = "bifp"
    ramp: int | None = None
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def passes(self) -> int:
        """Of the whole run; more than anybody measures."""
        return FOREVER * max(self.rows // self.batch, 1)


def pixels_file(folder: Path, rows: int, size: int) -> np.ndarray:
    """Random pixels as the cache has them, uint8 [rows, 3, size, size], a memory map of a file that is written once."""
    path = folder / f"{size}.u8"
    image = 3 * size * size
    if not path.exists() or path.stat().st_size < rows * image:
        generator = np.random.default_rng(0)
        with open(path, "wb") as stream:
            for start in range(0, rows, 4096):
                stream.write(generator.integers(0, 256, (min(4096, rows - start), image), dtype=np.uint8).data)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=(rows, 3, size, size))


def pool_over(pixels: np.ndarray, attributes: Sequence[int]) -> Pool:
    """All images, in random classes and groups; some are in no group."""
    generator, n = np.random.default_rng(1), len(pixels)
    groups = np.stack([generator.integers(-1 if count > 2 else 0, count, n) for count in attributes], axis=1)
    transform = Transform(pixels.shape[2], (0.5,) * 3, (0.25,) * 3)
    nothing: Any = None  # a manifest is only asked for names
    return ImageSet(pixels, generator.integers(0, CLASSES, n), groups, (), nothing, transform).pool(np.arange(n))


@cache
def _dense(arch: str) -> nn.Module:
    return architectures.build(arch, CLASSES, seed=0)


def trainer_of(job: Job, pool: Pool) -> Trainer:
    """A trainer with the settings of `fairprune prune`; only what decides how long the mask moves differs."""
    device = torch.device(job.device)
    settings = Settings(
        method=job.method, granularity=job.granularity, sparsity=0.5 if job.granularity == PATTERN else 0.8,
        batch_size=job.batch, epochs=FOREVER, ramp_share=1.0 if job.ramp is None else job.ramp / job.passes, lr=0.01,
        tolerance=0.0, device=job.device, precision=job.precision,
    )  # fmt: skip
    dense = copy.deepcopy(_dense(job.arch)).to(device)
    student = copy.deepcopy(dense).to(memory_format=torch.channels_last)
    masks = build_masks(settings, student, job.size, Earlier())
    named = [
        SimpleNamespace(name=f"a{a}", groups=tuple(map(str, range(count)))) for a, count in enumerate(job.attributes)
    ]
    task = SimpleNamespace(name="", classes=("0", "1"))
    manifest = SimpleNamespace(classes=task.classes, tasks=[task])
    data: Any = SimpleNamespace(groupings=named, manifest=manifest)
    notion = fairness.get(settings.notion, CLASSES)
    assembly = Assembly(
        settings, methods.get(job.method).formed(settings), (notion,), dense, student, masks, data, device
    )
    return assembly.trainer(PruningPools(pool, pool, pool))


def step_of(job: Job, pool: Pool) -> Callable[[], None]:
    """One lower step, with all that goes with it; an upper step where it is its turn."""
    if job.granularity:
        return trainer_of(job, pool).step
    return fine_tuning(_trainable(job), pool.sampler(job.batch, "cpu", 0, True))


def _trainable(job: Job) -> nn.Module:
    return copy.deepcopy(_dense(job.arch)).to(job.device, memory_format=torch.channels_last).train()


def fine_tuning(model: nn.Module, source: BatchSource) -> Callable[[], None]:
    """A step of plain fine-tuning: forward, backward, SGD with momentum."""
    optimizer = sgd(model, 0.01, 0.9, 5e-4)

    def step() -> None:
        drawn = source.next()
        loss = F.cross_entropy(model(drawn.images), drawn.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class Plain:
    """Fine-tuning as a user writes it: resident images gathered, normalised, forward, loss, backward, fused SGD.

    Args:
        job: of it arch, batch, device and precision count.
        pool: the images; all of them move to the device.
    """

    def __init__(self, job: Job, pool: Pool) -> None:
        device = torch.device(job.device)
        self.model, self.batch, self.bf16 = _trainable(job), job.batch, job.precision == "bf16"
        self.optimizer = sgd(self.model, 0.01, 0.9, 5e-4)
        resident = pool.images.resident(device)
        self.pixels = torch.from_numpy(np.array(pool.images.pixels)).to(device) if resident is None else resident
        self.labels = torch.from_numpy(pool.labels).to(device)
        self.normalise = Normaliser(pool.images.transform, device)
        self.index = torch.zeros(job.batch, dtype=torch.int64, device=device)
        self._generator = torch.Generator().manual_seed(0)
        self._order = torch.empty(0, dtype=torch.int64)
        self._device = device

    def draw(self) -> None:
        """Choose the next images, of a shuffled pass."""
        if len(self._order) < self.batch:
            self._order = torch.randperm(len(self.labels), generator=self._generator).to(self._device)
        self.index, self._order = self._order[: self.batch], self._order[self.batch :]

    def learn(self) -> None:
        """A step on the images that were chosen."""
        images = self.normalise(self.pixels[self.index]).contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        with in_format(self._device, self.bf16):
            loss = F.cross_entropy(self.model(images), self.labels[self.index])
        loss.backward()
        self.optimizer.step()

    def step(self) -> None:
        """One step."""
        self.draw()
        self.learn()


def in_turn(steps: Mapping[Key, Callable[[], None]], cycles: int, length: int) -> dict[Key, list[float]]:
    """Seconds per step of each row in each cycle of `length` steps, by this thread's clock; rows take turns."""
    seconds: dict[Key, list[float]] = {key: [] for key in steps}
    for _ in range(cycles):
        for key, step in steps.items():
            began = time.thread_time()
            for _ in range(length):
                step()
            seconds[key].append((time.thread_time() - began) / length)
    return seconds


def group_work_of(job: Job, pool: Pool) -> Callable[[], None]:
    """What of a lower step depends on groups: drawing, counting, the Lagrangian's term, multipliers, records.

    No image is formed and no network runs; the logits are random, and every multiplier is above zero at first.
    """
    trainer = trainer_of(job, pool)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(job.batch, CLASSES, generator=generator).requires_grad_()
    constraint, means = trainer.constraint, Means()
    for mu in constraint.multipliers:
        mu[...] = 0.5
    assert isinstance(trainer.lower, StratifiedSampler)
    trainer.lower.divide(lambda _: slice(0, 0))  # as a process does to which no image falls

    def work() -> None:
        batch = trainer.lower.next()
        known = known_of(batch)
        terms = trainer.objective.terms(known, logits.device)
        loss = trainer.objective.lagrangian(trainer.objective.lower(logits, batch), logits, terms)
        torch.autograd.grad(loss, logits)
        constraint.observe(logits, known.labels, known.groups, known.weights)
        constraint.update()
        history.step_figures(1, 2, means, 0.5, constraint)

    return work


def private_bytes() -> int:
    """Memory of this process alone: without the pages of files, as those of decoded images."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


def machine() -> str:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()}, {model}, 1 CPU thread"
