"""Where a result comes from: command, versions, machine, time, memory."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import shlex
import sys
from typing import Any

import torch

from fairprune_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "safetensors")


def process_peak_bytes(device: torch.device) -> int | None:
    """Largest memory of the process so far, in bytes: on CUDA what torch allocated, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "fairprune": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def machine(device: torch.device, threads: int) -> str:
    """The kind of machine in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{platform.system()} {name}, {threads} CPU threads"


def collect(seed: int, device: torch.device, threads: int, started: float, finished: float) -> dict[str, Any]:
    """The report's provenance block; times are ISO 8601 in UTC."""
    return {
        "command": shlex.join(["fairprune", *sys.argv[1:]]), "versions": versions(), "seed": seed,
        "device": str(device), "machine": machine(device, threads),
        "started": _iso(started), "finished": _iso(finished),
    }  # fmt: skip


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
