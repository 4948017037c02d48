"""Commands as a user's shell runs them, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ended


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fairprune(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 240.0,
    stdin: str | None = None,
    fresh: bool = False,
) -> Ran:
    """Run the command in a process of its own, as a user's shell would.

    Args:
        env: variables to set beside those of this process.
        fresh: with a new interpreter, which takes two seconds to import torch; otherwise the process is forked from
            one that has imported it and done nothing else.
    """
    environment = {**os.environ, **(env or {})}
    if not fresh:
        with tempfile.TemporaryDirectory() as folder:
            return Ran(*ended(arguments, cwd, environment, Path(folder), timeout, stdin))
    done = subprocess.run(
        [sys.executable, "-m", "fairprune_cli", *arguments], cwd=cwd, capture_output=True, text=True,
        env={"PYTHONWARNINGS": "error::ResourceWarning", **environment},
        timeout=timeout, input=stdin, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Work:
    """A folder with model.pt and manifest.yaml."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"
