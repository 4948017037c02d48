"""One shell command per cell, for whatever hands out work: `fairprune prune` with every setting spelt out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from fairprune_cli.core.settings import values_of
from fairprune_cli.run.folder import resume_arguments
from fairprune_cli.run.options import FIELDS, Resolved, Settings

# Keys of Settings that `fairprune prune` has a flag for; the others go through --set.
FLAGS = (
    "sparsity", "attr", "method", "granularity", "sparsity_of", "round_to", "store", "fairness_on",
    "mask_step", "notion", "relaxation", "tolerance",
    "epochs", "batch_size", "lr", "upper_every", "max_gap", "max_degradation", "min_accuracy", "min_group",
    "confidence", "point_estimate", "split", "data", "arch", "seed", "device",
)  # fmt: skip


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


def resume_command(out: Path, settings: Settings) -> str:
    """The command that continues a cell whose state was saved."""
    return shlex.join(["fairprune", *resume_arguments(out, settings)])


def _arguments(key: str, value: Any) -> list[str]:
    if key == "point_estimate":
        return ["--point-estimate"] if value else ["--set", "point_estimate=false"]
    flag = "--" + key.replace("_", "-")
    if isinstance(value, tuple):
        return [word for item in value for word in _option(flag, item)]
    text = repr(value) if isinstance(value, float) else str(value)
    if key in FLAGS:
        return _option(flag, text)
    return ["--set", f"{key}={text.lower() if isinstance(value, bool) else text}"]


def _option(flag: str, text: str) -> list[str]:
    """A value that looks like an option itself has to be tied to its own."""
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
