"""What torchrun has told this process in its environment; without torch."""

from __future__ import annotations

import os


def several_processes() -> bool:
    """Whether this process is one of several of a run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that writes and talks: alone, or of rank 0."""
    return not several_processes() or os.environ.get("RANK", "0") == "0"


def started_as() -> str:
    """The command that starts as many processes on one machine; a run may be continued with another number of them."""
    if not several_processes():
        return "fairprune"
    return f"torchrun --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', os.environ['WORLD_SIZE'])} -m fairprune_cli"
