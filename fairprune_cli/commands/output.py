"""What a command says when its work is done: on stdout, to a tracker, to the pipeline's runner."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fairprune_cli.core.launch import is_first
from fairprune_cli.core.signals import if_stopped
from fairprune_cli.core.terminal import Terminal

if TYPE_CHECKING:
    from fairprune_cli.run.audit_report import Outcome


_results: ContextVar[TextIO | None] = ContextVar("results", default=None)
"""What was stdout when the command began."""


def terminal_of(quiet: bool = False) -> Terminal:
    """The terminal of this process; of several processes the first one talks."""
    if not is_first():
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
        return Terminal(nowhere, nowhere, quiet=True)
    return Terminal(_results.get(), quiet=quiet)


@contextlib.contextmanager
def for_results_alone() -> Iterator[None]:
    """A command: stdout is its terminal's; what else prints, such as a network's own code, does so on stderr."""
    token = _results.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results.reset(token)


def print_json(document: Any, terminal: Terminal) -> None:
    """One JSON document on stdout."""
    terminal.json(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False))


def tell(report: dict[str, Any], folder: Path | None, terminal: Terminal) -> None:
    """Tell the tracker and the pipeline's runner, where there are such; of several processes the first one does."""
    if not is_first():
        return
    from fairprune_cli.report import github_actions as github
    from fairprune_cli.report import tracking

    tracking.track(report, folder, terminal)
    github.annotate(report, os.environ, terminal)


def conclude(outcome: Outcome, terminal: Terminal, as_json: bool, dry_run: bool) -> int:
    """Show a report, or the plan of a dry run; returns the exit code."""
    from fairprune_cli.report import console

    folder = outcome.folder
    with if_stopped(lambda: ("nothing was written" if folder is None else f"the report is in {folder}", "")):
        if not dry_run:
            tell(outcome.report, folder, terminal)
        if as_json:
            print_json(outcome.report, terminal)
        elif dry_run:
            console.print_plan(outcome.report, terminal)
        else:
            console.print_report(outcome.report, terminal, folder)
    return int(outcome.code)


def say_next(terminal: Terminal, as_json: bool, *words: object) -> None:
    """The command to type next, on stderr, so that it can be copied; not beside JSON, and not where quiet is asked for.

    Args:
        words: of the command after `fairprune`, quoted for a shell where they have to be.
    """
    if not as_json:
        terminal.note(f"next: {shlex.join(['fairprune', *map(str, words)])}")


def say_again(terminal: Terminal, as_json: bool, *more: object) -> None:
    """The same command: after a --dry-run without that, and with what is given here in the end."""
    say_next(terminal, as_json, *(word for word in sys.argv[1:] if word != "--dry-run"), *more)


def free(path: str) -> str:
    """This path, or the first of `NAME-2.SUFFIX` and so on that is not there yet."""
    first = Path(path)
    tries = (first.with_stem(f"{first.stem}-{number}") for number in itertools.count(2))
    return str(next(one for one in itertools.chain([first], tries) if not os.path.lexists(one)))
