"""The command line: one module per command, put together here.

Heavy modules are imported inside the commands, so that --help does not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from fairprune_cli import __version__
from fairprune_cli.commands import (
    audit,
    compare,
    config,
    data,
    decoded_images,
    demo,
    export,
    inspect,
    measure,
    prune,
    report,
    train,
)  # fmt: skip
from fairprune_cli.commands.help_page import page_of, with_help_all
from fairprune_cli.commands.output import for_results_alone

_NAMES = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True)
class _Command:
    """A command by its name.

    Attributes:
        short: what the list of commands says of it, on a line of 80 columns.
        common: parameters that --help shows; all where there are none.
        lines: commands that --help says to type.
    """

    run: Callable[..., int]
    short: str
    common: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


_COMMANDS = {
    "prune": _Command(
        prune.command, "a smaller model under a fairness constraint, and its audit",
        ("sparsity", "attr", "method", "granularity", "notion", "tolerance", "epochs", "data", "out", "resume",
         "max_gap", "max_degradation", "dry_run"),
        ("fairprune prune model.pt --sparsity 0.8 --attr gender",
         "fairprune audit runs/model-bifp-channel-0.8 --against model.pt --max-gap 0.1"),
    ),
    "audit": _Command(
        audit.command, "accuracy and gaps per group, with intervals and gates",
        ("against", "predictions", "attr", "notion", "max_gap", "max_degradation", "min_accuracy", "policy", "split",
         "data", "out", "as_json"),
        ("fairprune audit model.pt --attr gender --max-gap 0.1 --out audit",
         "fairprune audit --predictions predicted.csv --data manifest.yaml"),
    ),
    "compare": _Command(
        compare.command, "methods side by side, over sparsities and seeds",
        ("methods", "sparsities", "seeds", "granularities", "grid", "attr", "epochs", "data", "out", "gather",
         "dry_run"),
        ("fairprune compare model.pt --methods bifp,magnitude --sparsities 0.8,0.9 --attr gender",),
    ),
    "train": _Command(
        train.command, "a dense model, for those who have none",
        ("arch", "epochs", "out", "force", "batch_size", "lr", "data", "seed", "device", "dry_run"),
        ("fairprune train --arch resnet10 --data manifest.yaml",
         "fairprune prune model.pt --sparsity 0.8 --attr gender"),
    ),
    "export": _Command(
        export.command, "the model as a file for other tools",
        ("to", "int8", "store", "size", "data", "out", "force", "arch"),
        ("fairprune export runs/model-bifp-channel-0.8 --to onnx",),
    ),
    "inspect": _Command(
        inspect.command, "what a model is made of; needs no data", (),
        ("fairprune inspect model.pt",),
    ),
    "measure": _Command(
        measure.command, "size, memory and speed, beside the dense model", (),
        ("fairprune measure runs/model-bifp-channel-0.8 --against model.pt",),
    ),
    "report": _Command(
        report.command, "a run's report in another format", (),
        ("fairprune report runs/model-bifp-channel-0.8 --to md",),
    ),
    "demo": _Command(demo.command, "the whole story on drawn faces, in three minutes", (), ("fairprune demo",)),
}  # fmt: skip
_DATA = {
    "init": _Command(
        data.init_command, "write a manifest for a table or a folder of images", (),
        ("fairprune data init table.csv --attr gender", "fairprune data check"),
    ),
    "check": _Command(
        data.check_command, "check manifest, table and every image", (), ("fairprune data check manifest.yaml",)
    ),
    "sample": _Command(
        data.sample_command, "write the embedded data set, of drawn faces", (),
        ("fairprune data sample --out sample", "fairprune data check sample"),
    ),
    "stats": _Command(
        data.stats_command, "counts per split, label and group, and a picture", (),
        ("fairprune data stats manifest.yaml --out groups.html",),
    ),
    "cache": _Command(
        decoded_images.cache_command, "show or empty the cache of decoded images", (), ("fairprune data cache",)
    ),
}  # fmt: skip
_CONFIG = {
    "list": _Command(config.list_command, "every setting with its meaning, default and range"),
    "explain": _Command(
        config.explain_command, "one setting in full", (), ("fairprune config explain sparsity",)
    ),
    "schema": _Command(
        config.schema_command, "the JSON schema of fairprune.yaml", (),
        ("fairprune config schema > fairprune.schema.json",),
    ),
}  # fmt: skip


def _listed(into: typer.Typer, commands: dict[str, _Command]) -> None:
    for name, one in commands.items():
        page = page_of(one.common, one.lines)
        into.command(name, cls=page, short_help=one.short)(with_help_all(for_results_alone()(one.run)))


def _bare(context: typer.Context) -> None:
    """Without a command: its help, on stdout, as what was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def _group(text: str) -> typer.Typer:
    made = typer.Typer(rich_markup_mode=None, help=text, invoke_without_command=True)
    made.callback()(_bare)
    return made


app = typer.Typer(
    name="fairprune", rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True,
    context_settings=_NAMES, help="Make a trained image classifier several times smaller without making it unfairer.",
    epilog="\b\nNew here:         fairprune demo\nImages of yours:  fairprune data init FOLDER",
)  # fmt: skip
_listed(app, _COMMANDS)
for _name, _text, _commands in (
    ("data", "manifests and data sets: init, check, sample, stats, cache", _DATA),
    ("config", "settings, each explained: list, explain, schema", _CONFIG),
):
    _below = _group(_text[0].upper() + _text[1:] + ".")
    _listed(_below, _commands)
    app.add_typer(_below, name=_name, short_help=_text)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairprune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Prune, audit and export image classifiers under fairness constraints."""
    _bare(context)
