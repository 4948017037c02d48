"""`fairprune compare`: methods side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairprune_cli.commands.flags import (
    COMMON,
    SET,
    Config,
    DryRun,
    Given,
    Json,
    Quiet,
    Trust,
    flags,
    names_of,
    resolved,
)
from fairprune_cli.commands.output import print_json, say_again, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.setting_values import Wrong
from fairprune_cli.core.settings import check_value
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.idle import warn_of_idle
from fairprune_cli.run.options import Resolved, Settings

MOST_SEEDS = 1000


@flags(
    "model", "methods", "sparsities", "seeds", "granularities", "grid", "reference", "gather", "list_commands",
    "attr", "notion", "tolerance", "target", "epochs", "batch_size", "lr", SET, "out", "force", "confidence", "split",
    *COMMON,
)  # fmt: skip
def command(
    given: Given,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="dense checkpoint; {seed} in it is each seed in turn")],
    methods: Annotated[list[str], typer.Option("--methods", metavar="A,B", help="methods to compare")],
    sparsities: Annotated[list[str], typer.Option("--sparsities", metavar="S,T", help="sparsities to compare them at")],
    seeds: Annotated[int, typer.Option("--seeds", metavar="<integer>", min=1, max=MOST_SEEDS, help="how many")] = 5,
    granularities: Annotated[
        list[str] | None,
        typer.Option("--granularities", metavar="A,B", help="any of channel, weight and 2:4 [channel]"),
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option("--grid", metavar="KEY=V1,V2", help="settings to vary; repeated, their product")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="A,B", help="what the others are held against [magnitude, or the first]"),
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
    _refuse_several({"--gather": gather, "--list-commands": list_commands, "--dry-run": dry_run})
    settings = resolved(config, given)
    asked, at = names_of(methods), names_of(sparsities)
    patterns = names_of(granularities or ("channel",))
    if not gather:
        varied = {pair.partition("=")[0].strip().replace("-", "_") for pair in grid or ()}
        _look_ahead(model, asked, at, patterns, seeds, settings, out, varied, terminal)
    from fairprune_cli import compare as comparison
    from fairprune_cli.compare import printed

    warn_of_idle(given, settings.settings, "compare", terminal, asked, spelled=given.spelled)
    request = comparison.Request(
        model, settings, asked, comparison.targets(patterns, at), seeds,
        tuple(grid or ()), names_of(reference or ()), out, force, trust, dry_run, gather, list_commands,
    )  # fmt: skip
    if list_commands:
        return _list(comparison.list_commands(request), as_json, terminal)
    made = comparison.compare(request, terminal)
    if as_json:
        print_json(made.document, terminal)
    elif dry_run:
        printed.print_dry(made.document, terminal)
    else:
        printed.print_comparison(made.document, made.plan, terminal)
    if dry_run:
        say_again(terminal, as_json)
    else:
        say_next(terminal, as_json, *_first_done(made.document, model, settings.settings.attr))
    return int(made.code)


def _refuse_several(kinds: dict[str, bool]) -> None:
    """Refuse two kinds of looking ahead at once."""
    alone = [flag for flag, wanted in kinds.items() if wanted]
    if len(alone) > 1:
        raise FairpruneError(f"{' and '.join(alone)} cannot go together", where="fairprune compare", hint="give one")


def _list(lines: list[str], as_json: bool, terminal: Terminal) -> int:
    if as_json:
        print_json({"commands": lines}, terminal)
    else:
        for line in lines:
            terminal.result(line)
    return int(ExitCode.OK)


def _look_ahead(
    model: str, methods: tuple[str, ...], sparsities: tuple[str, ...], granularities: tuple[str, ...], seeds: int,
    settings: Resolved, out: Path | None, varied: set[str], terminal: Terminal,
) -> None:  # fmt: skip
    """Refuse what can be refused at once, and say what begins; what a grid varies is looked at point by point."""
    from fairprune_cli.run.early import look_ahead, look_at_models

    for flag, key, names in (
        ("--methods", "method", methods), ("--granularities", "granularity", granularities),
        ("--sparsities", "sparsity", sparsities),
    ):  # fmt: skip
        for name in names:
            try:
                check_value(Settings, key, name)
            except Wrong as wrong:
                raise FairpruneError(wrong.what, where=flag, hint=wrong.hint) from None
    if out is not None:
        refuse_no_room(out)
    first = settings.settings.seed
    paths = [Path(model.replace("{seed}", str(seed))) for seed in range(first, first + seeds)]
    if "data" in varied:
        look_at_models(settings.settings.arch, dict.fromkeys(paths), graphs=False)
        manifest = "several manifests"
    else:
        manifest = str(look_ahead(settings, dict.fromkeys(paths), every="attr" in varied, graphs=False))
    terminal.note(f"{model}: comparing {', '.join(methods)} on {manifest}")


def _first_done(document: dict[str, Any], model: str, attributes: tuple[str, ...]) -> list[object]:
    """The prune command of the first cell that is done: any of them can be had again by itself."""
    for cell in document["cells"]:
        if cell["status"] == "done":
            named = [word for name in attributes for word in ("--attr", name)]
            own = ("--method", cell["method"], "--granularity", cell["granularity"], "--sparsity", cell["sparsity"])
            return ["prune", model.replace("{seed}", str(cell["seed"])), *own, *named]
    return ["compare", "--help"]
