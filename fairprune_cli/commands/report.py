"""`fairprune report`: a run's report.json rendered again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fairprune_cli.commands.flags import Force, Out
from fairprune_cli.commands.output import terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.plugins import REPORT_WRITER


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder or report.json")],
    to: Annotated[str, typer.Option("--to", metavar="<format>", help=f"one of {', '.join(REPORT_WRITER.names())}")],
    base: Annotated[
        Path | None, typer.Option("--base", help="run folder or report.json of the base branch, for --to comment")
    ] = None,
    out: Out = None,
    force: Force = False,
) -> int:
    """Render a run's report.json again, to stdout or --out; github also knows the step summary of its jobs."""
    from fairprune_cli.report import github_actions as github
    from fairprune_cli.report import read as rerender
    from fairprune_cli.report import render

    terminal = terminal_of()
    if out is not None:
        refuse_no_room(out)
    document = rerender.read_report(run)
    compared = None if base is None else rerender.read_report(base)
    if to == "github" and out is None and base is None and github.publish(document, os.environ, terminal):
        return int(ExitCode.OK)
    text = render(document, to, compared)
    if out is None:
        (terminal.json if to == "json" else terminal.document)(text.rstrip("\n"))
    else:
        rerender.write_text(out, text, force)
        terminal.note(f"written: {out}")
    return int(ExitCode.OK)
