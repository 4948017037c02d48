"""Where the images of a manifest lie, and what is said of those that are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.manifest.rows import Records
from fairprune_cli.data.manifest.spec import Spec
from fairprune_cli.data.tables.codes import some_rows
from fairprune_cli.data.tables.image_paths import check_files
from fairprune_cli.data.tables.long_columns import LongPaths
from fairprune_cli.data.tables.shards import Shards
from fairprune_cli.data.tables.table import SPLITS


def located(
    spec: Spec, root: Path | None, records: Records, shards: Shards | None, splits: np.ndarray | None,
    rows: Sequence[int], problems: Problems, warnings: list[str], split: str | None,
) -> Sequence[str]:  # fmt: skip
    """The images' paths as they are stored, or as they are written where `root` is None.

    Args:
        rows: of each record in its table; split: as for `load_manifest`.

    Returns:
        None of them where they cannot be looked for.
    """
    if records.files is None:
        return ()
    if isinstance(records.files, LongPaths):
        _note_twice(records.files, records, problems)
        return records.files
    known = None if splits is None else splits.tolist()
    if root is None:
        return check_files(Path(), records.files, known, records.table, rows, problems, fault_of=lambda _: None)
    if spec.shards is not None and shards is None and root.is_dir():
        return ()
    if not root.is_dir():
        problems.add(f"the image root {str(root)!r} is not a folder", "missing-root")
        return ()
    fault_of = None if shards is None else shards.fault
    absent: list[int] = []
    spare = None if split is None or splits is None else (splits != SPLITS.index(split)).tolist()
    files = check_files(
        root, records.files, known, records.table, rows, problems, fault_of=fault_of, spare=spare, absent=absent
    )
    if absent:
        text = f"{len(absent):,} images of other splits than {split} are not here: whether {split} has copies of them"
        warnings.append(f"{text} is not known")
    return files


def _note_twice(files: LongPaths, records: Records, problems: Problems) -> None:
    """Note images that stand in two rows, whatever the spelling."""
    twice = files.places.twice()
    if len(twice):
        rows = [int(row) for row in records.rows[twice].tolist()]
        name = files.some(twice[:1].tolist())[0]
        text = f"{some_rows(records.table, rows)}: images that stand in an earlier row already, as {name!r}"
        problems.add(text, "doubled", records.table, rows[0])


def unlike(files: Sequence[str]) -> np.ndarray:
    """What `assign_splits` takes for hashes of images that nobody has read: zeros, which equal nothing."""
    return np.zeros((len(files), 16), np.uint8)


def unseen(spec: Spec, records: Records) -> list[str]:
    """What is not known of images that are not opened."""
    if records.splits is None or spec.splits.val_share or records.val_share:
        return ["the splits are drawn by shares, and images are not opened: copies of one image may be in two splits "
                "where they would be kept in one; write the splits into the table to be sure"]  # fmt: skip
    return ["images are not opened: that no copy of one is in two splits was not looked at"]
