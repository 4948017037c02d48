"""Images out of shards: the bytes, hashes, cache entries and findings of the same images as files; nothing unpacked."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairprune_cli.commands import data as datasets
from fairprune_cli.commands import decoded_images
from fairprune_cli.core import files
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.checks.check import check_data
from fairprune_cli.data.checks.gallery import draw as gallery
from fairprune_cli.data.images import cache_store, stored
from fairprune_cli.data.images.pillow import ImageFault
from fairprune_cli.data.images.stored import image_hashes, reading_order, stored_image, stored_images
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.data.tables import shard_index
from fairprune_cli.export.samples import real_images
from fairprune_cli.run.options import Settings
from tests.support.shards import COUNT, PATTERN, images, sharded, write_manifest, write_shard

NAMES = [f"faces/{n:05d}.png" for n in range(COUNT)]
SHUFFLED = [NAMES[n] for n in (7, 2, 11, 0, 5, 9, 1, 10, 3, 8, 6, 4)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def beside(folder: Path, cells: list[str]) -> Path:
    """The same table with the images as files."""
    return write_manifest(folder, cells, "images: .", "files.yaml")


@pytest.mark.parametrize("cells", [NAMES, SHUFFLED], ids=["in order", "shuffled"])
def test_bytes_hashes_and_decoded_images_are_those_of_the_files(folder: Path, cells: list[str]) -> None:
    manifest = load_manifest(sharded(folder, cells))
    expected = [(folder / cell).read_bytes() for cell in cells]
    assert [stored_image(manifest, i) for i in range(COUNT)] == expected
    assert dict(stored_images(manifest, range(COUNT))) == dict(enumerate(expected))
    assert [row.tobytes() for row in image_hashes(manifest)] == [hashlib.sha256(x).digest()[:16] for x in expected]
    pixels = np.array(load_images(manifest, ["sex"]).pixels)
    cache_store.clear_cache()
    files_ = load_images(load_manifest(beside(folder, cells)), ["sex"])
    assert np.array_equal(pixels, files_.pixels)
    assert len(np.unique(pixels.reshape(COUNT, -1), axis=0)) == COUNT
    # What is decoded already is found, however it is stored.
    (entry,) = cache_store.entries()
    assert np.array_equal(load_images(manifest, ["sex"]).pixels, pixels)
    assert [one.folder for one in cache_store.entries()] == [entry.folder]


def test_they_are_read_in_the_order_of_the_shards_whatever_the_table_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(sharded(folder, SHUFFLED))
    monkeypatch.setattr(stored, "_LARGEST_RUN", 1)
    assert [SHUFFLED[i] for i in reading_order(manifest, range(COUNT))] == NAMES
    monkeypatch.setattr(stored, "decoding_threads", lambda: 1)
    for module in ("fairprune_cli.data.images.cache", "fairprune_cli.data.checks.images"):
        monkeypatch.setattr(f"{module}.decoding_threads", lambda: 1)
    opened: list[str] = []
    read: list[tuple[int, int]] = []
    real_open, real_pread = os.open, os.pread

    shard = -1

    def spy_open(path: str, flags: int, *rest: int, **more: int) -> int:
        nonlocal shard
        handle = real_open(path, flags, *rest, **more)
        if str(path).endswith(".tar"):
            opened.append(Path(path).name)
            shard = handle
        return handle

    def spy_read(handle: int, size: int, offset: int) -> bytes:
        if handle == shard:  # not what decoders say on stderr
            read.append((len(opened), offset))
        return real_pread(handle, size, offset)

    monkeypatch.setattr(os, "open", spy_open)
    monkeypatch.setattr(os, "pread", spy_read)
    for work in (lambda: load_images(manifest, []), lambda: check_data(folder / "manifest.yaml")):
        opened.clear()
        read.clear()
        work()
        assert opened == ["train-0000.tar", "train-0001.tar", "train-0002.tar"]  # each once
        assert len(read) == COUNT
        assert read == sorted(read)


def test_what_lies_together_is_read_at_once_and_what_does_not_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A far-away storage answers each reading slowly; one that gives less than was asked for is asked again."""
    files_ = images(folder)
    write_shard(folder / "a.tar", [*files_[:5], ("large.bin", b"x" * (1 << 17)), *files_[5:]])
    manifest = load_manifest(write_manifest(folder, NAMES, "shards: a.tar"))
    sizes: list[int] = []
    real = os.pread

    def spy(handle: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return real(handle, min(size, 1000), offset) if size > 8000 else real(handle, size, offset)

    def asked(rows: list[int]) -> int:
        sizes.clear()
        assert dict(stored_images(manifest, rows)) == {row: files_[row][1] for row in rows}
        return len(sizes)

    monkeypatch.setattr(os, "pread", spy)
    assert (asked([0, 1]), asked([4, 5]), asked([1, 0]), asked([5, 6, 7])) == (1, 2, 2, 1)
    assert asked(list(range(12))) > 2  # in pieces, as a storage might give it
    monkeypatch.setattr(stored, "_LARGEST_RUN", 1)
    assert asked([5, 6, 7]) == 3


def test_nothing_is_unpacked_and_nothing_stays_open(folder: Path) -> None:
    manifest = load_manifest(sharded(folder))
    before, handles = sorted(folder.rglob("*")), len(os.listdir("/proc/self/fd"))
    load_images(manifest, [])
    first = stored_images(manifest, range(COUNT))
    next(first)
    first.close()  # a reader that stops early
    assert sorted(folder.rglob("*")) == before
    assert len(os.listdir("/proc/self/fd")) <= handles + 1  # the map of the decoded images


def test_shards_that_change_are_decoded_again_and_never_served_in_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "TICK", 0)
    path = sharded(folder)
    manifest = load_manifest(path)
    first = np.array(load_images(manifest, []).pixels)
    others = images(folder / "others", 2 * COUNT)[COUNT:]
    moved = [(name, data) for name, (_, data) in zip(NAMES[4:8], others, strict=False)]
    write_shard(folder / "train-0001.tar", moved)
    second = load_images(load_manifest(path), []).pixels
    assert np.array_equal(first[:4], second[:4])
    assert not np.array_equal(first[4:8], second[4:8])
    assert np.array_equal(first[8:], second[8:])
    # The manifest was read before the change: its places are no longer right.
    write_shard(folder / "train-0001.tar", [("new.png", others[5][1]), *moved])
    with pytest.raises(FairpruneError, match=r"in 'train-0001.tar', which has changed meanwhile: run again"):
        load_images(manifest, [])
    assert not image_hashes(manifest)[4:8].any()
    assert image_hashes(manifest)[8:].any(1).all()


def test_one_that_changes_while_it_is_decoded_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(sharded(folder))
    from fairprune_cli.data.images import cache

    real = cache.decode

    def change(data: bytes, shape: ImageShape, **checked: bool) -> np.ndarray:
        shard = folder / "train-0002.tar"
        shard.write_bytes(shard.read_bytes()[:512] + b"!" * 64 + shard.read_bytes()[576:])
        return real(data, shape, **checked)

    monkeypatch.setattr(cache, "decode", change)
    with pytest.raises(FairpruneError, match=r"changed (while|meanwhile)"):
        load_images(manifest, [])
    assert cache_store.entries() == []


def test_a_disk_that_takes_half_an_image_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(sharded(folder, SHUFFLED))
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: real(handle, memoryview(data).cast("B")[:40], at))
    with pytest.raises(FairpruneError, match="decoded images cannot be stored: No space left") as caught:
        load_images(manifest, [])
    assert caught.value.code == 3
    assert cache_store.entries() == []


def test_a_shard_that_goes_is_told_with_each_row(folder: Path) -> None:
    manifest = load_manifest(sharded(folder))
    (folder / "train-0001.tar").unlink()
    os.truncate(folder / "train-0002.tar", 1200)
    found = dict(stored_images(manifest, range(COUNT)))
    assert [isinstance(found[i], ImageFault) for i in range(COUNT)] == [False] * 4 + [True] * 8
    with pytest.raises(ImageFault, match=r"cannot be read from 'train-0001.tar': No such file"):
        stored_image(manifest, 4)
    with pytest.raises(ImageFault, match=r"lies in 'train-0002.tar', which has changed meanwhile"):
        stored_image(manifest, 9)
    assert not image_hashes(manifest)[4:].any()


def test_findings_have_row_and_shard(folder: Path) -> None:
    path = sharded(folder)
    data = [stored_image(load_manifest(path), i) for i in range(COUNT)]
    files_ = list(zip(NAMES, data, strict=True))
    write_shard(folder / "train-0001.tar", [(NAMES[4], data[0]), (NAMES[5], data[5][:60]), *files_[6:8]])
    write_shard(folder / "train-0002.tar", [*files_[8:], ("faces/extra.png", data[1])])
    checked = check_data(path)
    assert [(f.code, f.file, f.row) for f in checked.findings if f.severity == "error"] == [
        ("duplicate-across-splits", NAMES[4], 6), ("truncated", NAMES[5], 7),
    ]  # fmt: skip
    texts = [finding.line() for finding in checked.findings]
    assert any("(manifest.csv row 2, in train-0000.tar), in train and in val" in text for text in texts)
    assert "1 image in the shards has no row, as 'train-0002.tar/faces/extra.png'" in texts
    with pytest.raises(FairpruneError) as caught:
        load_images(load_manifest(path), [])
    assert f"manifest.csv row 7, in train-0001.tar: image {NAMES[5]!r} is cut short" in str(caught.value)


def test_findings_are_those_of_the_files_in_their_order(folder: Path) -> None:
    """Whatever the order of reading: the later row is the one that is told of."""
    cells = SHUFFLED
    path = sharded(folder, cells)
    content = {name: (folder / name).read_bytes() for name in NAMES}
    content |= {NAMES[11]: content[NAMES[0]], NAMES[3]: content[NAMES[10]], NAMES[2]: b"no image", NAMES[6]: b""}
    dim = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(dim, "PNG")
    content |= {NAMES[4]: dim.getvalue(), NAMES[9]: dim.getvalue()}  # a remark each, and a copy
    for name, data in content.items():
        (folder / name).write_bytes(data)
    for shard in range(3):
        write_shard(folder / f"train-{shard:04d}.tar", [(n, content[n]) for n in NAMES[4 * shard : 4 * shard + 4]])

    def found(checked: Path) -> list[tuple[str, str, int]]:
        return [(f.code, f.file, f.row) for f in check_data(checked).findings]

    assert found(path) == found(beside(folder, cells))
    assert [(code, file) for code, file, _ in found(path) if code == "odd"] == [("odd", NAMES[9]), ("odd", NAMES[4])]
    # Row 5 is read before row 4, as it lies in the first shard.
    assert {("label-conflict", NAMES[0], 5), ("duplicate-across-splits", NAMES[3], 10)} <= set(found(path))


def test_pictures_and_samples_come_from_shards(folder: Path) -> None:
    manifest, other = load_manifest(sharded(folder)), load_manifest(beside(folder, NAMES))
    shown, same = gallery(manifest, "train"), gallery(other, "train")
    assert shown.faulty == ()
    pairs = zip(shown.images, same.images, strict=True)
    assert all(a[2] is not None and b[2] is not None and a[2].tobytes() == b[2].tobytes() for a, b in pairs)
    assert real_images(manifest, manifest.transform).equal(real_images(other, other.transform))


def test_the_cache_command_forgets_the_indices_too(folder: Path) -> None:
    load_manifest(sharded(folder))
    assert len(list(shard_index.index_folder().iterdir())) == 3
    decoded_images.cache(True, Terminal(io.StringIO(), io.StringIO(), {}), False)
    assert not shard_index.index_folder().exists()


def test_commands_say_which_shard_is_missing(folder: Path) -> None:
    path = sharded(folder, pattern=PATTERN.replace("0002", "0003"))
    out, err = io.StringIO(), io.StringIO()
    assert datasets.check(Settings(data=str(path)), Terminal(out, err, {}), False) == 2
    assert err.getvalue().splitlines() == ["error: manifest.yaml: shard 'train-0003.tar' does not exist"]
