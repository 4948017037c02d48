"""A manifest's own words, looked at before its rows are read: its keys, its attributes, that what it names is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.attribute_names import refuse_unknown_attribute, refuse_unnamed_attribute
from fairprune_cli.data.manifest.spec import Spec, parse

TABLES = (".csv", ".tsv", ".parquet")


def how_to_mend(path: Path) -> str:
    """What to do about a manifest at fault."""
    if path.suffix.lower() in TABLES:
        return f"this is a table: `fairprune data init {path}` writes a manifest of it"
    return "run `fairprune data check` again after mending them"


def check_outline(data: bytes, path: Path, attributes: Sequence[str], every: bool) -> None:
    """Look at a manifest without reading a table or an image.

    Args:
        data: of the manifest at `path`.
        attributes: that are asked for; every: whether all are meant where none is.

    Raises:
        FairpruneError: every fault of its keys and places at once, or an attribute that it does not have.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return  # who reads it says where
    problems = Problems(str(path))
    try:
        spec = parse(text, path.absolute().parent.name, problems)
    except FairpruneError as error:
        error.hint = error.hint or how_to_mend(path)
        raise
    _check_places(spec, path.parent, problems)
    problems.raise_if_any(how_to_mend(path))
    known = [attribute.name for attribute in spec.attributes]
    if not every:
        refuse_unnamed_attribute(attributes, known)
    for name in attributes:
        refuse_unknown_attribute(name, known, path)


def _check_places(spec: Spec, folder: Path, problems: Problems) -> None:
    for table in (spec.table, *spec.tables.values()):
        if table and not (folder / table).exists():
            problems.add(f"the table {str(folder / table)!r} cannot be read: No such file or directory")
    if spec.format != "table" and not (folder / spec.images).is_dir():
        problems.add(f"the image root {str(folder / spec.images)!r} is not a folder", "missing-root")
