"""A first manifest for data that has none: what `fairprune data init` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.asked import Asked, quoted
from fairprune_cli.data.manifest.build import build_manifest
from fairprune_cli.data.manifest.guess import guess
from fairprune_cli.data.manifest.guess_transform import guess_transform

_MOST_ATTRIBUTES = 100


def init_manifest(
    path: Path,
    *,
    name: str | None = None,
    out: Path | None = None,
    asked: Asked | None = None,
    tell: Callable[[str], None] | None = None,
) -> str:
    """YAML text of a first manifest for a table, a folder with a table or one per split, or class folders.

    The split that the data has is kept. Guesses are marked with comments; an attribute with which the manifest would
    not load is left as a comment that says why.

    Args:
        name: of the data set; the name of its folder when None.
        out: file that the text will be written to, which its paths are relative to; when None
            `manifest.yaml` beside the table, or in the folder.
        asked: choices that are not to be guessed.
        tell: called with each guess, in words.

    Raises:
        FairpruneError: nothing is recognised, the data has faults of its own, or it has a split that cannot be kept
            without a choice; the message says which to write.
    """
    path, asked = Path(path), asked or Asked()
    found = guess(path, None if out is None else Path(out).parent, asked)
    tail, notes = guess_transform(found.base if out is None else _folder_of(path), found.sample, asked.size)
    head = ["version: 1", f"name: {quoted(name or _folder_of(path).absolute().name or 'data')}", *found.lines]

    def text(attributes: Sequence[tuple[str, str]], left: Sequence[str] = ()) -> str:
        remark = "" if asked.attributes else "  # guess: the groups to be fair to; keep those that matter"
        lines = [f"attributes:{remark}"] if attributes else []
        lines += [f"  {quoted(attribute)}: {value}" for attribute, value in attributes]
        return "\n".join([*head, *lines, *left, *tail]) + "\n"

    where = out or found.base / "manifest.yaml"
    shown = found.attributes if asked.attributes else found.attributes[:_MOST_ATTRIBUTES]
    kept, left = list(shown), []
    if not asked.attributes and not _loads(text(kept), where) and _loads(text([]), where):
        kept = [item for item in kept if _loads(text([item]), where)]
        left = [
            f"# left out, as a group has no test image or a value does not fit: {quoted(attribute)}: {value}"
            for attribute, value in shown if (attribute, value) not in kept
        ]  # fmt: skip
    build_manifest(text(kept, left).encode(), where)
    told = [*found.notes, *notes]
    if not asked.attributes:
        names = ", ".join(attribute for attribute, _ in kept)
        told.append(
            f"guess: the groups to be fair to are those of {names}; --attr names others" if kept
            else "no column tells groups to be fair to: an audit of groups needs one under `attributes`"
        )  # fmt: skip
    if more := len(found.attributes) - len(shown):
        told.append(f"{more:,} more columns of few values are left out; --attr names those that matter")
    if left:
        told.append(f"{len(left)} attributes are left out, as the manifest says")
    if tell is not None:
        for line in told:
            tell(line)
    return text(kept, left)


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _loads(text: str, where: Path) -> bool:
    try:
        build_manifest(text.encode(), where)
    except FairpruneError:
        return False
    return True
