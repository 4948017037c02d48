"""`fairprune inspect`: what a model is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairprune_cli.commands.flags import Given, ImageSize, Json, Model, Quiet, Trust, flags, size_of
from fairprune_cli.commands.output import print_json, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.data.manifest.image_shape import ImageShape, Size


@flags("model", "arch", "trust", "weights", "size", "as_json", "quiet")
def command(
    given: Given,
    model: Model,
    trust: Trust = False,
    size: ImageSize = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Architecture, parameters, MACs, bytes and sparsity per layer; no data needed."""
    terminal = terminal_of(quiet)
    from fairprune_cli.run.early import look_at_models

    size_of(size)
    look_at_models(given.get("arch"), [model], graphs=False)
    from fairprune_cli.report import console

    document, warnings = inspected(model, given.get("arch"), trust, size_of(size), given.get("weights"))
    if as_json:
        print_json(document, terminal)
    else:
        console.print_inspection(document, terminal)
    for warning in warnings:
        terminal.warn(warning["text"], code=warning["code"])
    say_next(terminal, as_json, "measure", model)
    return int(ExitCode.OK)


def inspected(
    path: Path, arch: str | None, trust: bool, size: Size | None, weights: str | None
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Architecture, parameters, MACs, bytes and sparsity per layer of a model, for JSON; and warnings.

    Args:
        arch, trust, weights: as for `load_model`.
        size: of the images in pixels; that of the file's input transform where None.
    """
    from fairprune_cli.models import measure
    from fairprune_cli.models.checkpoint.load import load_model
    from fairprune_cli.models.file import codec
    from fairprune_cli.models.score_search import outputs_of
    from fairprune_cli.run.audit_sources import model_file

    loaded = load_model(path, arch, trust, weights)
    file = model_file(loaded.source)
    metadata = loaded.metadata or {}
    shape = measure.images_of(loaded.model, loaded.transform)
    shape = shape if size is None else ImageShape.sized(shape.channels, size)
    own = codec.is_model_file(file)
    document = measure.inspection(
        loaded.model, architecture=loaded.architecture, shape=shape, dtypes=loaded.dtypes,
        file_bytes=file.stat().st_size,
        masks=codec.read_masks(file) if own else None, removed=metadata.get("removed"),
    )  # fmt: skip
    given = outputs_of(loaded.model, shape)
    return {
        "model": str(path), "sha256": loaded.sha256, "classes": loaded.classes or sum(one.width for one in given[:1]),
        "outputs": {"output" if one.key is None else str(one.key): one.width for one in given},
        "granularity": metadata.get("granularity", "dense"), **document, "warnings": loaded.warnings,
    }, loaded.warnings  # fmt: skip
