"""The bytes of a manifest's images, wherever they lie: files of their own, or parts of tar shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np

from fairprune_cli.core.limits import refusal
from fairprune_cli.core.parallel import Progress, decoding_threads
from fairprune_cli.data.content_hashes import content_hashes
from fairprune_cli.data.images.pillow import ImageFault, read_image_file
from fairprune_cli.data.manifest.manifest import Manifest
from fairprune_cli.data.tables.shard_index import stamp_of
from fairprune_cli.data.tables.shards import ShardPlaces

_GAP = 1 << 16  # bytes between two images that are read along
_LARGEST_RUN = 4 << 20


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
        for run in _together(places, rows):
            shard, first, last = int(places.shard[run[0]]), run[0], run[-1]
            if shard < 0:
                yield first, ImageFault("missing", "does not exist")
                continue
            name = places.names[shard]
            if over := refusal(int(places.size[first]), "image_bytes"):  # a large one is never read along with others
                yield from ((row, ImageFault("too-large", over)) for row in run)
                continue
            try:
                if shard != opened:
                    if handle >= 0:
                        os.close(handle)
                    opened = handle = -1
                    handle = os.open(os.path.join(root, name), os.O_RDONLY)
                    if stamp_of(os.fstat(handle)) != places.stamps[shard]:
                        fault = ImageFault("unreadable", f"lies in {name!r}, which has changed meanwhile: run again")
                        yield from ((row, fault) for row in run)
                        continue
                    opened = shard
                start = int(places.offset[first])
                data = _read(handle, int(places.offset[last] + places.size[last]) - start, start)
            except OSError as error:
                fault = ImageFault("unreadable", f"cannot be read from {name!r}: {error.strerror or error}")
                yield from ((row, fault) for row in run)
                continue
            for row in run:
                at, size = int(places.offset[row]) - start, int(places.size[row])
                image = data[at : at + size]
                yield row, image if len(image) == size else ImageFault("truncated", f"is cut short in {name!r}")
    finally:
        if handle >= 0:
            os.close(handle)


def _together(places: ShardPlaces, rows: Iterable[int]) -> Iterator[list[int]]:
    """Runs of rows whose images lie one behind the other, for one reading each: a far-away storage answers slowly."""
    run: list[int] = []
    end = 0
    for row in map(int, rows):
        start, size = int(places.offset[row]), int(places.size[row])
        if run and not (
            places.shard[row] == places.shard[run[0]] >= 0
            and 0 <= start - end <= _GAP and start + size - places.offset[run[0]] <= _LARGEST_RUN
        ):  # fmt: skip
            yield run
            run = []
        run.append(row)
        end = start + size
    if run:
        yield run


def _read(handle: int, size: int, offset: int) -> bytes:
    """As many bytes as there are; one call may give fewer on storage that is mounted."""
    data = os.pread(handle, size, offset)
    while len(data) < size and (more := os.pread(handle, size - len(data), offset + len(data))):
        data += more
    return data


def image_hashes(manifest: Manifest, progress: Progress | None = None, *, read: bool = True) -> np.ndarray:
    """First 16 bytes of the SHA-256 of each image's bytes, uint8 [N, 16]; zeros for one that cannot be read.

    Args:
        progress: called with (0, N) now and then, as a sign of life.
        read: without it zeros also for files that would have to be read; of shards all hashes are known.
    """
    if manifest.shards is None:
        return content_hashes(manifest.root, manifest.files, progress, read=read)
    places, root = manifest.shards, manifest.root

    def same(shard: int) -> bool:
        try:
            return stamp_of(os.stat(os.path.join(root, places.names[shard]))) == places.stamps[shard]
        except OSError:
            return False

    with ThreadPoolExecutor(decoding_threads()) as pool:
        unchanged = np.array([*pool.map(same, range(len(places.names))), False])  # the last is for images nowhere
    return np.where(unchanged[places.shard, None], places.hashes, np.uint8(0))
