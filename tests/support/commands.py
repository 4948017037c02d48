"""Commands as a user's shell runs them, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fairprune(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 240.0, stdin: str | None = None
) -> Ran:
    """Run the command in a process of its own, as a user's shell would."""
    environment = {**os.environ, "PYTHONWARNINGS": "error::ResourceWarning", **(env or {})}
    done = subprocess.run(
        [sys.executable, "-m", "fairprune_cli", *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
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
