"""One shell command per cell, for whatever hands out work: `fairprune prune` with every setting spelt out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from fairprune_cli.core.settings import values_of
from fairprune_cli.run.folder import resume_arguments
from fairprune_cli.run.options import FIELDS, GATES, INPUTS, PRUNING, SHOWN, Resolved, Settings

FLAGS = (*PRUNING, *GATES, *SHOWN, *INPUTS)


def prune_command(model: Path, resolved: Resolved, out: Path, trust: bool, force: bool) -> str:
    """The command that computes a cell into `out`, quoted for a POSIX shell.

    Every setting that is not at its default, or that a file or variable had a say in, is named, so that the command
    resolves to the same settings wherever it runs.
    """
    words = ["fairprune", "prune", str(model)]
    for key, value in values_of(resolved.settings).items():
        named = resolved.sources.get(key, "default") != "default"
        if value is None or not (named or value != FIELDS[key].default):
            continue
        words += _arguments(key, value)
    words += ["--out", str(out)]
    words += ["--trust-checkpoint"] if trust else []
    words += ["--force"] if force else []
    return " ".join(shlex.quote(word) for word in words)


def resume_command(out: Path, settings: Settings, trust: bool) -> str:
    """The command that continues a cell whose state was saved."""
    return shlex.join(["fairprune", *resume_arguments(out, settings, trust)])


def _arguments(key: str, value: Any) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):  # such flags take no value
        return [flag] if value and key in FLAGS else ["--set", f"{key}={str(value).lower()}"]
    if isinstance(value, tuple):
        return [word for item in value for word in _option(flag, item)]
    text = repr(value) if isinstance(value, float) else str(value)
    if key in FLAGS:
        return _option(flag, text)
    return ["--set", f"{key}={text}"]


def _option(flag: str, text: str) -> list[str]:
    """A value that looks like an option itself has to be tied to its own."""
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
