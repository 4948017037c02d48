"""The command line: one module per command, put together here.

Heavy modules are imported inside the commands, so that --help does not wait for torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fairprune_cli import __version__
from fairprune_cli.commands import (
    audit,
    compare,
    config,
    data,
    demo,
    export,
    inspect,
    measure,
    prune,
    report,
    train,
)  # fmt: skip
from fairprune_cli.commands.output import for_results_alone


def _group(text: str) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)


app = typer.Typer(
    name="fairprune", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a trained image classifier several times smaller without making it unfairer.",
)  # fmt: skip
for _name, _command in (
    ("prune", prune.command), ("audit", audit.command), ("compare", compare.command),
    ("train", train.command), ("export", export.command), ("inspect", inspect.command), ("measure", measure.command),
    ("report", report.command), ("demo", demo.command),
):  # fmt: skip
    app.command(_name)(for_results_alone()(_command))

_data = _group("Manifests and data sets.")
for _name, _command in (
    ("init", data.init_command), ("check", data.check_command), ("sample", data.sample_command),
    ("stats", data.stats_command), ("cache", data.cache_command),
):  # fmt: skip
    _data.command(_name)(for_results_alone()(_command))
app.add_typer(_data, name="data")

_config = _group("Settings: what there is, and what each means.")
for _name, _command in (
    ("list", config.list_command), ("explain", config.explain_command), ("schema", config.schema_command),
):  # fmt: skip
    _config.command(_name)(for_results_alone()(_command))
app.add_typer(_config, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairprune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Prune, audit and export image classifiers under fairness constraints."""
