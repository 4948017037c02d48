"""A table's images found in tar shards, by name and by key; whatever would be guessed is an error with its row."""

from __future__ import annotations

import os
import shutil
import time
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.data.tables.shards import expanded, key_of
from tests.support.datasets import draw
from tests.support.shards import COUNT, images, sharded, write_manifest, write_shard

NAMES = [f"faces/{n:05d}.png" for n in range(COUNT)]


def refused(manifest: Path) -> str:
    with pytest.raises(FairpruneError) as caught:
        load_manifest(manifest)
    return str(caught.value)


def contents(manifest: Path) -> list[bytes]:
    """What lies in the shards at each row's place, read without the program."""
    found = load_manifest(manifest)
    assert found.shards is not None
    places = found.shards
    wholes = [(Path(found.root) / name).read_bytes() for name in places.names]
    return [
        wholes[shard][at : at + size]
        for shard, at, size in zip(places.shard, places.offset, places.size, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s/{0..3}.tar", ["s/0.tar", "s/1.tar", "s/2.tar", "s/3.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("{8..10}.tar", ["8.tar", "9.tar", "10.tar"]),
        ("{val,test}-{0..1}.tar", ["val-0.tar", "val-1.tar", "test-0.tar", "test-1.tar"]),
        ("{0000..0000}", ["0000"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert expanded(pattern) == names


@pytest.mark.parametrize(
    "pattern", ["{3..1}.tar", "{}.tar", "{a}.tar", "{a..c}.tar", "{0..9", "{{0..9}}", "{0..999999999}", "{0..999}" * 3]
)
def test_patterns_without_a_meaning_are_refused(pattern: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"\{"):
        expanded(pattern)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("name", "key"),
    [("0001.jpg", "0001"), ("a.b/0001.seg.png", "a.b/0001"), ("0001", "0001"), (".hidden.jpg", ""), ("a/._1.jpg", "")],
)
def test_keys_are_webdatasets(name: str, key: str) -> None:
    assert key_of(name) == key


@pytest.mark.parametrize(
    "cells",
    [
        NAMES,
        [name.removesuffix(".png") for name in NAMES],
        [name.replace(".png", ".jpg") for name in NAMES],  # as it was called before the shards were written
        [f"./{name}" for name in NAMES],
        [f"train-{n // 4:04d}.tar/{name}" for n, name in enumerate(NAMES)],
        [f"train-{n // 4:04d}.tar/{name.removesuffix('.png')}" for n, name in enumerate(NAMES)],
    ],
    ids=["name", "key", "other suffix", "dotted", "with shard", "key with shard"],
)
def test_images_are_found_by_name_and_by_key(tmp_path: Path, cells: list[str]) -> None:
    manifest = sharded(tmp_path, cells)
    assert contents(manifest) == [(tmp_path / name).read_bytes() for name in NAMES]


def test_in_any_order_and_from_a_parquet_table(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    order = np.random.default_rng(0).permutation(COUNT)
    columns = {
        "file": [NAMES[n] for n in order], "y": ["ab"[n % 2] for n in order], "sex": ["mf"[n // 2 % 2] for n in order],
        "part": [("train", "val", "test")[n // 4] for n in order],
    }  # fmt: skip
    parquet.write_table(arrow.table(columns), tmp_path / "table.parquet")
    manifest.write_text(manifest.read_text().replace("manifest.csv", "table.parquet"))
    assert contents(manifest) == [(tmp_path / NAMES[n]).read_bytes() for n in order]


def test_labels_groups_and_drawn_splits_are_those_of_the_files(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    files = write_manifest(tmp_path, NAMES, "images: .", "files.yaml")
    for path in (manifest, files):
        text = path.read_text().replace(", split: part", "")
        path.write_text(text + "splits: {train: 0.4, val: 0.3, test: 0.3, seed: 5}\n")
    one, other = load_manifest(manifest), load_manifest(files)
    assert other.shards is None
    assert one.files == other.files
    assert np.array_equal(one.splits, other.splits)
    assert len(set(one.splits.tolist())) == 3
    assert one.counts() == other.counts()


@pytest.mark.parametrize("seed", range(4))
def test_drawn_splits_keep_equal_bytes_in_shards_together(tmp_path: Path, seed: int) -> None:
    cells = [f"{n:02d}.png" for n in range(36)]
    draw(tmp_path / "same.png", 7)
    same = (tmp_path / "same.png").read_bytes()
    files = []
    for n, cell in enumerate(cells):
        draw(tmp_path / "one.png", 100 + n)
        files.append((cell, same if n in (0, 17, 35) else (tmp_path / "one.png").read_bytes()))
    for shard in range(3):
        write_shard(tmp_path / f"train-{shard:04d}.tar", files[12 * shard : 12 * shard + 12])
    manifest = write_manifest(tmp_path, cells, 'shards: "train-{0000..0002}.tar"')
    manifest.write_text(
        manifest.read_text().replace(", split: part", "")
        + f"splits: {{train: 0.4, val: 0.3, test: 0.3, seed: {seed}}}\n"
    )
    splits = load_manifest(manifest).splits
    assert len(set(splits[[0, 17, 35]].tolist())) == 1
    assert len(set(splits.tolist())) > 1


def test_a_folder_for_each_split_and_shards_do_not_go_together(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    text = manifest.read_text().replace("table: manifest.csv", "table: {train: manifest.csv, test: manifest.csv}")
    manifest.write_text(text + "images: {train: a, test: b}\n")
    assert "shards lie below one folder, not one for each split" in refused(manifest)


def test_a_list_of_patterns_and_a_root(tmp_path: Path) -> None:
    manifest = sharded(tmp_path / "data")
    path = write_manifest(tmp_path, NAMES, 'images: data\nshards: ["train-{0000..0001}.tar", train-0002.tar]')
    assert contents(path) == contents(manifest)


def test_only_what_was_meant_counts(tmp_path: Path) -> None:
    """Other fields of a sample, hidden files and shards that hold none of the images."""
    manifest = sharded(tmp_path)
    extra = [("faces/00000.json", b"{}"), ("faces/00000.cls", b"1"), ("faces/._00000.png", b"?"), ("9.png", b"image")]
    write_shard(tmp_path / "train-0003.tar", extra)
    manifest.write_text(manifest.read_text().replace("0002}", "0003}"))
    found = load_manifest(manifest)
    assert found.shards is not None
    assert contents(manifest) == [(tmp_path / name).read_bytes() for name in NAMES]
    assert found.shards.unnamed == (1, "train-0003.tar/9.png")


@pytest.mark.parametrize("suffix", ["JPG", "jpe", "jfif", "tif", "jp2", "qoi"])
def test_images_of_every_suffix_have_keys(tmp_path: Path, suffix: str) -> None:
    files = images(tmp_path)
    write_shard(tmp_path / "s.tar", [(name.replace("png", suffix), data) for name, data in files])
    cells = [name.removesuffix(".png") for name in NAMES]
    assert contents(write_manifest(tmp_path, cells, "shards: s.tar")) == [data for _, data in files]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_whatever_form_of_unicode_the_shards_have_them(tmp_path: Path, form: str) -> None:
    files = images(tmp_path)
    shard = unicodedata.normalize(form, "\u00e9.tar")  # é
    stored = [(unicodedata.normalize(form, f"f\u00fc/{n}.png"), data) for n, (_, data) in enumerate(files)]
    write_shard(tmp_path / shard, stored)
    ways = "f\u00fc/{}.png", "f\u00fc/{}", unicodedata.normalize("NFD", "f\u00fc/{}.png"), "\u00e9.tar/f\u00fc/{}"
    for way in ways:
        path = write_manifest(tmp_path, [way.format(n) for n in range(COUNT)], "shards: \u00e9.tar")
        assert contents(path) == [data for _, data in files]


def test_a_name_in_a_shard_that_cannot_be_printed_is_an_error_where_a_row_finds_it(tmp_path: Path) -> None:
    files = images(tmp_path)
    odd = {"faces/00001.png": "faces/00001.\u202egnp.png", "faces/00002.png": "faces/00002.\x1b[2J.png"}
    write_shard(tmp_path / "s.tar", [(odd.get(name, name), data) for name, data in files])
    text = refused(write_manifest(tmp_path, [name.removesuffix(".png") for name in NAMES], "shards: s.tar"))
    assert "manifest.csv row 3: image 'faces/00001' is 's.tar/faces/00001.\\u202egnp.png', a name that cannot" in text
    assert "row 4: image 'faces/00002' is 's.tar/faces/00002.\\x1b[2J.png', a name that cannot be printed" in text
    assert text.count("manifest.csv row") == 2
    # Nor is it one where no row finds them.
    write_shard(tmp_path / "s.tar", [*files, ("a.\u202egnp.png", b"1"), ("b.\x1b[2J.png", b"2")])
    found = load_manifest(write_manifest(tmp_path, NAMES, "shards: s.tar"))
    assert found.shards is not None
    assert found.shards.unnamed[0] == 2


def test_rows_that_no_shard_or_several_hold(tmp_path: Path) -> None:
    manifest = sharded(tmp_path, [*NAMES[:9], "faces/9", "other/00010", "faces/00002"])
    text = refused(manifest)
    assert "manifest.csv row 11: image 'faces/9' is in no shard, neither by its name nor by its key 'faces/9'" in text
    assert "keys are as 'faces/00000'" in text
    assert "manifest.csv row 12: image 'other/00010' is in no shard" in text
    assert "row 13: image 'faces/00002' stands already in an earlier row, by another name" in text
    assert text.count("manifest.csv row") == 3


def test_one_key_in_two_shards_asks_which(tmp_path: Path) -> None:
    files = images(tmp_path)
    numbered = [(f"{n % 6:03d}.png", data) for n, (_, data) in enumerate(files)]
    for shard in range(2):
        write_shard(tmp_path / f"{shard}.tar", numbered[shard * 6 : shard * 6 + 6])
    text = refused(write_manifest(tmp_path, [f"{n:03d}" for n in range(6)], "shards: '{0..1}.tar'"))
    assert "image '003' is in the shards more than once, first as '0.tar/003.png': write so which is meant" in text
    cells = [f"{n // 6}.tar/{n % 6:03d}.png" for n in range(COUNT)]
    assert contents(write_manifest(tmp_path, cells, "shards: '{0..1}.tar'")) == [data for _, data in files]


def test_two_images_of_one_sample_ask_for_the_suffix(tmp_path: Path) -> None:
    files = images(tmp_path)
    both = [pair for name, data in files for pair in ((name, data), (name.replace(".png", ".mask.png"), b"mask"))]
    write_shard(tmp_path / "s.tar", both)
    text = refused(write_manifest(tmp_path, [name.removesuffix(".png") for name in NAMES], "shards: s.tar"))
    assert "more than once, first as 's.tar/faces/00000.png'" in text
    assert contents(write_manifest(tmp_path, NAMES, "shards: s.tar")) == [data for _, data in files]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("train-{0000..0005}.tar", "manifest.yaml: shard 'train-0003.tar' does not exist"),
        ("../train-0000.tar", "shard '../train-0000.tar' leaves the image root"),
        ("/train-0000.tar", "is an absolute path outside the image root"),
        ("s3://faces/{0..9}.tar", "line 4: shards: 's3://faces/{0..9}.tar': nothing is fetched"),
        ("pipe:rm -rf x", "'pipe:rm -rf x': nothing is fetched and no command is run; mount the storage"),
        ("train-{2..1}.tar", "line 4: shards: {2..1} runs downwards"),
        ("faces", "shard 'faces' is a folder"),
    ],
)
def test_shards_that_cannot_be_used(tmp_path: Path, pattern: str, said: str) -> None:
    assert said in refused(sharded(tmp_path, pattern=pattern))


@pytest.mark.parametrize("pattern", ["s3://faces/{0..9}.tar", "train-{2..1}.tar"])
def test_no_image_is_missed_where_the_shards_are_at_fault(tmp_path: Path, pattern: str) -> None:
    manifest = sharded(tmp_path, pattern=pattern)
    shutil.rmtree(tmp_path / "faces")
    assert "does not exist" not in refused(manifest)


@pytest.mark.parametrize("value", ["[]", "[a.tar, a.tar]", "{0..9}.tar", "''"])
def test_what_is_no_pattern_is_never_taken_for_no_shards(tmp_path: Path, value: str) -> None:
    manifest = sharded(tmp_path)
    manifest.write_text(manifest.read_text().replace('"train-{0000..0002}.tar"', value))
    assert "line 4" in refused(manifest)


def test_a_shard_that_links_outside_the_root_is_refused(tmp_path: Path) -> None:
    manifest = sharded(tmp_path / "data")
    os.rename(tmp_path / "data" / "train-0001.tar", tmp_path / "elsewhere.tar")
    (tmp_path / "data" / "train-0001.tar").symlink_to(tmp_path / "elsewhere.tar")
    assert "shard 'train-0001.tar' links to a place outside the image root" in refused(manifest)


def test_damaged_shards_are_all_named_and_rows_follow_none_of_them(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    os.truncate(tmp_path / "train-0001.tar", 700)
    (tmp_path / "train-0002.tar").write_bytes(b"\x1f\x8b" + b"x" * 1000)
    text = refused(manifest)
    assert "manifest.yaml: shard 'train-0001.tar' is cut short, within 'faces/00004.png'" in text
    assert "manifest.yaml: shard 'train-0002.tar' is compressed" in text
    assert "row" not in text


def test_a_shard_without_an_end_mark_is_a_warning(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    path = tmp_path / "train-0001.tar"
    os.truncate(path, len(path.read_bytes().rstrip(b"\0")) // 512 * 512 + 512)
    (warning,) = (text for text in load_manifest(manifest).warnings if "end mark" in text)
    assert warning == "1 shard has no end mark, as 'train-0001.tar': written to the end?"


def test_shards_belong_to_a_table(tmp_path: Path) -> None:
    manifest = sharded(tmp_path)
    manifest.write_text(manifest.read_text().replace("table: manifest.csv", "format: folder\nroot: ."))
    assert "shards: unknown key" in refused(manifest)


def test_a_name_that_leads_out_of_the_folder_writes_nothing(tmp_path: Path) -> None:
    files = images(tmp_path / "data")
    write_shard(tmp_path / "data" / "s.tar", [("../../escaped.png", b"x"), ("/tmp/escaped.png", b"x"), *files])
    before = sorted(tmp_path.rglob("*"))
    assert contents(write_manifest(tmp_path / "data", NAMES, "shards: s.tar")) == [data for _, data in files]
    assert [path.name for path in sorted(tmp_path.rglob("*")) if path not in before] == [
        "manifest.csv",
        "manifest.yaml",
    ]


def test_many_rows_at_fault_take_no_time(tmp_path: Path) -> None:
    """Each look-up is one, however many files there are and whatever is wrong."""
    count = 4000
    for shard in range(2):
        write_shard(tmp_path / f"{shard}.tar", [(f"{n:05d}.png", b"x") for n in range(count)])
    cells = [f"{n % 2}.tar/{n:05d}.jpg" if n % 3 else f"{n:05d}" for n in range(count)]
    start = time.perf_counter()
    assert "more than once" in refused(write_manifest(tmp_path, cells, "shards: '{0..1}.tar'"))
    assert time.perf_counter() - start < 20  # a look through all names for each row takes minutes
