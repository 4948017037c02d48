"""What the contract cannot find out by itself: cases worked by hand, rows of values, small data sets.

Every module of this folder may add to any of the tables METHODS, NOTIONS, RELAXATIONS, DATA_SETS and SECTIONS, by the
plug-in's name; a plug-in's own file here is thus all that it needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def gathered(table: str) -> dict[str, Any]:
    """The tables of that name in all modules of this folder, as one."""
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(__path__):
        found |= getattr(importlib.import_module(f"{__name__}.{info.name}"), table, {})
    return found
