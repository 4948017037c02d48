"""Where a result comes from: command, versions, machine, time."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import shlex
import sys
from typing import Any

from fairprune_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "safetensors")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "fairprune": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def command() -> str:
    """What this process was called with, quoted for a shell."""
    return shlex.join(["fairprune", *sys.argv[1:]])


def collect(seed: int, device: str, machine: str, started: float, finished: float) -> dict[str, Any]:
    """The report's provenance block; times are ISO 8601 in UTC.

    Args:
        device: as torch names it; machine: its kind in words (`device.machine`).
        started, finished: seconds since the epoch.
    """
    return {
        "command": command(), "versions": versions(), "seed": seed,
        "device": device, "machine": machine,
        "started": _iso(started), "finished": _iso(finished),
    }  # fmt: skip


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
