"""`fairprune inspect`: what a model is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairprune_cli.commands.flags import Given, Json, Model, Quiet, Trust, flags
from fairprune_cli.commands.output import print_json, terminal_of
from fairprune_cli.core.errors import ExitCode


@flags("model", "arch", "trust", "size", "as_json", "quiet")
def command(
    given: Given,
    model: Model,
    trust: Trust = False,
    size: Annotated[int | None, typer.Option("--size", min=8, max=4096, help="input side for the MACs")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Architecture, parameters, MACs, bytes and sparsity per layer; no data needed."""
    terminal = terminal_of(quiet)
    from fairprune_cli.report import console

    document = inspected(model, given.get("arch"), trust, size)
    if as_json:
        print_json(document, terminal)
    else:
        console.print_inspection(document, terminal)
    return int(ExitCode.OK)


def inspected(path: Path, arch: str | None, trust: bool, size: int | None) -> dict[str, Any]:
    """Architecture, parameters, MACs, bytes and sparsity per layer of a model, for JSON.

    Args:
        arch, trust: as for `load_model`.
        size: side of the images in pixels; that of the file's input transform where None.
    """
    from fairprune_cli.models import measure
    from fairprune_cli.models.checkpoint.load import load_model
    from fairprune_cli.models.file import codec
    from fairprune_cli.models.score_search import outputs_of
    from fairprune_cli.run.audit import model_file

    loaded = load_model(path, arch, trust)
    file = model_file(loaded.source)
    metadata = loaded.metadata or {}
    side = size or metadata.get("transform", {}).get("size") or measure.DEFAULT_SIZE
    own = codec.is_model_file(file)
    document = measure.inspection(
        loaded.model, architecture=loaded.architecture, input_size=int(side), file_bytes=file.stat().st_size,
        masks=codec.read_masks(file) if own else None, removed=metadata.get("removed"),
    )  # fmt: skip
    given = outputs_of(loaded.model, int(side))
    return {
        "model": str(path), "sha256": loaded.sha256, "classes": loaded.classes or sum(one.width for one in given[:1]),
        "outputs": {"output" if one.key is None else str(one.key): one.width for one in given},
        "granularity": metadata.get("granularity", "dense"), **document,
    }  # fmt: skip
