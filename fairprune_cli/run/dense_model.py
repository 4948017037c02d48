"""A dense checkpoint from a manifest, for those who have none."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli.core import provenance
from fairprune_cli.core.device import choose_device, machine, repeatable, set_threads, strictly_repeatable
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import refuse_taken
from fairprune_cli.core.locks import refuse_in_use, written_alone
from fairprune_cli.core.signals import stop_on_signals
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.data.manifest.load import Manifest
from fairprune_cli.data.manifest.task import outputs_for
from fairprune_cli.models import architectures, measure
from fairprune_cli.models.checkpoint.load import save_checkpoint
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.models.soundness import refuse_unsound
from fairprune_cli.run.inputs import decoded_images, read_tasks
from fairprune_cli.run.opened_data import Data, open_data, parted_data
from fairprune_cli.run.options import Resolved, Settings
from fairprune_cli.training.dense import DenseEpoch, pool_accuracy, train_dense


@dataclass(frozen=True)
class TrainRequest:
    """What `fairprune train` was asked for, beyond the settings."""

    resolved: Resolved
    out: Path
    force: bool = False
    dry_run: bool = False


def train_checkpoint(request: TrainRequest, terminal: Terminal) -> dict[str, Any]:
    """Train and save; returns what was reached.

    Raises:
        FairpruneError: bad input, an existing file, or the training was interrupted (nothing is written then).
    """
    settings = request.resolved.settings
    refuse_taken(request.out, request.force)
    refuse_in_use(request.out)
    if settings.arch is None:
        raise FairpruneError("no architecture was given", where="--arch", hint="for example --arch resnet10")
    started = time.time()
    threads = set_threads(settings.threads)
    device = choose_device(settings.device)
    repeatable(device)
    data = open_data(settings, request.out, terminal, every=True)
    _refuse_empty_splits(data)
    model = _fresh(settings.arch, settings.seed, data.manifest, terminal)
    data = parted_data(data, terminal)
    _refuse_empty_splits(data)
    manifest = data.manifest
    document: dict[str, Any] = {
        "architecture": settings.arch, "classes": list(manifest.classes), "path": str(request.out),
        "images": {name: len(data.rows(name)) for name in ("train", "val", "test")}, "epochs": settings.epochs,
        "device": str(device), "attributes": [grouping.name for grouping in data.groupings],
    }  # fmt: skip
    if request.dry_run:
        return document | {"dry_run": True}
    with written_alone(request.out):
        return document | _trained(request, data, model, device, terminal, (started, threads))


def _refuse_empty_splits(data: Data) -> None:
    for split in ("train", "val"):
        if not len(data.rows(split)):
            raise FairpruneError(f"the {split} split has no images", where=str(data.manifest.path))


def _trained(
    request: TrainRequest, data: Data, model: nn.Module, device: torch.device, terminal: Terminal,
    begun: tuple[float, int],
) -> dict[str, Any]:  # fmt: skip
    """Train and save.

    Args:
        begun: seconds since the epoch, and the number of threads.
    """
    settings, manifest, (started, threads) = request.resolved.settings, data.manifest, begun
    assert settings.arch is not None
    images: ImageSet = decoded_images(data, manifest.transform, terminal)
    model = model.to(device)
    records = _train(model, images, data, settings, device, terminal)
    reached = pool_accuracy(model, images.pool(data.rows("val")), device)
    extra = {"seed": settings.seed, "epochs": settings.epochs, "val_accuracy": reached}
    save_checkpoint(
        request.out, model, architecture=settings.arch, classes=manifest.classes,
        transform=manifest.transform.to_dict(), extra=extra,
    )  # fmt: skip
    return {
        "val_accuracy": reached, "training": [asdict(record) for record in records], "seconds": time.time() - started,
        "bytes": request.out.stat().st_size,
        "provenance": provenance.collect(settings.seed, str(device), machine(device, threads), started, time.time()),
    }  # fmt: skip


def _fresh(arch: str, seed: int, manifest: Manifest, terminal: Terminal) -> nn.Module:
    """An untrained network for the manifest's tasks and images, with its read-out.

    Raises:
        FairpruneError: it does not take such images, or gives no scores that it could be trained by.
    """
    model = architectures.build(arch, outputs_for(manifest.tasks), seed=seed)
    measure.macs(model, manifest.transform.shape)  # fails here where it does not take such images
    read_tasks(model, manifest.tasks, manifest.transform.shape, terminal)
    refuse_unsound(model, manifest.transform.shape, f"--arch {arch}")
    return model


def _train(
    model: nn.Module, images: ImageSet, data: Data, settings: Settings, device: torch.device, terminal: Terminal
) -> list[DenseEpoch]:
    """Train in place.

    Raises:
        FairpruneError: it was stopped.
    """
    torch.manual_seed(settings.seed)
    shape = data.manifest.transform.shape
    channels_last = not fault_of_training(model, shape, channels_last=True)
    if channels_last:
        model.to(memory_format=torch.channels_last)

    def fault() -> str:
        return fault_of_training(model, shape, channels_last=channels_last)

    val = images.pool(data.rows("val"))
    with stop_on_signals() as stop, terminal.progress(f"training {settings.arch}", None) as display:

        def on_step(step: int, total: int, loss: float, best: float) -> None:
            display.update(step, {"loss": f"{loss:.3f}", "best val": f"{best:.3f}"}, total=total)

        with strictly_repeatable(device, fault) as unrepeatable:
            if unrepeatable:
                terminal.note(f"another training on this GPU may end in other bytes: {unrepeatable}")
            records = train_dense(model, images.pool(data.rows("train")), val, settings, device, on_step, stop)
    if stop.code is not None:
        raise FairpruneError("training was stopped; nothing was written", code=stop.code)
    return records
