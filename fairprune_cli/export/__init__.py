"""Models to files for other tools: one format per module, each file reloaded and compared before it stays.

A format is a module of formats/ with SUFFIX, TOLERANCE, `write(job, path)` and `reload(job, path)`, called as its
file; the first line of its docstring is its help text. Importing this package or a format imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_path, atomic_write_text, refuse_no_room
from fairprune_cli.core.locks import refuse_in_use, written_alone
from fairprune_cli.models.options import GROUP_TABLE

if TYPE_CHECKING:
    from fairprune_cli.data.manifest.image_shape import ImageShape, Size
    from fairprune_cli.data.manifest.load import Manifest, Transform
    from fairprune_cli.export.job import Exportable, ExportJob
    from fairprune_cli.models.file.group_points import GroupPoints


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        path: the file.
        format: name of the format.
        bytes: size of the file.
        max_difference: largest absolute difference of a logit between the source and the reloaded
            file, on random images in batches of one and three and on the real ones. With `store`, the source
            is the rounded model.
        store: number format of the weights when another was asked for, else None.
        rounding: largest absolute difference of a logit that rounding to `store` made, on the same images.
        real_images: how many images of a manifest were among those compared.
        shape: of the images that the file takes.
        group_thresholds: the table of them that was written beside the file, where the model has any.
    """

    path: Path
    format: str
    bytes: int
    max_difference: float
    shape: ImageShape
    store: str | None = None
    rounding: float | None = None
    real_images: int = 0
    group_thresholds: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "bytes": self.bytes,
            "max_difference": self.max_difference,
            "input_size": self.shape.size,
            "input_channels": self.shape.channels,
            "store": self.store,
            "rounding": self.rounding,
            "real_images": self.real_images,
            "group_thresholds": None if self.group_thresholds is None else str(self.group_thresholds),
        }


def export(
    model_path: Path,
    to: str,
    out: Path | None = None,
    *,
    arch: str | None = None,
    trust: bool = False,
    weights: str | None = None,
    force: bool = False,
    input_size: Size | None = None,
    store: str | None = None,
    transform: Transform | None = None,
    manifest: Manifest | None = None,
) -> ExportResult:
    """Write the model at `model_path` in the format `to`, reload the file and compare.

    Args:
        model_path: whatever `checkpoint.load_model` reads: .pt, .pth, .safetensors or a run folder.
        to: name of a format.
        out: file to write; beside the source when None.
        arch, trust, weights: as for `checkpoint.load_model`.
        force: replace a file that exists.
        input_size: of the images in pixels, where neither the model says it nor the manifest; 224 when None.
        store: fp32, fp16 or bf16, the number format of the weights in a safetensors file; None leaves them
            as they are.
        transform: of the images of a model that has none of its own; the manifest's when None.
        manifest: the file is compared on images of it too.

    Raises:
        FairpruneError: unknown format, or one that has no `store`; the model cannot be loaded or exported; the file
            exists; the reloaded file gives other results than the source (nothing is left behind then).
    """
    _check_store(to, store)  # before minutes are spent on loading
    if out is not None:
        refuse_no_room(Path(out))
    from fairprune_cli.models.checkpoint.load import load_usable

    loaded = load_usable(Path(model_path), arch, trust, weights)
    return export_model(
        loaded, to, out, force=force, input_size=input_size, store=store, transform=transform, manifest=manifest
    )


def export_model(
    loaded: Exportable,
    to: str,
    out: Path | None = None,
    *,
    force: bool = False,
    input_size: Size | None = None,
    store: str | None = None,
    transform: Transform | None = None,
    manifest: Manifest | None = None,
) -> ExportResult:
    """As `export`, for a model that is loaded already; default names are beside `loaded.source`."""
    from fairprune_cli.export.job import job_of, largest_difference, rounded_job

    module = _check_store(to, store)
    path = destination(Path(loaded.source), out, module.SUFFIX, force)
    points = points_of_file(Path(loaded.source))
    refuse_table(path, points, force)
    transform = manifest.transform if transform is None and manifest is not None else transform
    job, rounding = job_of(loaded, transform or input_size), None
    if manifest is not None:
        job = _with_samples(job, manifest)
    if store is not None:
        whole, job = job, rounded_job(job, store)
        rounding = largest_difference(whole, job.reference)[0]
    with written_alone(path), atomic_path(path) as temporary:
        module.write(job, temporary)
        difference, scale = largest_difference(job, module.reload(job, temporary))
        if not difference <= module.TOLERANCE * max(1.0, scale):
            raise FairpruneError(
                f"the reloaded file gives other results: a logit differs by {difference:.3g}, "
                f"the largest logit is {scale:.3g}",
                where=str(path),
                hint=f"nothing was written; report this with the architecture {loaded.architecture!r}",
                code=ExitCode.RUNTIME,
            )
    return ExportResult(path, to, path.stat().st_size, difference, job.shape, store, rounding,
                        0 if job.samples is None else len(job.samples), write_table(path, points))  # fmt: skip


def table_beside(path: Path) -> Path:
    """Where the thresholds of groups stand that belong to an exported file."""
    return path.with_name(f"{path.name}.{GROUP_TABLE}")


def points_of_file(source: Path) -> Sequence[GroupPoints]:
    """The thresholds of groups that a model file of fairprune holds; none of any other."""
    from fairprune_cli.models.checkpoint.location import locate
    from fairprune_cli.models.file import codec

    if not source.exists():
        return ()  # a network in memory
    file = locate(source)
    return codec.read_header(file).group_thresholds if codec.is_model_file(file) else ()


def refuse_table(path: Path, points: Sequence[GroupPoints], force: bool) -> None:
    """Refuse to replace a table of thresholds, before anything is written."""
    if points and not force and table_beside(path).exists():
        raise FairpruneError("exists already", where=str(table_beside(path)), hint="give another --out, or --force")


def write_table(path: Path, points: Sequence[GroupPoints]) -> Path | None:
    """Write the thresholds of groups beside an exported file, as no file's network takes a group; where there are any.

    Args:
        path: of the exported file.
    """
    if not points:
        return None
    from fairprune_cli.models.file.group_points import points_csv

    atomic_write_text(table_beside(path), points_csv(points))
    return table_beside(path)


def destination(source: Path, out: Path | None, suffix: str, force: bool) -> Path:
    """The file that an export writes: `out`, or beside the source with `suffix` in place of its own.

    Raises:
        FairpruneError: it is a folder, the source itself, exists without `force`, or could not be made.
    """
    source = source / "model.safetensors" if source.is_dir() else source
    path = Path(out) if out is not None else source.with_name(source.stem + suffix)
    if path.is_dir():
        raise FairpruneError("is a folder", where=str(path), hint="give a file name to --out")
    if path.exists() and source.exists() and path.samefile(source):
        raise FairpruneError("the export would replace its own source", where=str(path), hint="give another --out")
    if path.exists() and not force:
        raise FairpruneError("exists already", where=str(path), hint="give another --out, or --force")
    refuse_no_room(path)
    refuse_in_use(path)
    return path


def _with_samples(job: ExportJob, manifest: Manifest) -> ExportJob:
    from fairprune_cli.data.manifest.load import Transform
    from fairprune_cli.export.samples import real_images

    own = job.header.transform
    transform = Transform.from_dict(own, "transform of the model") if own else manifest.transform
    return replace(job, samples=real_images(manifest, transform))


def _check_store(to: str, store: str | None) -> ModuleType:
    """The module of the format, which must be able to write weights in the number format that is asked for."""
    module = plugins.EXPORT_FORMAT.load(to)
    if store is not None and not getattr(module, "STORES", False):
        raise FairpruneError(
            f"{to} computes in 32 bits and is written so", where="--store",
            hint="use it with safetensors or safetensors-dense",
        )  # fmt: skip
    return module
