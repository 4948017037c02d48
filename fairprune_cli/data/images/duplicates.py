"""Images with equal bytes in two splits: what was trained on must not be audited as if it were new."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from fairprune_cli.core.errors import Problem, Problems
from fairprune_cli.core.parallel import Progress
from fairprune_cli.data.content_hashes import content_numbers
from fairprune_cli.data.images.stored import image_hashes
from fairprune_cli.data.manifest.manifest import ALLOW_COPIES, DROP_COPIES, Manifest
from fairprune_cli.data.tables.table import SHOWN, SPLITS

WAYS_OUT = (
    "take them out of all splits but one, or write into the manifest "
    f"`duplicates: {DROP_COPIES}` (keeps the one in the later of train, val, test) "
    f"or `duplicates: {ALLOW_COPIES}` (keeps all, and the report says so)"
)


@dataclass(frozen=True, eq=False)
class SharedImages:
    """Images whose bytes also stand in a later split.

    Attributes:
        rows: int64 [n], ascending, of the earlier ones. others: int64 [n], of an equal one in the latest split.
    """

    rows: np.ndarray
    others: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, manifest: Manifest) -> list[str]:
        """A sentence for each, with both files, rows and splits."""
        return [
            f"{manifest.where(i)}: image {manifest.files[i]!r} ({SPLITS[manifest.splits[i]]}) has the same bytes as "
            f"{manifest.files[j]!r} ({SPLITS[manifest.splits[j]]}, {manifest.where(j)})"
            for i, j in zip(self.rows.tolist(), self.others.tolist(), strict=True)
        ]


def shared_images(manifest: Manifest, hashes: np.ndarray, split: str | None = None) -> SharedImages:
    """Which images of an earlier split (train before val before test) are in a later one as well.

    Args:
        hashes: uint8 [N, 16] of what the images hold; zeros are compared with nothing.
        split: images that this split does not have are passed over.
    """
    splits = manifest.splits.astype(np.int64)
    held = np.flatnonzero(hashes.any(1) & (splits >= 0))
    content = content_numbers(hashes[held])
    # In the order of splits, so that the last one written for each content is in its latest split.
    order = np.argsort(splits[held], kind="stable")
    latest = np.zeros(len(held), dtype=np.int64)
    latest[content[order]] = held[order]
    others = latest[content]
    earlier = splits[held] < splits[others]
    if split is not None:
        mine = content[splits[held] == SPLITS.index(split)]
        earlier &= np.isin(content, mine)
    return SharedImages(held[earlier], others[earlier])


def parted(manifest: Manifest, split: str | None = None, progress: Progress | None = None) -> Manifest:
    """The manifest whose splits share no image, unless it allows that; `shared` in it says how many they were.

    Args:
        split: where only one is going to be looked at; of the others, files of another size than all of its own are
            not read, unless some are to be dropped.
        progress: as for `image_hashes`.

    Raises:
        FairpruneError: splits share images and the manifest does not say what to do; each with file and row.
    """
    split = None if manifest.duplicates == DROP_COPIES else split  # else its counts were not those of `data stats`
    found = shared_images(manifest, _hashes(manifest, split, progress), split)
    if not manifest.duplicates:
        problems = Problems(str(manifest.path))
        faults = [
            Problem(text, "duplicate-across-splits", manifest.files[i], int(manifest.rows[i]))
            for text, i in zip(found.texts(manifest), found.rows.tolist(), strict=True)
        ]
        problems.add_some(faults, SHOWN, "images stand in two splits")
        problems.raise_if_any(WAYS_OUT)
    if manifest.duplicates == DROP_COPIES and len(found):
        manifest = without(manifest, found)
        manifest = replace(manifest, warnings=(*manifest.warnings, _told(len(found), "are left out")))
    elif len(found):
        manifest = replace(manifest, warnings=(*manifest.warnings, _told(len(found), "are used all the same")))
    return replace(manifest, shared=len(found))


def without(manifest: Manifest, found: SharedImages) -> Manifest:
    """The manifest without the images that a later split has as well."""
    return manifest.at(np.delete(np.arange(len(manifest)), found.rows)) if len(found) else manifest


def _told(count: int, what: str) -> str:
    return f"images that have equal bytes in a later split {what}, as `duplicates` says: {count:,}"


def _hashes(manifest: Manifest, split: str | None, progress: Progress | None) -> np.ndarray:
    """Of all images, or, for a split, of files that may equal one of its own: zeros for the others."""
    if split is None or manifest.shards is not None:
        return image_hashes(manifest, progress)
    sizes = np.array([_size(os.path.join(manifest.root, file)) for file in manifest.files], dtype=np.int64)
    mine = manifest.splits == SPLITS.index(split)
    wanted = np.flatnonzero(mine | np.isin(sizes, sizes[mine]))
    some = image_hashes(manifest.at(wanted), progress)
    hashes = np.zeros((len(manifest), some.shape[1]), dtype=np.uint8)
    hashes[wanted] = some
    return hashes


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # decoding will report it
