"""An export in 8-bit integers: calibrated on val, held against the float graph there, and audited per group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli import export as exports
from fairprune_cli.audit import to_json
from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.audit.figures import AuditFigures
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.audit.logits import Seen
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path, temporary_folder
from fairprune_cli.core.locks import written_alone
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.balanced import balanced_rows, counts_of
from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.data.manifest.load import find_manifest
from fairprune_cli.export import int8
from fairprune_cli.export.agreement import LEAST_KAPPA, Agreement, agreement_of
from fairprune_cli.export.formats import onnx
from fairprune_cli.export.job import ExportJob, job_of, largest_difference
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.graphs.onnx_file import OnnxNetwork
from fairprune_cli.models.read_out import as_given, attach, read_out_of
from fairprune_cli.run.audit_report import judgement_of
from fairprune_cli.run.inputs import decoded_images, open_model, transform_of
from fairprune_cli.run.opened_data import Data, open_data, parted_data
from fairprune_cli.run.options import Settings

FLOAT, INT8 = "float", "int8"  # what the two are called in the document
SUFFIX = "-int8.onnx"
CALIBRATED = "val"  # the split
COMPARED = 512  # images of val on which predictions are compared
BATCH = 32  # images of a calibration batch


@dataclass(frozen=True)
class Int8Request:
    """What `fairprune export --int8` was asked for, beyond the settings."""

    model: Path
    settings: Settings
    out: Path | None = None
    force: bool = False
    trust: bool = False


@dataclass(frozen=True)
class Int8Export:
    """A finished export.

    Attributes:
        file: as of any export; its difference is that of logits from the source's, which no tolerance bounds.
        float_bytes: size of the float graph.
        quantised: what became of the graph. calibration: as in the file's metadata.
        agreement: of predictions with the float graph's, by task.
        split: that was audited. audits: by task, of the source in float and the file, `FLOAT` and `INT8`.
    """

    file: exports.ExportResult
    float_bytes: int
    quantised: int8.Quantised
    calibration: Mapping[str, Any]
    agreement: Mapping[str, Agreement]
    split: str
    audits: Mapping[str, AuditFigures]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `audit` and `agreement` are the first task's, and with several `tasks` has those of each."""
        audits = {task: {"split": self.split, **to_json.audit_record(found)} for task, found in self.audits.items()}
        agreements = {task: asdict(found) for task, found in self.agreement.items()}
        document = self.file.to_dict() | {
            "int8": {
                **self.quantised.scheme, "layers": self.quantised.layers, "float_bytes": self.float_bytes,
                **self.calibration, "agreement": next(iter(agreements.values())),
            },
            "audit": next(iter(audits.values())),
        }  # fmt: skip
        if len(audits) > 1:
            document["tasks"] = {task: {"agreement": agreements[task], "audit": audits[task]} for task in audits}
        return document


def export_int8(request: Int8Request, terminal: Terminal) -> Int8Export:
    """Write the float graph into a temporary place, quantise it, compare, audit; the file stays if all of it went well.

    Raises:
        FairpruneError: there is no manifest, no val split or no image to audit; the graph cannot be quantised, or what
            came of it no longer decides as the float one.
    """
    settings = request.settings
    path = exports.destination(request.model, request.out, SUFFIX, request.force)
    points = exports.points_of_file(request.model)
    exports.refuse_table(path, points, request.force)
    int8.refuse_missing_packages()
    _refuse_without_manifest(request)
    data = open_data(settings, request.model, terminal, every=True)
    _rows_of(data, settings)  # fails here, before the model and the images are read
    loaded = open_model(request.model, settings, data.manifest, terminal, request.trust)
    data = parted_data(data, terminal)
    rows = _rows_of(data, settings)
    if settings.split == CALIBRATED:
        terminal.warn("the images that are audited are among those it was calibrated on", code="calibration")
    images = decoded_images(data, transform_of(loaded, data.manifest, terminal), terminal, rows.all)
    calibration = {
        "images": len(rows.calibration), "split": CALIBRATED, "attributes": list(data.attributes),
        "groups": counts_of(data.groupings, rows.calibration), "seed": settings.seed,
        "manifest_sha256": data.manifest.sha256,
    }  # fmt: skip
    with written_alone(path), temporary_folder() as folder, atomic_path(path) as temporary:
        job, float_bytes = _float_graph(loaded, images, folder / "float.onnx", terminal)
        batches = (batch.images.numpy() for batch in images.pool(rows.calibration).batches(BATCH, "cpu"))
        with terminal.progress("quantising", None):
            quantised = int8.quantise(folder / "float.onnx", temporary, batches, calibration)
        with as_given(loaded.model):
            difference, _ = largest_difference(job, onnx.reload(job, temporary))
        graph, integers = (_network(job, loaded, file) for file in (folder / "float.onnx", temporary))
        agreement = _agreement(graph, integers, images, rows.compared, data, terminal)
        audits = _audits(loaded.model, integers, images, rows.audited, data, settings, terminal)
    table = exports.write_table(path, points)
    file = exports.ExportResult(path, "onnx", path.stat().st_size, difference, job.shape, group_thresholds=table)
    return Int8Export(file, float_bytes, quantised, calibration, agreement, settings.split, audits)


def _refuse_without_manifest(request: Int8Request) -> None:
    try:
        find_manifest(None if request.settings.data is None else Path(request.settings.data), request.model, None)
    except FairpruneError as error:
        raise FairpruneError(
            f"--int8 is calibrated on images: {error.what}", where=error.where, hint=error.hint
        ) from error


@dataclass(frozen=True)
class _Rows:
    """Rows of the manifest, int64: those that calibrate, those on which predictions are compared, and the audited."""

    calibration: np.ndarray
    compared: np.ndarray
    audited: np.ndarray

    @property
    def all(self) -> np.ndarray:
        return np.unique(np.concatenate([self.calibration, self.compared, self.audited]))


def _rows_of(data: Data, settings: Settings) -> _Rows:
    """Which images serve what; predictions are compared on images that were not calibrated on, where there are any."""
    val = data.rows(CALIBRATED)
    if not len(val):
        raise FairpruneError(
            f"the {CALIBRATED} split has no images, and --int8 is calibrated on them", where=str(data.manifest.path),
            hint="write `splits: {val: from-train}` into the manifest, or give it a val split",
        )  # fmt: skip
    audited = data.rows_to_audit(settings.split)
    calibration = balanced_rows(data.manifest, val, data.groupings, settings.calibration_images, settings.seed)
    if not len(calibration):
        raise FairpruneError(
            f"no image of {CALIBRATED} is in a group of {' and '.join(data.attributes)}", where=str(data.manifest.path),
            hint="name other attributes with --attr",
        )  # fmt: skip
    rest = np.setdiff1d(val, calibration)
    compared = balanced_rows(data.manifest, rest if len(rest) else val, (), COMPARED, settings.seed)
    return _Rows(calibration, compared, audited)


def _float_graph(loaded: LoadedModel, images: ImageSet, path: Path, terminal: Terminal) -> tuple[ExportJob, int]:
    """The float graph, written and compared as any export; what it was made from, and its size."""
    with terminal.progress("float graph", None), as_given(loaded.model):
        result = exports.export_model(loaded, "onnx", path, transform=images.transform, manifest=images.manifest)
        job = job_of(loaded, images.transform)
        job.keys  # noqa: B018 - seen while the network gives what it gives by itself
    return job, result.bytes


def _network(job: ExportJob, loaded: LoadedModel, file: Path) -> nn.Module:
    """A written graph, with the read-out of the network that it was made from."""
    network = OnnxNetwork(file, torch.device("cpu")).eval()
    read_out = read_out_of(loaded.model)
    assert read_out is not None  # `open_model` has hung it there
    names = dict(zip(job.keys, job.outputs if len(job.keys) > 1 else [None], strict=True))
    entries = tuple(replace(entry, key=names[entry.key]) for entry in read_out.entries)
    attach(network, replace(read_out, entries=entries))
    return network


def _agreement(
    graph: nn.Module, integers: nn.Module, images: ImageSet, rows: np.ndarray, data: Data, terminal: Terminal
) -> dict[str, Agreement]:
    """How the integers' predictions agree with the float graph's, by task.

    Raises:
        FairpruneError: hardly more than by chance.
    """
    tasks = data.manifest.tasks
    tables = [np.zeros((len(task.classes),) * 2, dtype=np.int64) for task in tasks]

    def counting(table: np.ndarray) -> Callable[[Seen, Mapping[str, Tensor]], None]:
        def count(_: Seen, scores: Mapping[str, Tensor]) -> None:
            np.add.at(table, tuple(scores[name].argmax(1).numpy() for name in (FLOAT, INT8)), 1)

        return count

    with terminal.progress("comparing", len(rows)) as display:
        audit_tasks(
            {FLOAT: graph, INT8: integers}, images.pool(rows), data.groupings, [task.classes for task in tasks],
            watches=[counting(table) for table in tables], progress=lambda done, _: display.update(done),
        )  # fmt: skip
    found = {task.name: agreement_of(table) for task, table in zip(tasks, tables, strict=True)}
    for name, agreement in found.items():
        if agreement.collapsed:
            what = f" of {name}" if len(found) > 1 else ""
            kappa = "" if agreement.kappa is None else f", Cohen's kappa {agreement.kappa:.2f}"
            raise FairpruneError(
                f"the int8 graph no longer decides as the float graph: on {agreement.images} images of {CALIBRATED} "
                f"{100 * agreement.same:.1f} % of the predictions{what} agree{kappa}, below {LEAST_KAPPA}",
                where="--int8", hint="calibrate on more images (--calibration-images), or ship it without --int8",
            )  # fmt: skip
    return found


def _audits(
    source: nn.Module, integers: nn.Module, images: ImageSet, rows: np.ndarray, data: Data, settings: Settings,
    terminal: Terminal,
) -> dict[str, AuditFigures]:  # fmt: skip
    """The file against the network it was made from, in float, on the audited split; by task."""
    tasks = data.manifest.tasks
    with terminal.progress("auditing", len(rows)) as display:
        results = audit_tasks(
            {DENSE: source, INT8: integers}, images.pool(rows), data.groupings, [task.classes for task in tasks],
            batch_size=settings.batch_size, progress=lambda done, _: display.update(done),
        )  # fmt: skip
    audits = {}
    for task, result in zip(tasks, results, strict=True):
        figures = result.figures(judgement_of(settings))
        named = {FLOAT if name == DENSE else name: found for name, found in figures.models.items()}
        audits[task.name] = replace(figures, models=named)
    return audits
