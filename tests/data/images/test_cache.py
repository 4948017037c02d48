"""The cache of decoded images: keyed by content, limited, shown and emptied."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch

from fairprune_cli.commands import decoded_images
from fairprune_cli.core import files
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data import content_hashes as fingerprint
from fairprune_cli.data.batches import pool as batches
from fairprune_cli.data.batches.pool import Pool, load_images
from fairprune_cli.data.images import cache_store, decode
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import Manifest, Transform, load_manifest
from tests.support.datasets import SIDE, TRANSFORM, draw

COUNT = 6
ENTRY = COUNT * 3 * SIDE * SIDE


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path / "cache"))


def make(folder: Path, seed: int = 0, extra: str = "") -> Manifest:
    folder.mkdir(exist_ok=True)
    lines = ["file,label,split"]
    for i in range(COUNT):
        if not (folder / f"{i}.png").exists():
            draw(folder / f"{i}.png", seed + i)
        lines.append(f"{i}.png,{'ab'[i % 2]},{('train', 'test')[i // 3]}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "manifest.yaml").write_text(
        f"version: 1\nname: {folder.name}\ntable: table.csv\ncolumns: {{image: file, label: label, split: split}}\n"
        f"classes: [a, b]\n{extra}{TRANSFORM}"
    )
    return load_manifest(folder)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The images that are decoded from now on."""
    from fairprune_cli.data.images import cache

    seen: list[bytes] = []
    real = cache.decode

    def spy(data: bytes, shape: ImageShape, **checked: bool) -> np.ndarray:
        seen.append(data)
        return real(data, shape, **checked)

    monkeypatch.setattr(cache, "decode", spy)
    return seen


def test_neither_a_changed_manifest_nor_a_copy_nor_a_touch_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = np.array(load_images(make(tmp_path / "one"), []).pixels)
    seen = decoded(monkeypatch)
    load_images(make(tmp_path / "one", extra="attributes: {}\n"), [])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for i in range(COUNT):
        os.utime(tmp_path / "one" / f"{i}.png")
    for name in ("one", "two"):
        assert np.array_equal(load_images(load_manifest(tmp_path / name), []).pixels, before)
    assert seen == []
    assert len(cache_store.entries()) == 1


def test_changed_content_under_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    manifest = make(tmp_path / "one")
    file = tmp_path / "one" / "2.png"
    first = load_images(manifest, []).pixels[2].copy()
    status = file.stat()
    # Uncompressed, so that both have the same number of bytes.
    from PIL import Image

    Image.fromarray(np.zeros((SIDE, SIDE, 3), dtype=np.uint8)).save(file, compress_level=0)
    load_images(manifest, [])
    Image.fromarray(np.full((SIDE, SIDE, 3), 9, dtype=np.uint8)).save(file, compress_level=0)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_images(manifest, []).pixels[2].max() == 9
    assert first.max() > 9


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make(tmp_path / "one")
    monkeypatch.setattr(files, "TICK", 0)
    time.sleep(0.02)
    first = fingerprint.content_hashes(manifest.root, manifest.files)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(fingerprint.hashlib, "sha256", lambda data: _Sum(data))
    assert np.array_equal(fingerprint.content_hashes(manifest.root, manifest.files), first)
    (fingerprint.folder() / next(iter(os.listdir(fingerprint.folder())))).write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="read"):
        fingerprint.content_hashes(manifest.root, manifest.files)


class _Sum:
    """SHA-256 of paths, and none of images."""

    def __init__(self, data: bytes) -> None:
        import _hashlib

        if data[:4] == b"\x89PNG":
            raise AssertionError("a file was read")
        self.value = _hashlib.openssl_sha256(data)

    def hexdigest(self) -> str:
        return str(self.value.hexdigest())


class TestLimit:
    def test_the_least_recently_used_goes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(cache_store.LIMIT, str(3 * ENTRY))
        manifests = [make(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 100), ("c", 200))]
        for age, manifest in enumerate(manifests[:2]):
            load_images(manifest, [])
            entry = next(e for e in cache_store.entries() if e.name == manifest.name)
            os.utime(entry.folder / cache_store.META, (1000 + age, 1000 + age))
        in_use = load_images(manifests[0], []).pixels  # used again, so that b is the oldest
        held = np.array(in_use)
        load_images(manifests[2], [])
        assert [entry.name for entry in cache_store.entries()] == ["a", "c"]
        cache_store.clear_cache()
        assert np.array_equal(in_use, held)  # what a process has mapped stays readable

    def test_an_entry_larger_than_the_limit_is_made_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(cache_store.LIMIT, "1kb")
        load_images(make(tmp_path / "a"), [])
        load_images(make(tmp_path / "b", 100), [])
        assert [entry.name for entry in cache_store.entries()] == ["b"]

    @pytest.mark.parametrize(
        ("text", "size"), [("123", 123), ("1.5 GB", 1_500_000_000), ("20k", 20_000), ("", 50 * 10**9), ("7b", 7)]
    )
    def test_sizes(self, text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(cache_store.LIMIT, text)
        assert cache_store.cache_limit() == size

    @pytest.mark.parametrize("text", ["much", "-1", "1 XB", "1e9"])
    def test_no_size(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(cache_store.LIMIT, text)
        with pytest.raises(FairpruneError, match="no size"):
            cache_store.cache_limit()

    def test_what_a_killed_builder_left_is_swept_away(self, tmp_path: Path) -> None:
        load_images(make(tmp_path / "a"), [])
        left = cache_store.root() / ".0123.abc"
        busy = cache_store.root() / ".4567.abc"
        left.mkdir()
        busy.mkdir()
        with cache_store.entry_lock(cache_store.root() / "4567.lock"):
            cache_store.make_room(0, cache_store.root() / "x")
        assert not left.exists()
        assert busy.exists()


def test_the_command_shows_and_empties_it(tmp_path: Path) -> None:
    def run(clear: bool, as_json: bool) -> str:
        out = io.StringIO()
        assert decoded_images.cache(clear, Terminal(out, io.StringIO(), {}), as_json) == 0
        return out.getvalue()

    assert json.loads(run(False, True))["entries"] == []
    load_images(make(tmp_path / "faces"), [])
    document = json.loads(run(False, True))
    (entry,) = document["entries"]
    assert (entry["name"], entry["images"], entry["size"]) == ("faces", COUNT, SIDE)
    assert entry["bytes"] > ENTRY
    assert "faces" in run(False, False)
    assert "1 entries removed" in run(True, False)
    assert cache_store.entries() == []
    assert not fingerprint.folder().exists()


def test_on_a_device_of_its_own_the_batches_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make(tmp_path / "one")
    plain = load_images(manifest, []).pool(np.array([4, 0, 5]))
    monkeypatch.setattr(batches, "fits_on_device", lambda device, size: True)
    monkeypatch.setattr(batches, "_UPLOAD", 4)
    images = load_images(manifest, [])
    moved = Pool(images, np.array([4, 0, 5]))
    one, other = next(plain.batches(3, "cpu")), next(moved.batches(3, "cpu"))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.rows, other.rows)
    resident = images.resident(torch.device("cpu"))
    assert resident is not None
    assert images.resident(torch.device("cpu")) is resident
    first, second = (pool.sampler(2, "cpu", 3, True).next() for pool in (plain, moved))
    assert torch.equal(first.images, second.images)


def test_each_shape_has_an_entry_and_those_of_colour_squares_keep_their_names(tmp_path: Path) -> None:
    manifest = make(tmp_path / "one")
    hashes = fingerprint.content_hashes(manifest.root, manifest.files)
    # As before there were other shapes: what is decoded already is found.
    facts = f"{[3, PIL.__version__, decode.decoder_version(), SIDE]}".encode()
    name = hashlib.sha256(facts + hashes.tobytes()).hexdigest()[:32]
    load_images(manifest, [])
    assert [entry.folder.name for entry in cache_store.entries()] == [name]
    grey = load_images(manifest, [], transform=Transform(SIDE, (0.5,), (0.25,)))
    oblong = load_images(manifest, [], transform=Transform((8, SIDE), (0.5,), (0.25,)))
    turned = load_images(manifest, [], transform=Transform((SIDE, 8), (0.5,), (0.25,)))
    greys = [(1, SIDE, SIDE), (1, 8, SIDE), (1, SIDE, 8)]
    assert [images.pixels.shape[1:] for images in (grey, oblong, turned)] == greys
    shapes = {entry.shape for entry in cache_store.entries()}
    assert shapes == {ImageShape(3, SIDE, SIDE), *(ImageShape(*shape) for shape in greys)}
    for i, file in enumerate(manifest.files):
        assert np.array_equal(
            grey.pixels[i], decode.decode((manifest.images / file).read_bytes(), ImageShape(1, SIDE, SIDE))
        )
