"""What is wrong with the images of a manifest: damage, sizes, duplicates; each with its file, row and severity."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprune_cli.core.errors import Problem
from fairprune_cli.core.parallel import Progress, chunked, decoding_threads
from fairprune_cli.data.content_hashes import content_hash
from fairprune_cli.data.images.pillow import ImageFault, VerifiedImage, heard_warnings, verify_image
from fairprune_cli.data.images.stored import image_hashes, reading_order, stored_images
from fairprune_cli.data.manifest.manifest import Manifest
from fairprune_cli.data.tables.shard_index import HASH_BYTES
from fairprune_cli.data.tables.table import SPLITS

ERROR, WARNING, NOTE = "error", "warning", "note"
# What a run goes on with, although somebody should know it.
_WARNINGS = frozenset({"duplicate", "label-conflict", "enlarged", "oblong", "odd"})
_OBLONG = 2.0
_CHUNK = 64
_UNREAD = np.zeros(HASH_BYTES, dtype=np.uint8)
_Looked = tuple[int, np.ndarray, VerifiedImage, ImageFault | None]


@dataclass(frozen=True)
class Finding:
    """Something about an image or the data: a code for programs, what it is in words, its file and table row."""

    code: str
    text: str
    file: str
    row: int  # 0 where no table names the image
    severity: str = ERROR
    whole: bool = False  # whether the text names its place itself

    def line(self) -> str:
        """The finding as one line of text."""
        if self.whole or not self.file:
            return self.text
        return f"{self.file}, row {self.row}: {self.text}" if self.row else f"{self.file}: {self.text}"

    def document(self) -> dict[str, Any]:
        return {"severity": self.severity, "code": self.code, "text": self.text, "file": self.file, "row": self.row}

    @classmethod
    def of(cls, problem: Problem, severity: str = ERROR) -> Finding:
        return cls(problem.code, problem.text, problem.file, problem.row, severity, True)


@dataclass(frozen=True)
class Looked:
    """The findings of all images.

    Attributes:
        sizes: int32 [N, 2], widths and heights, 0 where an image could not be decoded.
        hashes: uint8 [N, 16], as of `image_hashes`, zeros there.
    """

    findings: list[Finding]
    sizes: np.ndarray
    hashes: np.ndarray


def check_images(manifest: Manifest, progress: Progress | None = None) -> list[Finding]:
    """Decode every image; report missing, unreadable, truncated, damaged, too small and too large ones, and exact
    duplicates.

    Codes: missing, unreadable, truncated, damaged, too-small, too-large, duplicate-across-splits (errors, the last a
    warning where the manifest says what to do); duplicate (same bytes within a split), label-conflict (same bytes,
    another label), enlarged, oblong, odd (warnings).

    Args:
        progress: called with (images done, images in all).
    """
    return look_at_images(manifest, progress).findings


def look_at_images(manifest: Manifest, progress: Progress | None = None, known: Collection[str] = ()) -> Looked:
    """As `check_images`, with the images' sizes.

    Args:
        known: files whose fault has been found already; they are passed over.
    """
    found: dict[int, list[Finding]] = {}
    digests = image_hashes(manifest) if manifest.shards is not None else None  # as they were indexed
    hashes = np.zeros((len(manifest), HASH_BYTES), dtype=np.uint8)
    sizes = np.zeros((len(manifest), 2), dtype=np.int32)
    wanted = [i for i, file in enumerate(manifest.files) if file not in known] if known else range(len(manifest))

    def look(rows: Sequence[int]) -> list[_Looked]:
        return [_look(row, data, digests) for row, data in stored_images(manifest, rows)]

    if progress is not None:
        progress(0, len(manifest))
    with heard_warnings(), ThreadPoolExecutor(decoding_threads()) as threads:
        done = 0
        for some in chunked(reading_order(manifest, wanted), 32 * _CHUNK):
            for results in threads.map(look, chunked(some, _CHUNK)):
                for i, digest, seen, fault in results:
                    if fault is not None:
                        found[i] = [_seen(manifest, i, fault.code, fault.text)]
                        continue
                    found[i] = [_seen(manifest, i, "odd", remark) for remark in seen.remarks]
                    sizes[i] = seen.size
                    hashes[i] = digest
            done += len(some)
            if progress is not None:
                progress(done, len(manifest))
    for i, finding in _duplicates(manifest, np.flatnonzero(hashes.any(1)).tolist(), hashes):
        found[i].append(finding)
    findings = [finding for i in sorted(found) for finding in found[i]]
    return Looked(findings + _odd_sizes(manifest, sizes), sizes, hashes)


def _look(row: int, data: bytes | ImageFault, digests: np.ndarray | None) -> _Looked:
    try:
        if isinstance(data, ImageFault):
            raise data
        return row, content_hash(data) if digests is None else digests[row], verify_image(data), None
    except ImageFault as fault:
        return row, _UNREAD, VerifiedImage((0, 0)), fault


def _duplicates(manifest: Manifest, rows: Sequence[int], hashes: np.ndarray) -> Iterator[tuple[int, Finding]]:
    """A finding for each of these rows whose bytes an earlier one has as well, in their order."""
    first: dict[bytes, int] = {}
    for i in rows:
        earlier = first.setdefault(hashes[i].tobytes(), i)
        if earlier != i:
            yield i, _duplicate(manifest, i, earlier)


def _seen(manifest: Manifest, i: int, code: str, text: str) -> Finding:
    """A finding about an image itself, with the shard that it lies in unless the text names it."""
    shard = manifest.shard_of(i)
    return _finding(manifest, i, code, f"{text} (in {shard})" if shard and repr(shard) not in text else text)


def _finding(manifest: Manifest, i: int, code: str, text: str) -> Finding:
    told = code in _WARNINGS or (code == "duplicate-across-splits" and manifest.duplicates)
    severity = WARNING if told else ERROR
    return Finding(code, text, manifest.files[i], int(manifest.rows[i]), severity)


def _duplicate(manifest: Manifest, i: int, earlier: int) -> Finding:
    other = f"the same bytes as {manifest.files[earlier]!r} ({manifest.where(earlier)})"
    mine, its = int(manifest.splits[i]), int(manifest.splits[earlier])
    if mine != its:
        # -1: the splits are at fault themselves, and that is said already.
        text = f"has {other}, in {SPLITS[its]} and in {SPLITS[mine]}" if min(mine, its) >= 0 else f"has {other}"
        if manifest.duplicates:
            text += f"; `duplicates: {manifest.duplicates}`"
        return _finding(manifest, i, "duplicate-across-splits", text)
    if manifest.labels[i] != manifest.labels[earlier]:
        return _finding(manifest, i, "label-conflict", f"has {other}, with another label")
    return _finding(manifest, i, "duplicate", f"has {other}, in the same split")


def _odd_sizes(manifest: Manifest, sizes: np.ndarray) -> list[Finding]:
    """Images that are enlarged, or of which less than half is in the part that is taken: one finding for each."""
    shape = manifest.transform.shape
    square = shape.height == shape.width
    width, height = sizes.astype(np.int64).T
    there = width > 0
    # The part that is taken reaches from border to border one way; the other way, over this share of the image.
    across, along = width * shape.height, height * shape.width
    kinds = (
        ("enlarged", np.flatnonzero(there & ((width < shape.width) | (height < shape.height))),
         f"images are smaller than the {shape.height if square else shape.pixels} pixels of `transform` and are "
         "enlarged"),
        ("oblong", np.flatnonzero(there & (np.maximum(across, along) > _OBLONG * np.minimum(across, along))),
         "images are more than twice as long as wide; the model sees their centre alone" if square else
         f"images are more than twice as long or as wide as {shape.pixels}; the model sees their centre alone"),
    )  # fmt: skip
    return [
        Finding(code, f"{len(at):,} {text}, as {manifest.files[at[0]]!r} with "
                      f"{sizes[at[0], 0]}x{sizes[at[0], 1]} pixels",
                manifest.files[at[0]], int(manifest.rows[at[0]]), WARNING, True)
        for code, at, text in kinds if len(at)
    ]  # fmt: skip
