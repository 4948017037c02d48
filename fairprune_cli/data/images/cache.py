"""The cache of decoded images: every image of a manifest decoded once, then mapped into memory."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from fairprune_cli.core.errors import ExitCode, FairpruneError, Problems
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.parallel import Progress, chunked, decoding_threads
from fairprune_cli.data.images import cache_store
from fairprune_cli.data.images.decode import decode, decoder_version, jpeg_decoder, jpeg_shape
from fairprune_cli.data.images.decoder_words import DecoderWords, decoder_words
from fairprune_cli.data.images.mapped import map_pixels, refuse_cut_short
from fairprune_cli.data.images.pillow import ImageFault, refuse_damaged_jpeg
from fairprune_cli.data.images.stored import image_hashes, reading_order, stored_images
from fairprune_cli.data.manifest.image_shape import ImageShape, Shape
from fairprune_cli.data.manifest.load import Manifest

_DECODER = 3  # to be raised when the same file decodes to other pixels
_CHECKED_BYTES = 2 << 30
_CHUNK = 32
_Decoded = tuple[int, np.ndarray | str]  # position in the manifest, with pixels or with what is wrong
_PROBED = 64  # of the probe's own size, or Pillow would decode it


class Cache:
    """`cache_dir()/images/<key>/`: pixels.u8 and meta.json, complete or absent.

    The key covers what the files hold, in their order, and the shape of the result, so that changed images get another
    entry, and neither a moved folder nor a changed manifest does. An entry is built beside its place and renamed;
    whoever comes second waits for the first, and uses what it finds. Before it is built, others make room for it.

    Args:
        images: the shape of each.
    """

    def __init__(self, manifest: Manifest, images: Shape) -> None:
        self.manifest = manifest
        self.images = ImageShape.of(images)
        self.shape = (len(manifest), *self.images.dimensions)
        self.digest = ""  # of all pixels, once they have been opened

    def _key(self, hashes: np.ndarray) -> str:
        images = self.images
        # A square of colour is its side alone, as in the names of entries before there were others.
        form = images.height if images == ImageShape.of(images.height) else list(images.dimensions)
        facts = [_DECODER, PIL.__version__, decoder_version(), form]
        digest = hashlib.sha256(f"{facts}".encode())
        digest.update(hashes.tobytes())
        return digest.hexdigest()[:32]

    def kept(self) -> np.ndarray | None:
        """The decoded images where an earlier run left them, as `pixels`; None where a file would have to be read."""
        hashes = image_hashes(self.manifest, read=False)
        if not hashes.any(1).all():
            return None
        self.folder = cache_store.root() / self._key(hashes)
        return self._open()

    def pixels(self, progress: Progress | None) -> np.ndarray:
        """The decoded images, uint8 [N, C, H, W], a read-only memory map.

        Raises:
            FairpruneError: images that cannot be decoded, all at once; the cache cannot be written (exit code 3).
        """
        sign_of_life = None if progress is None else lambda _, count: progress(0, count)  # no image is decoded yet
        self.folder = cache_store.root() / self._key(image_hashes(self.manifest, sign_of_life))
        found = self._open()
        if found is not None:
            return found
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with cache_store.entry_lock(self.folder.with_suffix(".lock")):
                found = self._open()
                if found is None:
                    cache_store.make_room(int(np.prod(self.shape)), self.folder)
                    self._build(progress)
                    found = self._open()
        except OSError as error:
            raise FairpruneError(
                f"decoded images cannot be stored: {error.strerror or error}",
                where=str(self.folder.parent),
                hint=f"{np.prod(self.shape) / 1e6:,.0f} MB are needed; FAIRPRUNE_CACHE names another folder",
                code=ExitCode.RUNTIME,
            ) from error
        if found is None:
            raise FairpruneError("decoded images cannot be read back", where=str(self.folder), code=ExitCode.RUNTIME)
        return found

    def _open(self) -> np.ndarray | None:
        """The entry's pixels, or None when there is no entry or it is damaged."""
        try:
            meta = json.loads(read_plain(self.folder / cache_store.META, "written_bytes"))
            sums = np.array(meta["crc32"], dtype=np.int64)
            path = self.folder / cache_store.PIXELS
            if tuple(meta["shape"]) != self.shape or path.stat().st_size != np.prod(self.shape):
                return None
            pixels = map_pixels(path, self.shape)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        # Up to 2 GiB every image is checked, beyond that an even sample: reading takes half a second a GiB.
        step = -(-pixels.nbytes // _CHECKED_BYTES)
        refuse_cut_short(pixels)
        whole = len(sums) == len(pixels) and all(
            zlib.crc32(pixels[i].data) == sums[i] for i in range(0, len(pixels), step)
        )
        self.digest = hashlib.sha256(sums.tobytes()).hexdigest()
        if whole:
            cache_store.touch(self.folder)
        return pixels if whole else None

    def _build(self, progress: Progress | None) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
        try:
            sums = self._decode(temporary / cache_store.PIXELS, progress)
            if self._key(image_hashes(self.manifest)) != self.folder.name:
                raise FairpruneError(
                    "images changed while they were decoded", where=str(self.manifest.path),
                    hint="run again when nothing writes to them any more",
                )  # fmt: skip
            meta = {"shape": self.shape, "manifest": self.manifest.name, "crc32": sums}
            (temporary / cache_store.META).write_text(json.dumps(meta), encoding="utf-8")
            if self.folder.exists():  # damaged: move it aside first, as a folder cannot replace a folder
                os.replace(self.folder, temporary / "damaged")
            with contextlib.suppress(FileExistsError):
                os.rename(temporary, self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(self.folder / "damaged", ignore_errors=True)

    def _decode(self, path: Path, progress: Progress | None) -> list[int]:
        """Decode all images into one file; the checksum of each image."""
        faults: dict[int, str] = {}
        count, threads, done = len(self.manifest), decoding_threads(), 0
        sums = [0] * count
        waiting: deque[Future[list[_Decoded]]] = deque()
        chunks = iter(chunked(reading_order(self.manifest, range(count)), _CHUNK))

        def take(words: DecoderWords | None) -> None:
            nonlocal done
            done += self._write(waiting.popleft().result(), stream, sums, faults)
            if progress is not None:
                progress(done, count)
            if words is not None:
                words.pass_on()

        with self._listening() as words, ThreadPoolExecutor(threads) as pool, open(path, "wb") as stream:
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self._decode_chunk, chunk, words))
                    if len(waiting) >= 4 * threads:
                        take(words)
                while waiting:
                    take(words)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            stream.flush()
            os.fsync(stream.fileno())
        problems = Problems(str(self.manifest.path))
        for i in sorted(faults):
            problems.add(faults[i])
        problems.raise_if_any("mend the files or take their rows out of the table")
        return sums

    def _listening(self) -> AbstractContextManager[DecoderWords | None]:
        if jpeg_decoder() is None:
            return nullcontext()
        return decoder_words(lambda data: decode(data, _PROBED, checked=False))

    def _decode_chunk(self, chunk: Sequence[int], words: DecoderWords | None) -> list[_Decoded]:
        begun = 0 if words is None else words.now
        results = dict(self._decoded(chunk, None, checked=words is None))
        if words is not None and words.since(begun):  # of one of these, or of what another thread decodes
            again = [i for i, one in results.items() if isinstance(one, np.ndarray)]
            results |= self._decoded(again, words)
        return list(results.items())

    def _decoded(self, rows: Sequence[int], words: DecoderWords | None, checked: bool = False) -> Iterator[_Decoded]:
        """Each image as pixels, or what is wrong with it; words: to be listened to for each image alone."""
        for i, data in stored_images(self.manifest, rows):
            try:
                if isinstance(data, ImageFault):
                    raise data
                if words is not None:
                    self._refuse_damaged(data, words)
                yield i, decode(data, self.images, checked=checked)
            except ImageFault as fault:
                yield i, self._fault(i, fault.text)

    def _refuse_damaged(self, data: bytes, words: DecoderWords) -> None:
        """Of an image of which libjpeg may have said something: what `data check` finds, else what libjpeg says."""
        if not refuse_damaged_jpeg(data) and jpeg_shape(data) is not None:
            said = words.about(lambda: decode(data, self.images, checked=False))
            if said:
                raise ImageFault("damaged", f"is damaged: libjpeg says {said!r}")

    def _fault(self, i: int, text: str) -> str:
        return f"{self.manifest.where(i)}: image {self.manifest.files[i]!r} {text}"

    @staticmethod
    def _write(results: Sequence[_Decoded], stream: Any, sums: list[int], faults: dict[int, str]) -> int:
        """Write each image at its place, the order in which they come being that of reading; how many there were."""
        for i, result in results:
            if isinstance(result, str):
                faults[i] = result
            else:
                sums[i] = zlib.crc32(result.data)
                if not faults and os.pwrite(stream.fileno(), result.data, i * result.nbytes) < result.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(results)
