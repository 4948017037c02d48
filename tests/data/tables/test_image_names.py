"""Which files are taken for images: every suffix that can be opened, none at all, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.checks.check import check_data
from fairprune_cli.data.manifest.load import init_manifest, load_manifest
from fairprune_cli.data.tables import image_names
from fairprune_cli.data.tables.folders import list_folder
from fairprune_cli.data.tables.image_names import image_formats, image_suffixes, is_image_file, is_image_name

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def test_every_suffix_that_pillow_knows_of_these_formats() -> None:
    Image.init()
    for suffix, name in Image.EXTENSION.items():
        assert is_image_name(f"a{suffix}") == (name in {*image_formats(), "MPO"}), suffix


def test_no_format_asks_others() -> None:
    assert not {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "FITS", "MPEG"} & set(image_formats())


def test_a_format_that_this_pillow_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    for cached in (image_formats, image_suffixes):
        cached.cache_clear()
    try:
        assert "AVIF" not in image_names.image_formats()
        assert not is_image_name("a.avif")
        assert is_image_name("a.webp")
    finally:
        monkeypatch.undo()
        for cached in (image_formats, image_suffixes):
            cached.cache_clear()


@pytest.mark.parametrize(
    "kind",
    [
        k
        for k in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "QOI")
        if k in image_formats()
    ],
)
def test_without_a_suffix_the_beginning_tells(tmp_path: Path, kind: str) -> None:
    for name in ("0001", "face.0001", "a.b c.7"):
        PICTURE.save(tmp_path / name, kind)
        assert is_image_file(str(tmp_path), name)
    (tmp_path / "README").write_text("no image")
    (tmp_path / "LICENSE.2").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name in ("README", "LICENSE.2", "folder", "gone"):
        assert not is_image_file(str(tmp_path), name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not is_image_file(str(tmp_path), "pipe")


def test_a_folder_counts_what_it_leaves_out(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for name in ("a.jfif", "b.JPE", "c.pjpeg", "d", "e.0002"):
            PICTURE.save(tmp_path / label / name, "JPEG")
        (tmp_path / label / ".hidden.jpg").write_bytes(b"")
    for i in range(3):
        (tmp_path / "cat" / f"{i}.heic").write_bytes(b"")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "dog" / "Makefile").write_text("all:")
    problems = Problems("m")
    listing = list_folder(tmp_path, problems)
    assert listing is not None
    assert not problems
    assert [file for file in listing.files if file.startswith("cat")] == [
        f"cat/{n}" for n in ("a.jfif", "b.JPE", "c.pjpeg", "d", "e.0002")
    ]
    assert len(listing.files) == 10
    told = "5 files in class folders are no images that can be opened and are left out: "
    assert told + "3 .heic, 1 without a suffix, 1 .txt" in listing.warnings


def test_a_table_takes_any_suffix_and_images_without_a_row_are_counted(tmp_path: Path) -> None:
    lines = ["file,label,sex,split"]
    for i in range(24):
        name = f"{i}{('.jfif', '.jpe', '', '.0007', '.unusual', '.avif')[i % 6]}"
        Image.fromarray(np.full((16, 16, 3), 5 * i, dtype=np.uint8)).save(
            tmp_path / name, "AVIF" if i % 6 == 5 else "JPEG"
        )
        lines.append(f"{name},{'ab'[i % 2]},{'fm'[i // 2 % 2]},{('train', 'val', 'test')[i // 8]}")
    PICTURE.save(tmp_path / "more", "JPEG")
    PICTURE.save(tmp_path / "more.jfif", "JPEG")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\ncolumns: {image: file, label: label, split: split}\nclasses: [a, b]\n"
        "attributes: {sex: {column: sex}}\ntransform: {size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
    )
    checked = check_data(tmp_path / "manifest.yaml")
    assert (checked.images, checked.count("error")) == (24, 0)
    assert any("2 images beside those of the manifest have no row" in finding.text for finding in checked.findings)


def test_a_table_of_images_without_suffixes_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    lines = ["caption,id,label,sex,split"]
    for i in range(24):
        Image.fromarray(np.full((16, 16, 3), 5 * i, dtype=np.uint8)).save(tmp_path / "im" / f"f{i:02d}", "JPEG")
        lines.append(f"{'long ' * 80}{i},f{i:02d},{'ab'[i % 2]},{'fm'[i // 2 % 2]},{('train', 'val', 'test')[i // 8]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "manifest.yaml").write_text(init_manifest(tmp_path / "t.csv"))
    manifest = load_manifest(tmp_path / "manifest.yaml")
    assert (len(manifest), manifest.images.name, manifest.classes) == (24, "im", ("a", "b"))
    assert manifest.files[3] == "f03"
