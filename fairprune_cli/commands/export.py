"""`fairprune export`: a model as a file for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairprune_cli.commands.flags import (
    Force,
    Given,
    ImageSize,
    Json,
    Model,
    Out,
    Quiet,
    Trust,
    flags,
    resolved,
    size_of,
)
from fairprune_cli.commands.output import print_json, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.plugins import EXPORT_FORMAT
from fairprune_cli.core.settings import flag_of
from fairprune_cli.run.options import INT8, resolve

if TYPE_CHECKING:
    from fairprune_cli.core.terminal import Terminal
    from fairprune_cli.export import ExportResult


@flags(
    "model", "to", "int8", "store", "size", "data", *INT8, "out", "force", "arch", "trust", "weights", "as_json",
    "quiet",
)  # fmt: skip
def command(
    given: Given,
    model: Model,
    to: Annotated[str, typer.Option("--to", metavar="<format>", help=f"one of {', '.join(EXPORT_FORMAT.names())}")],
    int8: Annotated[
        bool,
        typer.Option("--int8", help="8-bit integers, onnx only: calibrated on val, and audited per group beside float"),
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="<choice>", help="fp32, fp16 or bf16 weights, safetensors only [source: as they are]"
        ),
    ] = None,
    size: ImageSize = None,
    out: Out = None,
    force: Force = False,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write the model in another format; the file is read again and compared before it says done."""
    terminal = terminal_of(quiet)
    store = None if store is None else resolve({"store": store}, {}, None).settings.store
    if int8:
        return _in_integers(given, model, to, store, size, out, force, trust, as_json, terminal)
    _refuse_flags_of_int8(given)
    _look_ahead(model, to, out, force, given)
    from fairprune_cli import export as exports
    from fairprune_cli.run import inputs

    wanted, data = size_of(size), given.get("data")
    result = exports.export(
        model, to, out, arch=given.get("arch"), trust=trust, weights=given.get("weights"), force=force,
        input_size=wanted, store=None if store == "source" else store,
        transform=inputs.transform_if_any(data, model), manifest=inputs.manifest_if_any(data, model),
    )  # fmt: skip
    _tell_unused(size, result, terminal)
    _tell_thresholds(result, terminal)
    if as_json:
        print_json(result.to_dict(), terminal)
    else:
        terminal.result(
            f"{result.path}: {result.format}, {result.bytes / 1e6:.2f} MB, for {result.shape}, read again, largest "
            "difference "
            f"{result.max_difference:.1e}"
            + (f" on {result.real_images} images of the manifest and 4 random ones" if result.real_images else "")
            + ("" if result.store is None else f"; rounding to {result.store} moved a logit by {result.rounding:.1e}")
        )
    _say_next(model, result.path, to, as_json, terminal)
    return int(ExitCode.OK)


def _in_integers(
    given: Given, model: Path, to: str, store: str | None, size: str | None, out: Path | None, force: bool, trust: bool,
    as_json: bool, terminal: Terminal,
) -> int:  # fmt: skip
    if to != "onnx":
        raise FairpruneError(f"{to} has no form in 8-bit integers", where="--int8", hint="use it with --to onnx")
    if store is not None:
        raise FairpruneError("--int8 and --store both say how weights are stored", where="--store", hint="give one")
    size_of(size)
    settings = resolved(None, given).settings
    from fairprune_cli.core.files import refuse_taken
    from fairprune_cli.run.early import look_at_models

    look_at_models(settings.arch, [model], graphs=False)
    if out is not None:
        refuse_taken(out, force)
    from fairprune_cli.report.int8_table import print_int8
    from fairprune_cli.run.integer_export import Int8Request, export_int8

    made = export_int8(Int8Request(model, settings, out, force, trust), terminal)
    _tell_unused(size, made.file, terminal)
    _tell_thresholds(made.file, terminal)
    if as_json:
        print_json(made.to_dict(), terminal)
    else:
        print_int8(made.to_dict(), terminal)
    _say_next(model, made.file.path, to, as_json, terminal)
    return int(ExitCode.OK)


def _look_ahead(model: Path, to: str, out: Path | None, force: bool, given: Given) -> None:
    """Refuse what can be refused before torch is imported."""
    from fairprune_cli.export import destination
    from fairprune_cli.run.early import look_at_models

    suffix = EXPORT_FORMAT.load(to, "--to").SUFFIX
    look_at_models(given.get("arch"), [model], graphs=False)
    destination(model, out, suffix, force)
    if (data := given.get("data")) is not None:
        from fairprune_cli.data.manifest.load import check_manifest, find_manifest

        check_manifest(find_manifest(Path(data), None, None))


def _say_next(model: Path, path: Path, to: str, as_json: bool, terminal: Terminal) -> None:
    """What a graph decides is audited beside its source; other files are looked at."""
    graph = to in ("onnx", "pt2")
    say_next(terminal, as_json, *(("audit", path, "--against", model) if graph else ("inspect", path)))


def _refuse_flags_of_int8(given: Given) -> None:
    for key in INT8:
        if key in given:
            raise FairpruneError(
                "says how --int8 is calibrated and audited, and --int8 was not given", where=flag_of(key),
                hint="add --int8, or leave it out",
            )  # fmt: skip


def _tell_thresholds(result: ExportResult, terminal: Terminal) -> None:
    if result.group_thresholds is not None:
        terminal.note(
            f"{result.group_thresholds}: the thresholds of groups, of which the file's network knows nothing; using "
            "them needs each image's group, and may be unlawful"
        )


def _tell_unused(size: str | None, result: ExportResult, terminal: Terminal) -> None:
    wanted = size_of(size)
    if wanted is not None and wanted != result.shape.size:
        terminal.warn(
            f"--size {size} was not used: the input transform of the model or the manifest says "
            f"{result.shape.pixels}", code="size",
        )  # fmt: skip
