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
from fairprune_cli.data.tables.shard_index import stamp_of
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
            name = places.names[shard]
            try:
                if shard != opened:
                    if handle >= 0:
                        os.close(handle)
                    opened = handle = -1
                    handle = os.open(os.path.join(root, name), os.O_RDONLY)
                    if stamp_of(os.fstat(handle)) != places.stamps[shard]:
                        yield row, ImageFault("unreadable", f"lies in {name!r}, which has changed meanwhile: run again")
                        continue
                    opened = shard
                data = os.pread(handle, size, int(places.offset[row]))
            except OSError as error:
                yield row, ImageFault("unreadable", f"cannot be read from {name!r}: {error.strerror or error}")
                continue
            yield row, data if len(data) == size else ImageFault("truncated", f"is cut short in {name!r}")
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

    def same(shard: int) -> bool:
        try:
            return stamp_of(os.stat(os.path.join(root, places.names[shard]))) == places.stamps[shard]
        except OSError:
            return False

    with ThreadPoolExecutor(decoding_threads()) as pool:
        unchanged = np.array([*pool.map(same, range(len(places.names))), False])  # the last is for images nowhere
    return np.where(unchanged[places.shard, None], places.hashes, np.uint8(0))
