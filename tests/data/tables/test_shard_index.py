"""What a shard holds, read once: places and hashes, damage that would end it silently, and when it is read again."""

from __future__ import annotations

import hashlib
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core import files
from fairprune_cli.data.tables import shard_index as reading
from fairprune_cli.data.tables.shard_index import ShardFault, shard_index
from tests.support.shards import write_shard

FILES = [(f"{n}.jpg", bytes([n]) * (300 * n + 1)) for n in range(6)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "s.tar", FILES)


def fault(path: Path) -> tuple[str, str]:
    with pytest.raises(ShardFault) as caught:
        shard_index(str(path))
    return caught.value.code, caught.value.text


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_file_lies_where_the_index_says(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "s.tar"
    names = [("./" if n % 2 else "") + f"{'long' * 30}/{name}" for n, (name, _) in enumerate(FILES)]
    with tarfile.open(path, "w", format=kind) as archive:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, (_, data) in zip(names, FILES, strict=True):
            (tmp_path / "x").write_bytes(data)
            archive.add(tmp_path / "x", name)
            (tmp_path / "x").unlink()  # else the next is a link to it
    index = shard_index(str(path))
    assert index.names == tuple(name.removeprefix("./") for name in names)
    whole = path.read_bytes()
    for at, size, digest, (_, data) in zip(index.offsets, index.sizes, index.hashes, FILES, strict=True):
        assert whole[at : at + size] == data
        assert digest.tobytes() == hashlib.sha256(data).digest()[:16]
    assert index.whole


def test_a_hard_link_is_the_file_once_more_and_a_symbolic_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"content")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("a.jpg")
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            archive.add(tmp_path / name, name)
    index = shard_index(str(tmp_path / "s.tar"))
    assert index.names == ("a.jpg", "b.jpg")
    assert index.offsets[0] == index.offsets[1]
    assert index.sizes.tolist() == [7, 7]


@pytest.mark.parametrize("cut", [100, 700, 512 * 5 + 7])
def test_a_shard_that_is_cut_short_is_an_error(shard: Path, cut: int) -> None:
    os.truncate(shard, cut)
    code, text = fault(shard)
    assert code in ("truncated", "damaged")
    assert ("within" in text) or ("cut short" in text) or ("no tar archive" in text)


def test_a_damaged_header_is_no_end(shard: Path) -> None:
    offsets = shard_index(str(shard)).offsets
    data = bytearray(shard.read_bytes())
    data[offsets[3] - 512] ^= 0xFF  # tarfile itself stops there without a word
    shard.write_bytes(data)
    with tarfile.open(shard) as archive:
        assert len(archive.getnames()) == 3
    assert fault(shard) == ("damaged", "is damaged: no header, behind '2.jpg'")


def test_what_is_behind_the_end_mark_is_not_left_out_silently(tmp_path: Path, shard: Path) -> None:
    other = write_shard(tmp_path / "t.tar", FILES[:1])
    shard.write_bytes(shard.read_bytes() + other.read_bytes())
    code, text = fault(shard)
    assert code == "damaged"
    assert "goes on behind its end mark" in text


def test_a_shard_without_an_end_mark_is_read_and_known(shard: Path) -> None:
    end = max(at + -(-size // 512) * 512 for at, size in _places(shard))
    os.truncate(shard, end)
    index = shard_index(str(shard))
    assert len(index.names) == len(FILES)
    assert not index.whole


def _places(path: Path) -> list[tuple[int, int]]:
    with tarfile.open(path) as archive:
        return [(member.offset_data, member.size) for member in archive]


@pytest.mark.parametrize(
    ("mode", "start"), [("w:gz", b"\x1f\x8b"), ("w:bz2", b"BZh"), ("w:xz", b"\xfd7zX")]
)  # fmt: skip
def test_compressed_shards_are_refused(tmp_path: Path, mode: str, start: bytes) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.jpg"))
    assert path.read_bytes().startswith(start)
    assert fault(path) == ("compressed", "is compressed, as its images are already: write it as plain .tar")


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"x" * 4096, b"\x89PNG" + b"\0" * 2000])
def test_other_files_are_no_shards(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(data)
    code, _ = fault(path)
    assert code in ("damaged", "truncated")


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    """A header by the letter of POSIX 1003.1: name, mode, owners, size, time, sum, kind."""
    block = bytearray(
        struct.pack("100s8s8s8s12s12s8sc355s", name, *[b"0" * 7 + b"\0"] * 3, size, b"0", b" " * 8, kind, b"")
    )
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"Z"])
def test_sizes_that_lead_back_or_far_ahead_end_at_once(tmp_path: Path, kind: bytes) -> None:
    negative = b"\xff" + (-4096).to_bytes(11, "big", signed=True)
    huge = b"\x80" + (1 << 62).to_bytes(11, "big")
    for n, size in enumerate((negative, huge)):
        path = tmp_path / f"{n}.tar"
        path.write_bytes(header(b"a.jpg", b"1", b"0") + b"a" * 512 + header(b"b.jpg", size, kind) + b"\0" * 2048)
        code, _ = fault(path)
        assert code in ("damaged", "truncated")


def test_a_large_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    size = 2 << 20
    path.write_bytes(
        header(b"name", f"{size:o}".encode(), b"L") + b"a" * size + header(b"b", b"0", b"0") + b"\0" * 1024
    )
    code, text = fault(path)
    assert (code, "a header of 2,097,152 bytes" in text) == ("damaged", True)


def test_it_is_read_once_and_again_when_it_changes(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TICK", 0)
    first = shard_index(str(shard))
    with monkeypatch.context() as without:
        without.setattr(reading, "_Reading", None)
        again = shard_index(str(shard))
        assert again.names == first.names
        for name in ("offsets", "sizes", "hashes"):
            assert np.array_equal(getattr(again, name), getattr(first, name))
        assert again.whole is first.whole
        write_shard(shard, [(name, data[::-1] + b"!") for name, data in FILES])
        with pytest.raises(TypeError):
            shard_index(str(shard))
    assert not np.array_equal(shard_index(str(shard)).hashes, first.hashes)


def test_a_damaged_or_foreign_index_is_not_believed(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TICK", 0)
    first = shard_index(str(shard))
    (kept,) = reading.index_folder().iterdir()
    kept.write_bytes(b"damaged")
    assert np.array_equal(shard_index(str(shard)).hashes, first.hashes)
    with np.load(kept) as stored:
        fields = dict(stored)
    np.savez(kept, **{**fields, "offsets": fields["offsets"][1:]})
    assert np.array_equal(shard_index(str(shard)).offsets, first.offsets)


def test_one_just_written_is_read_again(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the clock's tick a change cannot be seen in the times."""
    monkeypatch.setattr(files, "TICK", 10**15)
    shard_index(str(shard))
    monkeypatch.setattr(reading, "_Reading", None)
    with pytest.raises(TypeError):
        shard_index(str(shard))


def test_damage_anywhere_is_a_fault_or_changes_a_content_and_nothing_else(shard: Path) -> None:
    """Where the damage lies in a content, its hash says so; in a header, the shard is refused or a name differs."""
    whole, first = shard.read_bytes(), shard_index(str(shard))
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(80):
        data = bytearray(whole)
        at, kind = int(rng.integers(len(whole))), int(rng.integers(3))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + 600] = rng.bytes(600)
        else:
            del data[at : at + int(rng.integers(1, 900))]
        shard.write_bytes(data)
        try:
            index = shard_index(str(shard))
        except ShardFault as fault:
            kinds.add(fault.code)
            continue
        for name, offset, size, digest in zip(index.names, index.offsets, index.sizes, index.hashes, strict=True):
            assert hashlib.sha256(bytes(data[offset : offset + size])).digest()[:16] == digest.tobytes(), name
        assert len(index.names) == len(first.names)
        kinds.add("read")
    assert kinds >= {"read", "damaged"}
