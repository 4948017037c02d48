"""Equal bytes in two splits: found before anything is trained or audited, with two ways out."""

from __future__ import annotations

import json
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.commands.data import stats
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.checks.check import check_data
from fairprune_cli.data.content_hashes import content_hashes
from fairprune_cli.data.images.cache_store import clear_cache
from fairprune_cli.data.images.duplicates import parted, shared_images
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.data.options import DataOptions
from tests.support.datasets import TRANSFORM, draw
from tests.support.shards import moved_into_shards, write_shard

SPLITS = ("train", "val", "test")


def written(root: Path, rule: str = "", twins: dict[int, int] | None = None, count: int = 24) -> Path:
    """`count` images in train, val, test in turn; image i holds the same bytes as twins[i]."""
    lines = ["file,label,gender,split"]
    for i in range(count):
        draw(root / f"{i:02d}.png", (twins or {}).get(i, i))
        lines.append(f"{i:02d}.png,{'ab'[i // 3 % 2]},{'fm'[i // 6 % 2]},{SPLITS[i % 3]}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    (root / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\ncolumns: {image: file, label: label, split: split}\nclasses: [a, b]\n"
        f"attributes: {{gender: {{column: gender}}}}\n{rule}{TRANSFORM}"
    )
    return root / "manifest.yaml"


def test_equal_bytes_in_two_splits_are_an_error_with_files_and_rows_and_two_ways_out(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path, twins={5: 3, 10: 6}))
    with pytest.raises(FairpruneError) as caught:
        parted(manifest)
    text = str(caught.value)
    assert "t.csv row 5: image '03.png' (train) has the same bytes as '05.png' (test, t.csv row 7)" in text
    assert "t.csv row 8: image '06.png' (train) has the same bytes as '10.png' (val, t.csv row 12)" in text
    assert "duplicates: drop" in text
    assert "duplicates: allow" in text


def test_the_copy_in_the_later_split_is_kept(tmp_path: Path) -> None:
    # 3 train = 5 test; 6 train = 10 val; 0 train = 1 val = 2 test; 9 = 12, both train; 13 val = 14 test
    twins = {5: 3, 10: 6, 1: 0, 2: 0, 12: 9, 14: 13}
    whole = load_manifest(written(tmp_path, "duplicates: drop\n", twins))
    kept = parted(whole)
    assert [int(name[:2]) for name in kept.files] == [i for i in range(24) if i not in (0, 1, 3, 6, 13)]
    assert kept.shared == 5
    assert any(
        "images that have equal bytes in a later split are left out, as `duplicates` says: 5" in text
        for text in kept.warnings
    )
    for name in ("labels", "splits", "rows"):
        chosen = [i for i, file in enumerate(whole.files) if file in kept.files]
        assert getattr(kept, name).tolist() == getattr(whole, name)[chosen].tolist()
    assert kept.tasks[0].labels.tolist() == kept.labels.tolist()


def test_what_is_allowed_stays_and_is_counted(tmp_path: Path) -> None:
    kept = parted(load_manifest(written(tmp_path, "duplicates: allow\n", {5: 3})))
    assert (len(kept), kept.shared) == (24, 1)
    assert any("used all the same" in text for text in kept.warnings)


@pytest.mark.parametrize("seed", range(6))
def test_no_pair_is_overlooked(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    manifest = load_manifest(written(tmp_path, twins={i: int(random.integers(8)) for i in range(24)}))
    content = [(tmp_path / file).read_bytes() for file in manifest.files]
    expected = {
        min((int(manifest.splits[i]), i), (int(manifest.splits[j]), j))[1]
        for i, j in combinations(range(24), 2)
        if content[i] == content[j] and manifest.splits[i] != manifest.splits[j]
    }
    found = shared_images(manifest, content_hashes(manifest.root, manifest.files))
    assert set(found.rows.tolist()) == expected
    for i, j in zip(found.rows, found.others, strict=True):
        latest = max(int(manifest.splits[k]) for k in range(24) if content[k] == content[i])
        assert content[i] == content[j]
        assert manifest.splits[j] == latest


def test_an_audit_looks_for_copies_of_its_own_split_alone(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path, twins={1: 0}))  # train and val share one
    assert len(parted(manifest, "test")) == 24
    with pytest.raises(FairpruneError, match=r"'00\.png' \(train\).*'01\.png'"):
        parted(manifest, "val")


def test_an_unknown_rule_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="line 6: duplicates: expected drop or allow, found 'keep'"):
        load_manifest(written(tmp_path, "duplicates: keep\n"))


def test_hashes_of_other_files_are_kept_while_the_files_are_there(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path))
    for file in manifest.files:  # older than the clock's tick, or nothing is believed
        (tmp_path / file).touch()
    root, files = manifest.root, list(manifest.files)
    time.sleep(0.15)
    whole = content_hashes(root, files)
    (tmp_path / "new.png").write_bytes(b"new")
    (tmp_path / files[0]).unlink()
    content_hashes(root, ["new.png"])
    again = content_hashes(root, files, read=False)
    assert not again[0].any()
    assert (again[1:] == whole[1:]).all()


def test_check_says_what_a_run_will(tmp_path: Path) -> None:
    for rule, severity in (("", "error"), ("duplicates: drop\n", "warning"), ("duplicates: allow\n", "warning")):
        checked = check_data(written(tmp_path, rule, {5: 3}))
        (finding,) = (f for f in checked.findings if f.code == "duplicate-across-splits")
        assert (finding.severity, finding.file, finding.row) == (severity, "05.png", 7)
        ways = [f.text for f in checked.findings if f.code == "duplicates"]
        assert len(ways) == (not rule)
        assert all("duplicates: drop" in text for text in ways)


def test_stats_count_what_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule, train in (("", 8), ("duplicates: drop\n", 7), ("duplicates: allow\n", 8)):
        stats(DataOptions(data=str(written(tmp_path, rule, {5: 3}))), Terminal(), as_json=True)
        assert json.loads(capsys.readouterr().out)["splits"]["train"]["n"] == train


def test_images_of_other_splits_are_not_decoded(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path))
    whole = load_images(manifest, ["gender"])
    (tmp_path / "00.png").write_bytes(b"no image")  # of train: another entry, and only test can be decoded
    rows = manifest.rows_of("test")
    images = load_images(manifest, ["gender"], rows=rows)
    assert images.pixels.shape[0] == len(rows)
    some = rows[[3, 0, 5]]
    for row in some:
        assert (images.pixels_of(row) == whole.pixels_of(row)).all()
    (one,), (other,) = (list(found.pool(some).batches(8, "cpu")) for found in (images, whole))
    assert (one.images == other.images).all()
    assert one.rows.tolist() == other.rows.tolist() == some.tolist()
    with pytest.raises(IndexError):
        images.pool(manifest.rows_of("val"))


def test_an_audit_after_pruning_decodes_nothing_again(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path))
    time.sleep(0.15)
    whole = load_images(manifest, [])
    images = load_images(manifest, [], rows=manifest.rows_of("test"))
    assert images.places is None
    assert images.digest == whole.digest


# --- in shards -------------------------------------------------------------------------------------------------------


def test_equal_bytes_in_shards_are_told_with_their_shards(tmp_path: Path) -> None:
    manifest = load_manifest(moved_into_shards(written(tmp_path, twins={5: 3, 10: 6})))
    with pytest.raises(FairpruneError, match="duplicates: drop") as caught:
        parted(manifest)
    text = str(caught.value)
    assert (
        "t.csv row 5, in s-0.tar: image '03.png' (train) has the same bytes as '05.png' (test, t.csv row 7, in s-0.tar)"
    ) in text
    assert "row 8, in s-1.tar: image '06.png' (train) has the same bytes as '10.png' (val, t.csv row 12, in s-1" in text


def test_what_is_dropped_or_allowed_of_shards_is_what_is_of_files(tmp_path: Path) -> None:
    # Of contents that train and val share; 5 and 3 stand in two shards, 9 and 12 in one split.
    twins = {5: 3, 10: 6, 1: 0, 2: 0, 12: 9, 14: 13}
    for rule, count in (("drop", 19), ("allow", 24)):
        path = written(tmp_path / rule, f"duplicates: {rule}\n", twins)
        files = parted(load_manifest(path))
        pixels = np.array(load_images(files, ["gender"]).pixels)
        shards = parted(load_manifest(moved_into_shards(path, 5)))
        assert (len(shards), shards.shared) == (count, 5) == (len(files), files.shared)
        assert (shards.files, shards.warnings) == (files.files, files.warnings)
        assert shards.rows.tolist() == files.rows.tolist()
        assert shards.shards is not None
        assert len(shards.shards.shard) == len(shards.shards.offset) == len(shards.shards.hashes) == count
        clear_cache()
        assert (load_images(shards, ["gender"]).pixels == pixels).all()  # each from its own place


def test_an_audit_of_shards_looks_for_copies_of_its_own_split_alone(tmp_path: Path) -> None:
    manifest = load_manifest(moved_into_shards(written(tmp_path, twins={1: 0})))
    for n in range(2):
        (tmp_path / f"0{n}.png").write_bytes(b"x" * n)  # files beside the shards are not what is compared
    assert len(parted(manifest, "test")) == 24
    with pytest.raises(FairpruneError, match=r"'00\.png' \(train\).*'01\.png'"):
        parted(manifest, "val")


def test_check_and_stats_say_of_shards_what_a_run_will(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule, severity, train in (("", "error", 8), ("drop", "warning", 7), ("allow", "warning", 8)):
        path = moved_into_shards(written(tmp_path / f"of{rule}", f"duplicates: {rule}\n" if rule else "", {5: 3}))
        checked = check_data(path)
        (finding,) = (f for f in checked.findings if f.code == "duplicate-across-splits")
        assert (finding.severity, finding.file, finding.row) == (severity, "05.png", 7)
        assert "'03.png' (t.csv row 5, in s-0.tar)" in finding.text
        assert checked.images == (23 if rule == "drop" else 24)
        stats(DataOptions(data=str(path)), Terminal(), as_json=True)
        assert json.loads(capsys.readouterr().out)["splits"]["train"]["n"] == train


def test_images_in_shards_of_other_splits_are_not_decoded(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = np.array(load_images(load_manifest(path), ["gender"]).pixels)
    (tmp_path / "00.png").write_bytes(b"no image")  # of train
    manifest = load_manifest(moved_into_shards(path))
    with pytest.raises(FairpruneError, match=r"t.csv row 2, in s-1.tar: image '00.png' cannot be decoded"):
        load_images(manifest, ["gender"])
    rows = manifest.rows_of("test")
    images = load_images(manifest, ["gender"], rows=rows)
    assert images.pixels.shape[0] == len(rows)
    for row in rows:
        assert (images.pixels_of(row) == whole[row]).all()
    with pytest.raises(IndexError):
        images.pool(manifest.rows_of("val"))


def test_an_audit_of_shards_after_pruning_decodes_nothing_again(tmp_path: Path) -> None:
    manifest = load_manifest(moved_into_shards(written(tmp_path)))
    whole = load_images(manifest, [])
    images = load_images(manifest, [], rows=manifest.rows_of("test"))
    assert images.places is None
    assert images.digest == whole.digest


def test_an_image_in_a_shard_that_has_changed_is_compared_with_nothing(tmp_path: Path) -> None:
    manifest = load_manifest(moved_into_shards(written(tmp_path, twins={5: 3}), 1))
    write_shard(tmp_path / "s-0.tar", [("another.png", b"")])
    assert len(parted(manifest)) == 24  # decoding says that it has changed
