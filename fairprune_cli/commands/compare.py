"""`fairprune compare`: methods side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairprune_cli.commands.flags import COMMON, SET, Config, DryRun, Given, Json, Quiet, Trust, flags, resolved
from fairprune_cli.commands.output import print_json, terminal_of
from fairprune_cli.core.errors import ExitCode, FairpruneError

MOST_SEEDS = 1000


@flags(
    "model", "methods", "sparsities", "seeds", "granularities", "grid", "reference", "gather", "list_commands",
    "attr", "notion", "tolerance", "epochs", "batch_size", "lr", SET, "out", "force", "confidence", "split", *COMMON,
)  # fmt: skip
def command(
    given: Given,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="dense checkpoint; {seed} in it is each seed in turn")],
    methods: Annotated[str, typer.Option("--methods", metavar="A,B", help="methods to compare")],
    sparsities: Annotated[str, typer.Option("--sparsities", metavar="S,T", help="sparsities to compare them at")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="how many seeds, from --seed on")] = 5,
    granularities: Annotated[
        str, typer.Option("--granularities", metavar="A,B", help="any of channel, weight and 2:4")
    ] = "channel",
    grid: Annotated[
        list[str] | None, typer.Option("--grid", metavar="KEY=V1,V2", help="settings to vary; repeated, their product")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="method that the others are held against [magnitude, or the first]"),
    ] = None,
    gather: Annotated[bool, typer.Option("--gather", help="tables of what is there; compute nothing")] = False,
    list_commands: Annotated[
        bool, typer.Option("--list-commands", help="print a shell command per cell that is not done, and stop")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="folder [runs/compare-MODEL]")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute cells again that were made otherwise")] = False,
    trust: Trust = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Compare methods over sparsities, settings and seeds, with intervals; go on where an earlier run was stopped."""
    terminal = terminal_of(quiet)
    alone = [n for n, v in (("--gather", gather), ("--list-commands", list_commands), ("--dry-run", dry_run)) if v]
    if len(alone) > 1:
        raise FairpruneError(f"{' and '.join(alone)} cannot go together", where="fairprune compare", hint="give one")
    settings = resolved(config, given)
    from fairprune_cli import compare as comparison
    from fairprune_cli.compare import printed

    request = comparison.Request(
        model, settings, _names(methods), comparison.targets(_names(granularities), _names(sparsities)), seeds,
        tuple(grid or ()), tuple(reference or ()), out, force, trust, dry_run, gather, list_commands,
    )  # fmt: skip
    if list_commands:
        lines = comparison.list_commands(request)
        if as_json:
            print_json({"commands": lines}, terminal)
        else:
            for line in lines:
                terminal.result(line)
        return int(ExitCode.OK)
    made = comparison.compare(request, terminal)
    if as_json:
        print_json(made.document, terminal)
    elif dry_run:
        printed.print_dry(made.document, terminal)
    else:
        printed.print_comparison(made.document, made.plan, terminal)
    return int(made.code)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
