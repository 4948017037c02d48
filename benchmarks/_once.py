"""Work that several processes share: one of them does it, and the others wait or take something else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairprune_cli.compare import claims


def once(path: Path, make: Callable[[], Any]) -> None:
    """Have `make` write `path` unless it is there; of several processes one makes it and the others wait."""
    while not path.exists():
        try_once(path, make)
        time.sleep(0 if path.exists() else 2)


def try_once(path: Path, make: Callable[[], Any]) -> None:
    """Have `make` write `path` unless it is there, or another process is at it."""
    with claims.claim(path.parent / "claims" / f"{path.name}.json") as ours:
        if ours and not path.exists():
            make()
