"""From a manifest to batches: the cache, batches in order, and division into parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import ImageSet, Pool, load_images
from fairprune_cli.data.batches.split import split_rows
from fairprune_cli.data.manifest.load import Grouping, Manifest, Transform, load_manifest
from fairprune_cli.data.tables.partition import assign_parts, random_keys
from tests.support.batches import same

COUNT, SIZE = 24, 16


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(1)
    lines = ["file,label,gender,split"]
    for i in range(COUNT):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        lines.append(f"{i}.png,{'ab'[i % 2]},{'mf'[i // 2 % 2] if i != 5 else ''},{('train', 'test')[i // 12]}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "manifest.yaml").write_text(
        "version: 1\ntable: table.csv\nimages: images\n"
        "columns: {image: file, label: label, split: split}\nclasses: [a, b]\n"
        "attributes: {gender: {values: [m, f]}}\n"
        f"transform: {{size: {SIZE}, mean: [0.5, 0.4, 0.3], std: [0.25, 0.2, 0.3]}}\n"
    )
    return load_manifest(tmp_path / "manifest.yaml")


@pytest.fixture
def images(manifest: Manifest) -> ImageSet:
    return load_images(manifest, ["gender"])


@pytest.fixture
def pool(images: ImageSet) -> Pool:
    return images.pool(np.arange(COUNT))


def raw(manifest: Manifest, row: int) -> np.ndarray:
    return np.asarray(Image.open(manifest.images / manifest.files[row])).transpose(2, 0, 1)


class TestLoading:
    def test_pixels_are_those_of_the_files(self, manifest: Manifest, images: ImageSet) -> None:
        assert images.pixels.shape == (COUNT, 3, SIZE, SIZE)
        assert all(np.array_equal(images.pixels[row], raw(manifest, row)) for row in range(COUNT))

    def test_second_call_opens_no_image(
        self, manifest: Manifest, images: ImageSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("an image was opened")

        monkeypatch.setattr(Image, "open", refuse)
        again = load_images(manifest, ["gender"])
        assert np.array_equal(again.pixels, images.pixels)

    def test_a_changed_image_is_decoded_again(self, manifest: Manifest, images: ImageSet) -> None:
        Image.new("RGB", (SIZE, SIZE), (7, 8, 9)).save(manifest.images / "3.png")
        assert load_images(manifest, []).pixels[3, :, 0, 0].tolist() == [7, 8, 9]

    def test_another_size_is_another_entry(self, manifest: Manifest, images: ImageSet) -> None:
        small = load_images(manifest, [], transform=Transform(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
        assert small.pixels.shape == (COUNT, 3, 8, 8)
        assert next(small.pool(np.arange(2)).batches(2, "cpu")).images.min() >= 0
        assert np.array_equal(load_images(manifest, []).pixels, images.pixels)

    @pytest.mark.parametrize("damage", ["short", "flipped", "meta", "no meta", "no pixels", "other meta"])
    def test_a_damaged_entry_is_built_again(self, manifest: Manifest, images: ImageSet, damage: str) -> None:
        before = np.array(images.pixels)
        (file,) = Path(os.environ["FAIRPRUNE_CACHE"]).rglob("pixels.u8")
        meta = file.with_name("meta.json")
        content = bytearray(file.read_bytes())
        if damage == "short":
            file.write_bytes(content[:-1])
        elif damage == "flipped":
            content[1000] ^= 1
            file.write_bytes(content)
        elif damage == "meta":
            meta.write_text("{")
        elif damage == "no meta":
            meta.unlink()
        elif damage == "other meta":
            meta.write_text(json.dumps({"shape": [1], "crc32": "x"}))
        else:
            file.unlink()
        again = load_images(manifest, [])
        assert np.array_equal(again.pixels, before)
        (entry,) = (path for path in file.parent.parent.iterdir() if path.is_dir())
        assert sorted(path.name for path in entry.iterdir()) == ["meta.json", "pixels.u8"]

    def test_bad_images_are_reported_all_at_once(self, manifest: Manifest) -> None:
        (manifest.images / "2.png").write_bytes((manifest.images / "2.png").read_bytes()[:300])
        (manifest.images / "4.png").unlink()
        Image.new("RGB", (4, 40)).save(manifest.images / "6.png")
        with pytest.raises(FairpruneError) as caught:
            load_images(manifest, [])
        text = str(caught.value)
        assert "table.csv row 4: image '2.png' is cut short" in text
        assert "table.csv row 6: image '4.png' does not exist" in text
        assert "table.csv row 8: image '6.png' is 4x40 pixels" in text
        assert not list(Path(os.environ["FAIRPRUNE_CACHE"]).rglob("pixels.u8"))

    def test_a_cache_that_cannot_be_written_is_an_error(
        self, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path / "file"))
        with pytest.raises(FairpruneError, match="FAIRPRUNE_CACHE") as caught:
            load_images(manifest, [])
        assert caught.value.code == 3

    def test_two_processes_at_once(self, manifest: Manifest) -> None:
        code = (
            "import sys, hashlib; from pathlib import Path\n"
            "from fairprune_cli.data.batches.pool import load_images\n"
            "from fairprune_cli.data.manifest.load import load_manifest\n"
            "images = load_images(load_manifest(Path(sys.argv[1])), [])\n"
            "print(hashlib.sha256(images.pixels.tobytes()).hexdigest())"
        )
        command = [sys.executable, "-c", code, str(manifest.path)]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [process.communicate()[0] for process in started]
        assert [process.returncode for process in started] == [0, 0]
        assert printed[0] == printed[1] != ""
        cache = Path(os.environ["FAIRPRUNE_CACHE"]) / "images"
        assert len([path for path in cache.iterdir() if path.is_dir()]) == 1

    def test_progress_reaches_the_end(self, manifest: Manifest) -> None:
        seen: list[tuple[int, int]] = []
        load_images(manifest, [], progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (COUNT, COUNT)

    def test_unknown_attribute(self, manifest: Manifest) -> None:
        with pytest.raises(FairpruneError, match="did you mean 'gender'"):
            load_images(manifest, ["gendr"])


def test_batches_in_turns_are_those_of_all(pool: Pool) -> None:
    whole = list(pool.batches(7, "cpu"))
    for processes in (3, 6):  # 24 images are four batches of 7: of six processes two have none
        parts = [list(pool.batches(7, "cpu", turn=(number, processes))) for number in range(processes)]
        assert [len(part) for part in parts] == {3: [2, 1, 1], 6: [1, 1, 1, 1, 0, 0]}[processes]
        assert all(same(batch, parts[i % processes][i // processes]) for i, batch in enumerate(whole))


class TestPool:
    def test_every_row_once_in_order(self, manifest: Manifest, images: ImageSet) -> None:
        rows = np.array([9, 3, 5, 20, 0])
        batches = list(images.pool(rows).batches(2, "cpu"))
        assert [len(batch.labels) for batch in batches] == [2, 2, 1]
        assert torch.cat([batch.rows for batch in batches]).tolist() == rows.tolist()
        assert torch.cat([batch.labels for batch in batches]).tolist() == (rows % 2).tolist()
        # Image 5 names no gender.
        assert torch.cat([batch.groups for batch in batches])[:, 0].tolist() == [0, 1, -1, 0, 0]

    def test_values_are_torchvisions_to_the_bit(self, manifest: Manifest, pool: Pool) -> None:
        from torchvision import transforms

        transform = manifest.transform
        reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(transform.mean, transform.std)])
        batch = next(pool.batches(COUNT, "cpu"))
        for row in range(COUNT):
            expected = reference(Image.open(manifest.images / manifest.files[row]))
            assert torch.equal(batch.images[row], expected)

    def test_channels_last_changes_the_layout_only(self, pool: Pool) -> None:
        plain = next(pool.batches(5, "cpu"))
        last = next(pool.batches(5, "cpu", channels_last=True))
        assert same(plain, last)
        assert plain.images.is_contiguous()
        assert last.images.is_contiguous(memory_format=torch.channels_last)

    def test_rows_outside_the_set(self, images: ImageSet) -> None:
        with pytest.raises(IndexError):
            images.pool(np.array([COUNT]))


class TestSplitRows:
    def test_each_combination_is_divided_to_within_one(self, manifest: Manifest) -> None:
        groupings = [manifest.grouping("gender")]
        rows = np.delete(np.arange(COUNT), 5)
        first, second = split_rows(manifest, rows, 0.5, 0, groupings)
        assert sorted([*first, *second]) == rows.tolist()
        for label in (0, 1):
            for group in (0, 1):
                cell = (manifest.labels == label) & (groupings[0].index == group)
                assert abs(cell[first].sum() - cell[second].sum()) <= 1

    def test_order_of_rows_does_not_matter_and_seed_does(self, manifest: Manifest) -> None:
        one = split_rows(manifest, np.arange(COUNT), 0.5, 0, [])
        two = split_rows(manifest, np.arange(COUNT)[::-1], 0.5, 0, [])
        other = split_rows(manifest, np.arange(COUNT), 0.5, 1, [])
        assert np.array_equal(one[0], two[0])
        assert not np.array_equal(one[0], other[0])

    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 999),
        count=st.integers(1, 300),
        share=st.floats(0.05, 0.95),
        kinds=st.integers(1, 6),
    )
    def test_shares_hold(self, seed: int, count: int, share: float, kinds: int) -> None:
        rng = np.random.default_rng(seed)
        cells = rng.integers(0, kinds, count)
        keys = random_keys([str(i) for i in range(count)], seed)
        part = assign_parts(cells, None, (share, 1 - share), keys)
        for cell in range(kinds):
            total = (cells == cell).sum()
            assert abs((part[cells == cell] == 0).sum() - share * total) <= 1

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 999), share=st.sampled_from([0.2, 0.5, 0.7]))
    def test_persons_stay_whole_and_shares_close(self, seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        persons = rng.integers(0, 150, 600)
        cells = (persons % 2) * 2 + rng.integers(0, 2, 600)
        keys = random_keys([str(i) for i in range(600)], seed)
        part = assign_parts(cells, persons, (share, 1 - share), keys)
        assert len(np.unique(np.stack([persons, part]), axis=1)[0]) == len(np.unique(persons))
        for cell in range(4):
            assert abs((part[cells == cell] == 0).mean() - share) < 0.08


def test_lfw_smile_is_loaded_when_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get("FAIRPRUNE_DATA_ROOT")
    if not root or not (Path(root) / "lfw-smile" / "manifest.yaml").is_file():
        pytest.skip("FAIRPRUNE_DATA_ROOT does not name a folder that holds lfw-smile")
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(tmp_path))
    manifest = load_manifest(Path(root) / "lfw-smile" / "manifest.yaml")
    assert {split: counts["n"] for split, counts in manifest.counts().items()} == {
        "train": 7773,
        "val": 1515,
        "test": 2729,
    }
    assert manifest.warnings == ()
    images = load_images(manifest, ["gender"])
    first, second = split_rows(manifest, manifest.rows_of("train"), 0.8, 0, images.groupings)
    assert manifest.persons is not None
    assert not set(manifest.persons[first]) & set(manifest.persons[second])
    gender: Grouping = images.groupings[0]
    for rows in (first, second):
        assert abs((gender.index[rows] == 1).mean() - 1640 / 7773) < 0.01
    batch = images.pool(second).sampler(64, "cpu", 0, True).next()
    assert batch.images.shape == (64, 3, 64, 64)
    assert batch.images.isfinite().all()
