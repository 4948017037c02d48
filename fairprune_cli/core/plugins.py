"""Plug-ins by folder: one module per method, notion or relaxation, found by listing its package."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from fairprune_cli.core.errors import FairpruneError, nearest


def names(package: str) -> list[str]:
    """Names of the plug-ins in `package`, as users type them (`worst_group.py` is `worst-group`)."""
    # From the folder alone: --help lists plug-ins, and importing their package would load torch.
    folder = Path(__file__).parents[1].joinpath(*package.split(".")[1:])
    found = (info.name for info in pkgutil.iter_modules([str(folder)]))
    return sorted(name.replace("_", "-") for name in found if name not in {"base", "common"})


def find(package: str, name: str, kind: str) -> ModuleType:
    """Import the plug-in `name` of `package`.

    Raises:
        FairpruneError: there is no such plug-in; the message names the nearest.
    """
    known = names(package)
    if name not in known:
        raise FairpruneError(f"unknown {kind} {name!r}", hint=nearest(name, known))
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")
