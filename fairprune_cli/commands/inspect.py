"""`fairprune inspect`: what a model is made of."""

from __future__ import annotations

from typing import Annotated

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
    from fairprune_cli.commands import audit as auditing
    from fairprune_cli.report import console

    document = auditing.inspect(model, given.get("arch"), trust, size)
    if as_json:
        print_json(document, terminal)
    else:
        console.print_inspection(document, terminal)
    return int(ExitCode.OK)
