"""The runs of benchmarks/rivals.py: dense models, prunings by the command, and the predicted classes of each.

A run is done when its file of predicted classes is there; what failed left a text beside it and is not tried again
until that is removed. Several processes work on the same folder by claims.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from _once import once, try_once
from _rivals_data import Draw
from _rivals_grids import Row

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_write_text

ANY = "any"  # the notion of rows that no notion changes
_SAID = 600  # characters of a failed command that are kept
_BATCH = 256


@dataclass(frozen=True)
class Place:
    """Where runs are kept, and what is the same for all of them.

    Attributes:
        epochs: of pruning, 0 for the tool's default.
        lr: of dense training, "" for the tool's default.
        ladder: for the parts one by one, whose dense models are their own: another machine, on which these come out
            otherwise, may add seeds to the parts and leave the rivals' runs as they are.
    """

    work: Path
    arch: str
    dense_epochs: int
    epochs: int = 0
    device: str = "cpu"
    lr: str = ""
    ladder: bool = False

    @property
    def folder(self) -> Path:
        lengths = f"{self.dense_epochs}" + (f"-{self.epochs}" if self.epochs else "")
        device = self.device.partition(":")[0]  # other arithmetic, other models
        endings = (
            f"-lr{self.lr}" if self.lr else "", "" if device == "cpu" else f"-{device}", "-ladder" * self.ladder,
        )  # fmt: skip
        return self.work / "".join([f"{self.arch}-{lengths}", *endings])

    def dense_model(self, draw: Draw, seed: int) -> Path:
        return self.folder / "dense" / f"{draw.images}-{seed}.pt"

    def dense_classes(self, draw: Draw, seed: int) -> Path:
        return self.folder / "dense" / f"{draw.name}-{seed}.npz"

    def dense_kept(self, draw: Draw, seed: int) -> Path:
        """Predicted classes of a dense model that is not there any more, which the next one is held against."""
        return self.folder / "dense" / f"{draw.name}-{seed}.kept.npz"

    def runs_of(self, draw: Draw, seed: int) -> Path:
        """Folder of what was pruned from a dense model."""
        return self.folder / draw.name / f"seed{seed}"


@dataclass(frozen=True)
class Job:
    """One pruning run.

    Attributes:
        cell: granularity:sparsity; notion: asked for, of rows that heed it.
        settings: all that `--set` is to set.
    """

    draw: Draw
    seed: int
    cell: str
    notion: str
    row: Row
    settings: Mapping[str, str] = field(hash=False)

    def folder(self, place: Place) -> Path:
        """Of the run: the same for rows that come to the same settings."""
        kind, share = self.cell.split(":")
        settings = "_".join(f"{key}={value}" for key, value in self.settings.items())
        notion = self.notion if self.row.asked else ANY
        name = self.row.method + (f"_{settings}" if settings else "")
        return place.runs_of(self.draw, self.seed) / f"{kind}-{share}" / notion / name

    def classes(self, place: Place) -> Path:
        """File of its predicted classes."""
        folder = self.folder(place)
        return folder.with_name(f"{folder.name}.npz")

    def failure(self, place: Place) -> Path:
        folder = self.folder(place)
        return folder.with_name(f"{folder.name}.failed.txt")

    def command(self, place: Place) -> list[str]:
        kind, share = self.cell.split(":")
        given = {
            "--data": str(self.draw.manifest), "--attr": self.draw.task.attribute, "--granularity": kind,
            "--sparsity": share, "--method": self.row.method, "--seed": str(self.seed), "--device": place.device,
            "--out": str(self.folder(place)),
        } | ({"--notion": self.notion} if self.row.asked else {})  # fmt: skip
        given |= {"--epochs": str(place.epochs)} if place.epochs else {}
        model = str(place.dense_model(self.draw, self.seed))
        sets = [
            word for key, value in {"threads": "1", **self.settings}.items() for word in ("--set", f"{key}={value}")
        ]
        return _fairprune("prune", model, *(word for pair in given.items() for word in pair), *sets, "-q", "--force")


def complete(jobs: Iterable[Job], place: Place) -> None:
    """Have all of them run, here or in other processes that work on the same folder: a seed whole before the next."""
    jobs = list(jobs)
    for seed in dict.fromkeys(job.seed for job in jobs):
        _complete_seed([job for job in jobs if job.seed == seed], place)


def _complete_seed(jobs: Sequence[Job], place: Place) -> None:
    for job in jobs:
        if not job.classes(place).exists() and not job.failure(place).exists():
            _want_dense(job.draw, job.seed, place)
    dense = {place.dense_classes(job.draw, job.seed): (job.draw, job.seed) for job in jobs}
    _share({path: partial(train_dense, *of, place) for path, of in dense.items()}, lambda path: False)
    failures = {job.classes(place): job.failure(place) for job in jobs}
    _share({job.classes(place): partial(_run, job, place) for job in jobs}, lambda path: failures[path].exists())


def _share(work: Mapping[Path, Callable[[], None]], failed: Callable[[Path], bool]) -> None:
    """Have every path written by its function, or failed; what another process is at is left to it."""
    waiting = list(work)
    while waiting:
        for path in waiting:
            try_once(path, work[path])
        waiting = [path for path in waiting if not path.exists() and not failed(path)]
        time.sleep(5 if waiting else 0)


def _want_dense(draw: Draw, seed: int, place: Place) -> None:
    """Have the dense model made again where only its classes are there."""
    if not place.dense_model(draw, seed).exists():
        with contextlib.suppress(FileNotFoundError):  # another process was first, or there were none
            os.replace(place.dense_classes(draw, seed), place.dense_kept(draw, seed))


def train_dense(draw: Draw, seed: int, place: Place) -> None:
    """The dense model of a draw and seed, and its predicted classes; runs from another one are removed."""
    model = place.dense_model(draw, seed)
    words = ["--arch", place.arch, "--epochs", str(place.dense_epochs), "--data", str(draw.manifest)]
    words += ["--seed", str(seed), "--device", place.device, "--out", str(model), "-q"]
    words += ["--lr", place.lr] if place.lr else []
    once(model, lambda: _call(_fairprune("train", *words)))

    from fairprune_cli.models.checkpoint.load import load_model

    new = place.dense_classes(draw, seed).with_suffix(".new.npz")
    _keep_classes(load_model(model).model, draw, place, new)
    take_dense(new, draw, seed, place)


def take_dense(new: Path, draw: Draw, seed: int, place: Place) -> None:
    """Predicted classes of a dense model; where an earlier one had others, what came from that is removed."""
    kept = place.dense_kept(draw, seed)
    if kept.exists() and not of_one_model(read_run(kept), read_run(new)):
        print(f"{new}: other classes than before; what came from that model is done again", flush=True)
        shutil.rmtree(place.runs_of(draw, seed), ignore_errors=True)
    os.replace(new, place.dense_classes(draw, seed))


def of_one_model(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether the classes of two dense models are the same for every image."""
    return np.array_equal(first["predicted"], second["predicted"])


def _run(job: Job, place: Place) -> None:
    """Prune, unless the report is there, and keep the predicted classes; a failure is told and kept."""
    if job.failure(place).exists():
        return
    report = job.folder(place) / "report.json"
    begun = time.monotonic()
    try:
        if not report.exists():
            _call(job.command(place))
        import fairprune_cli

        points = fairprune_cli.group_thresholds(report.parent) if "group_thresholds" in job.settings else None
        seen = _keep_classes(fairprune_cli.load(report.parent), job.draw, place, job.classes(place), report, points)
        print(f"{time.monotonic() - begun:5.0f} s  accuracy {seen:.3f}  {report.parent}", flush=True)
    except FairpruneError as error:
        atomic_write_text(job.failure(place), f"{error}\n")
        print(f"failed: {report.parent}: {error}", file=sys.stderr, flush=True)


def _fairprune(command: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "fairprune_cli", command, *words]


def _call(command: Sequence[str]) -> None:
    """Run it with one thread.

    Raises:
        FairpruneError: it failed, with the end of what it said.
    """
    root = str(Path(__file__).resolve().parents[1])  # the code that stands beside this script, wherever it is called
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )  # fmt: skip
    if done.returncode:
        raise FairpruneError(f"exit code {done.returncode}: {done.stderr[-_SAID:].strip()}", code=ExitCode.RUNTIME)


def _keep_classes(
    model: Any, draw: Draw, place: Place, target: Path, report: Path | None = None, points: Any = None
) -> float:
    """Write what the model predicts on the test split of the draw, and return the network's accuracy.

    Beside it labels and groups of a dense model, costs of a pruned one. With operating points of groups the classes are
    those at the points, and the accuracy is the one without.

    Raises:
        FairpruneError: the run's own report says another accuracy of the pruned model, or of other images.
    """
    import torch

    torch.set_num_threads(1)
    device = torch.device("cuda" if place.device.startswith("cuda") else "cpu")
    pool = _test_images(draw.manifest, draw.task.attribute)
    model = model.eval().to(device)
    with torch.no_grad():
        found = [model(batch.images).float().cpu().numpy() for batch in pool.batches(_BATCH, device)]
    scores = np.concatenate(found)
    predicted = scores.argmax(1)
    accuracy = float(np.mean(predicted == pool.labels))
    if report is not None:
        said = json.loads(report.read_text(encoding="utf-8"))["results"]["pruned"]
        if said["n"] != len(predicted) or abs(said["accuracy"] - accuracy) > 2.5 / said["n"]:  # of rounding
            raise FairpruneError(
                f"{accuracy:.4f} of {len(predicted)} images are right, and by its report {said['accuracy']:.4f} of "
                f"{said['n']}", where=str(report), code=ExitCode.RUNTIME,
            )  # fmt: skip
    names = pool.images.groupings[0].groups
    if points is not None:
        predicted = points.predicted(scores, [names[group] if group >= 0 else None for group in pool.groups[:, 0]])
    content: dict[str, Any] = {"predicted": predicted.astype(np.int16)}
    if report is None:
        content |= {"labels": pool.labels.astype(np.int16), "groups": pool.groups[:, 0].astype(np.int16),
                    "names": np.array(names)}  # fmt: skip
    else:
        content["cost"] = np.array(json.dumps(_cost(json.loads(report.read_text(encoding="utf-8")))))
    write_run(target, content)
    return accuracy


def _cost(report: Mapping[str, Any]) -> dict[str, Any]:
    machine = f"{report['provenance']['machine']}, {report['provenance']['device']}, {report['cost']['arithmetic']}"
    return {"passes": report["cost"]["passes"], "seconds": report["cost"]["seconds"], "machine": machine}


def write_run(target: Path, content: Mapping[str, Any]) -> None:
    """A run's file, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.npz")
    np.savez_compressed(part, **content)
    os.replace(part, target)


def read_run(path: Path) -> dict[str, Any]:
    """`predicted` and `cost` of a pruned model; `predicted`, `labels`, `groups` and their `names` of a dense one."""
    with np.load(path) as content:
        return {key: content[key] for key in content.files}


@lru_cache(maxsize=16)
def _test_images(manifest: Path, attribute: str) -> Any:
    from fairprune_cli.data.batches.pool import load_images
    from fairprune_cli.data.images.duplicates import parted
    from fairprune_cli.data.manifest.load import SPLITS, load_manifest

    opened = parted(load_manifest(manifest))
    rows = np.flatnonzero(opened.splits == SPLITS.index("test"))
    return load_images(opened, [attribute]).pool(rows)
