"""Inside a GitHub Actions job: annotations for gates that did not pass, and the step's summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.view import View
from fairprune_cli.report.writers import github


def annotate(report: Mapping[str, Any], env: Mapping[str, str], terminal: Terminal) -> None:
    """One annotation per gate that did not pass, to stderr, where the runner finds them; nothing elsewhere.

    stdout is left to the result, which may be a JSON document.
    """
    if env.get("GITHUB_ACTIONS") == "true":
        for line in github.annotation_lines(View(report)):
            terminal.command(line)


def publish(report: Mapping[str, Any], env: Mapping[str, str], terminal: Terminal) -> bool:
    """Append the summary to the file that GITHUB_STEP_SUMMARY names; annotations go to stdout.

    Returns:
        False where the variable is not set, and nothing was done.

    Raises:
        FairpruneError: the file cannot be written (exit code 3).
    """
    name = env.get("GITHUB_STEP_SUMMARY")
    if not name:
        return False
    path = Path(name)
    try:
        there = path.stat().st_size if path.exists() else 0
        text = github.summary(build_document(report), github.LIMIT - there)
        # Appended and not replaced: other programs of the same step write into it as well.
        with open(path, "a", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as error:
        raise FairpruneError(
            f"cannot write: {error.strerror or error}", where=f"GITHUB_STEP_SUMMARY ({path})", code=ExitCode.RUNTIME
        ) from error
    for line in github.annotation_lines(View(report)):
        terminal.command(line, result=True)
    terminal.note(f"appended to the step summary: {path}")
    return True
