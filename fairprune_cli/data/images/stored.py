"""The bytes of a manifest's images, wherever they lie: files of their own, or parts of tar shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np

from fairprune_cli.data.images.content_hashes import content_hashes
from fairprune_cli.data.images.pillow import ImageFault, Progress, decoding_threads, read_image_file
from fairprune_cli.data.manifest.manifest import Manifest
from fairprune_cli.data.tables.shard_index import BYTES, ShardFault, shard_index
from fairprune_cli.data.tables.shards import ShardPlaces


def reading_order(manifest: Manifest, rows: Sequence[int]) -> Sequence[int]:
    """Rows in the order in which their images are best read, which is that of the shards where there are any."""
    return rows if manifest.shards is None else cast("Sequence[int]", manifest.shards.order(rows))


def stored_images(manifest: Manifest, rows: Iterable[int]) -> Iterator[tuple[int, bytes | ImageFault]]:
    """Each row with the bytes of its image, or with what stands in the way."""
    if manifest.shards is not None:
        yield from _from_shards(manifest.root, manifest.shards, rows)
        return
    for row in rows:
        try:
            yield row, read_image_file(os.path.join(manifest.root, manifest.files[row]))
        except ImageFault as fault:
            yield row, fault


def stored_image(manifest: Manifest, row: int) -> bytes:
    """The bytes of one image.

    Raises:
        ImageFault: it is missing or cannot be read.
    """
    ((_, found),) = stored_images(manifest, [row])
    if isinstance(found, ImageFault):
        raise found
    return found


def _from_shards(root: str, places: ShardPlaces, rows: Iterable[int]) -> Iterator[tuple[int, bytes | ImageFault]]:
    """A shard stays open for as long as the rows stay within it."""
    opened, handle = -1, -1
    try:
        for row in map(int, rows):
            shard, size = int(places.shard[row]), int(places.size[row])
            if shard < 0:
                yield row, ImageFault("missing", "does not exist")
                continue
            try:
                if shard != opened:
                    if handle >= 0:
                        os.close(handle)
                    opened = handle = -1
                    handle = os.open(os.path.join(root, places.names[shard]), os.O_RDONLY)
                    opened = shard
                data = os.pread(handle, size, int(places.offset[row]))
            except OSError as error:
                text = f"cannot be read from {places.names[shard]!r}: {error.strerror or error}"
                yield row, ImageFault("unreadable", text)
                continue
            yield (
                row,
                data if len(data) == size else ImageFault("truncated", f"is cut short in {places.names[shard]!r}"),
            )
    finally:
        if handle >= 0:
            os.close(handle)


def image_hashes(manifest: Manifest, progress: Progress | None = None) -> np.ndarray:
    """First 16 bytes of the SHA-256 of each image's bytes, uint8 [N, 16]; zeros for one that cannot be read.

    Args:
        progress: called with (0, N) now and then, as a sign of life.
    """
    if manifest.shards is None:
        return content_hashes(manifest.root, manifest.files, progress)
    places, root = manifest.shards, manifest.root
    result = np.zeros((len(manifest), BYTES), dtype=np.uint8)
    rows = places.order(np.flatnonzero(places.shard >= 0))
    parts = np.split(rows, np.flatnonzero(np.diff(places.shard[rows])) + 1) if len(rows) else []

    def hashes(part: np.ndarray) -> np.ndarray:
        """Of images in one shard, which may have changed since the manifest was read."""
        try:
            index = shard_index(os.path.join(root, places.names[places.shard[part[0]]]))
        except ShardFault:
            index = None
        if index is None or not index.names:
            return np.zeros((len(part), BYTES), dtype=np.uint8)  # decoding will report it
        order = np.argsort(index.offsets, kind="stable")
        at = order[np.searchsorted(index.offsets, places.offset[part], sorter=order) % len(order)]
        same = (index.offsets[at] == places.offset[part]) & (index.sizes[at] == places.size[part])
        return np.where(same[:, None], index.hashes[at], np.uint8(0))

    with ThreadPoolExecutor(decoding_threads()) as pool:
        for part, found in zip(parts, pool.map(hashes, parts), strict=True):
            result[part] = found
            if progress is not None:
                progress(0, len(manifest))
    return result
