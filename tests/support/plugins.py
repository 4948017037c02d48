"""Made-up plug-ins: a folder laid over that of a kind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from fairprune_cli.core.plugins import Kind
from fairprune_cli.models.architectures import registry


@contextmanager
def plugged_in(kind: Kind, folder: Path, **files: str) -> Iterator[None]:
    """A block in which the kind has these files beside its own; they lie in `folder` and are gone afterwards."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))
    package = importlib.import_module(kind.package)
    before = list(package.__path__)
    importlib.invalidate_caches()
    package.__path__ = [*before, str(folder)]
    registry._families.cache_clear()
    try:
        yield
    finally:
        package.__path__ = before
        registry._families.cache_clear()
        for name in files:
            sys.modules.pop(f"{kind.package}.{name}", None)
            if hasattr(package, name):
                delattr(package, name)
