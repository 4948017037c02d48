"""The embedded data set: reproducible to the byte, whole or not there, balanced, and readable by others."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.drawn_faces.write import draw_faces, encode_png, write_sample

SMALL = {"train": 60, "val": 20, "test": 40}


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "faces", seed=3, sizes=SMALL)


def read_table(manifest: Path) -> list[dict[str, str]]:
    with open(manifest.parent / "table.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_bytes_are_pinned(sample: Path) -> None:
    """Fails when a change to the drawing changes the data that published figures were measured on."""
    assert tree_digest(sample.parent) == "580d02d5b0ffae39f4b2cebce047e150084daabc103015c162f7cc18406ec9be"


def test_another_seed_draws_other_pictures(tmp_path: Path, sample: Path) -> None:
    other = write_sample(tmp_path / "faces", seed=4, sizes=SMALL)
    first = "images/test/00000.png"
    assert (other.parent / first).read_bytes() != (sample.parent / first).read_bytes()


def test_manifest_and_table_agree_with_the_files(sample: Path) -> None:
    manifest = yaml.safe_load(sample.read_text())
    assert manifest["columns"] == {"image": "file", "label": "expression", "split": "split"}
    assert manifest["transform"]["size"] == 40
    rows = read_table(sample)
    images = sample.parent / manifest["images"]
    assert sorted(row["file"] for row in rows) == sorted(
        p.relative_to(images).as_posix() for p in images.rglob("*.png")
    )
    assert {row["expression"] for row in rows} == set(manifest["classes"])
    assert {row["gender"] for row in rows} == set(manifest["attributes"]["gender"]["values"])
    edges = manifest["attributes"]["age"]["bins"]
    held = np.histogram([int(row["age"]) for row in rows], edges)[0]
    assert held.sum() == len(rows)
    assert (held > 0).all()
    for split, n in SMALL.items():
        assert sum(row["split"] == split for row in rows) == n
    with Image.open(images / rows[0]["file"]) as picture:
        picture.load()
        assert (picture.size, picture.mode) == ((40, 40), "RGB")


def test_labels_are_balanced_in_every_group_and_men_are_the_minority(tmp_path: Path) -> None:
    rows = read_table(write_sample(tmp_path / "faces", sizes={"test": 400}, size=16))
    men = [row for row in rows if row["gender"] == "male"]
    assert len(men) == 60
    for group in (men, [row for row in rows if row["gender"] == "female"]):
        for low, high in ((0, 30), (30, 60), (60, 120)):
            smiles = [row["expression"] == "smiling" for row in group if low <= int(row["age"]) < high]
            assert len(smiles) >= 14
            assert abs(2 * sum(smiles) - len(smiles)) <= 1


def changed(label_a: int, label_b: int, gender: int) -> np.ndarray:
    """Mean absolute difference [row of pixels] between the same faces drawn with two labels."""
    n = 60
    people = np.full(n, gender), np.linspace(18, 85, n).astype(int)
    a, b = (draw_faces(np.full(n, label), *people, generator(5)).astype(int) for label in (label_a, label_b))
    return np.abs(a - b).mean(axis=(0, 2, 3))


def test_the_label_moves_the_mouth_of_women_and_the_eyelids_of_men() -> None:
    mouth, eyes = slice(25, 35), slice(15, 25)
    women, men = changed(0, 1, gender=0), changed(0, 1, gender=1)
    assert women[mouth].sum() > 5 * women[eyes].sum()
    assert men[eyes].sum() > 5 * men[mouth].sum()
    assert men.sum() > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 96), st.integers(0, 2**32), st.integers(0, 1), st.integers(0, 1), st.integers(1, 110))
def test_any_face_can_be_drawn_at_any_size(size: int, seed: int, label: int, gender: int, age: int) -> None:
    one = np.array([label]), np.array([gender]), np.array([age])
    faces = draw_faces(*one, generator(seed), size)
    assert (faces.shape, faces.dtype) == ((1, size, size, 3), np.uint8)
    assert faces.std() > 10  # something is drawn
    assert np.array_equal(faces, draw_faces(*one, generator(seed), size))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32))
def test_png_is_read_back_exactly(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as picture:
        assert np.array_equal(np.asarray(picture), pixels)


def test_progress_counts_up_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_sample(tmp_path / "faces", sizes={"train": 250, "val": 10}, size=16, progress=lambda *now: seen.append(now))
    assert seen == [(200, 260), (250, 260), (260, 260)]


def test_nonempty_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FairpruneError, match="not empty"):
        write_sample(tmp_path, sizes=SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_force_replaces_the_sample_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    write_sample(folder, seed=1, sizes=SMALL, size=16)
    (folder / "model.pt").write_bytes(b"weights")
    write_sample(folder, seed=2, sizes={"test": 8}, size=16, force=True)
    assert (folder / "model.pt").read_bytes() == b"weights"
    assert len(list((folder / "images").rglob("*.png"))) == 8
    assert len(read_table(folder / "manifest.yaml")) == 8
    assert [p.name for p in tmp_path.iterdir()] == ["faces"]


def test_force_never_overwrites_other_data(tmp_path: Path) -> None:
    (tmp_path / "faces" / "images").mkdir(parents=True)
    (tmp_path / "faces" / "images" / "holiday.png").write_bytes(b"mine")
    with pytest.raises(FairpruneError, match="other data"):
        write_sample(tmp_path / "faces", sizes=SMALL, force=True)
    assert (tmp_path / "faces" / "images" / "holiday.png").read_bytes() == b"mine"


@pytest.mark.parametrize("existing", [False, True])
def test_interruption_leaves_the_folder_as_it_was(tmp_path: Path, existing: bool) -> None:
    folder = tmp_path / "faces"
    if existing:
        write_sample(folder, seed=1, sizes={"test": 8}, size=16)
    before = tree_digest(folder)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(folder, sizes=SMALL, size=16, progress=interrupt, force=True)
    assert tree_digest(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == (["faces"] if existing else [])


def test_failure_while_replacing_brings_the_old_sample_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    folder = tmp_path / "faces"
    write_sample(folder, seed=1, sizes={"test": 8}, size=16)
    before, rename = tree_digest(folder), os.rename

    def failing(source: Path, target: Path) -> None:
        if Path(target) == folder / "table.csv" and source.parent.name == "new":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(FairpruneError, match="No space left") as caught:
        write_sample(folder, seed=2, sizes={"test": 8}, size=16, force=True)
    assert caught.value.code == ExitCode.RUNTIME
    assert tree_digest(folder) == before


def test_all_impossible_wishes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError) as caught:
        write_sample(tmp_path / "faces", sizes={"training": 10, "val": -1}, size=8)
    for word in ("training", "-1 images", "8 pixels"):
        assert word in str(caught.value)
    assert not (tmp_path / "faces").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("a file")
    with pytest.raises(FairpruneError, match="not a folder"):
        write_sample(tmp_path / "faces", sizes=SMALL)


def test_importing_needs_no_torch_and_no_pillow() -> None:
    import subprocess
    import sys

    code = "import sys, fairprune_cli.data.drawn_faces.write; sys.exit(bool({'torch', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
