"""Names of attributes as they are asked for, held against those that a manifest has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, nearest


def refuse_unknown_attribute(name: str, known: Collection[str], path: Path) -> None:
    """Refuse an attribute, or an intersection as `gender*age`, that a manifest does not have.

    Raises:
        FairpruneError: it names the nearest.
    """
    for part in (part.strip() for part in name.split("*")):
        if part in known:
            continue
        raise FairpruneError(f"no attribute {part!r} in the manifest", where=str(path), hint=nearest(part, known))


def refuse_unnamed_attribute(asked: Sequence[str], known: Collection[str]) -> None:
    """Refuse to guess which of several attributes is meant where none is named."""
    if not asked and len(known) > 1:
        raise FairpruneError(
            "no sensitive attribute was named", where="--attr",
            hint=f"give one or more of: {', '.join(known)}; a*b for an intersection",
        )  # fmt: skip
