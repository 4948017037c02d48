"""`fairprune export`: a model as a file for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from fairprune_cli.commands.flags import Force, Given, ImageSize, Json, Model, Out, Quiet, Trust, flags, size_of
from fairprune_cli.commands.output import print_json, terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.plugins import EXPORT_FORMAT


@flags("model", "to", "store", "size", "data", "out", "force", "arch", "trust", "weights", "as_json", "quiet")
def command(
    given: Given,
    model: Model,
    to: Annotated[str, typer.Option("--to", help=f"one of {', '.join(EXPORT_FORMAT.names())}")],
    store: Annotated[
        str | None, typer.Option("--store", help="fp32, fp16 or bf16 weights, safetensors only [source: as they are]")
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
    from fairprune_cli import export as exports
    from fairprune_cli.run import inputs
    from fairprune_cli.run.options import resolve

    store = None if store is None else resolve({"store": store}, {}, None).settings.store
    wanted, data = size_of(size), given.get("data")
    result = exports.export(
        model, to, out, arch=given.get("arch"), trust=trust, weights=given.get("weights"), force=force,
        input_size=wanted, store=None if store == "source" else store,
        transform=inputs.transform_if_any(data, model), manifest=inputs.manifest_if_any(data, model),
    )  # fmt: skip
    if wanted is not None and wanted != result.shape.size:
        terminal.warn(
            f"--size {size} was not used: the input transform of the model or the manifest says "
            f"{result.shape.pixels}", code="size",
        )  # fmt: skip
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
    return int(ExitCode.OK)
