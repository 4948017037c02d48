"""The picture of `data stats --out`."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from fairprune_cli.commands import data as datasets
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.checks import gallery
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.run.options import Settings
from tests.support.datasets import TRANSFORM

COLOURS = {("no", "m"): (200, 0, 0), ("no", "f"): (0, 200, 0), ("yes", "m"): (0, 0, 200), ("yes", "f<&"): (90, 90, 0)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One colour for each label x group, ten images of each in train and one in test."""
    lines = ["file,y,sex,part"]
    for (label, sex), colour in COLOURS.items():
        for i in range(11):
            name = f"{label}{sex[0]}{i}.png"
            Image.new("RGB", (16, 16), colour).save(tmp_path / name)
            lines.append(f"{name},{label},{sex[0]},{'train' if i else 'test'}")
    text = "\n".join(lines).replace(",f,", ",f<&,")
    (tmp_path / "t.csv").write_text(text + "\n")
    (tmp_path / "manifest.yaml").write_text(
        "version: 1\nname: a & b\ntable: t.csv\ncolumns: {image: file, label: y, split: part}\nclasses: [no, yes]\n"
        f"attributes: {{sex: {{values: [m, f<&]}}}}\n{TRANSFORM}"
    )
    return tmp_path


def stats(folder: Path, out: Path, **options: object) -> str:
    err = io.StringIO()
    terminal = Terminal(io.StringIO(), err, {})
    assert datasets.stats(Settings(data=str(folder)), terminal, False, out, **options) == 0  # type: ignore[arg-type]
    return err.getvalue()


def test_thumbnails_stand_in_the_cell_of_their_label_and_group(data: Path) -> None:
    stats(data, data / "p.png")
    sheet = Image.open(data / "p.png").convert("RGB")
    shown = gallery.draw(load_manifest(data), "train")
    assert sheet.size == (shown.width, shown.height)
    assert len(shown.images) == 4 * gallery.EACH
    middles = [sheet.getpixel((x + gallery.SIDE // 2, y + gallery.SIDE // 2)) for x, y, _ in shown.images]
    expected = [COLOURS["no", "m"], COLOURS["yes", "m"], COLOURS["no", "f"], COLOURS["yes", "f<&"]]
    assert middles == [colour for colour in expected for _ in range(gallery.EACH)]


@pytest.mark.parametrize("kind", ["svg", "html"])
def test_one_file_without_network_and_with_the_counts(data: Path, kind: str) -> None:
    stats(data, data / f"p.{kind}")
    text = (data / f"p.{kind}").read_text()
    svg = re.search(r"<svg.*</svg>", text, re.DOTALL)
    assert svg is not None
    root = ET.fromstring(svg[0])
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert words[0] == "a & b: train, 40 images"
    assert words.count("10 images") == 4
    assert "f<&" in words
    links = re.findall(r'href="([^"]{5})', text)
    assert set(links) == {"data:"}


def test_the_split_is_chosen_and_the_choice_of_images_is_fixed(data: Path) -> None:
    stats(data, data / "a.svg", split="test")
    stats(data, data / "b.svg", split="test")
    assert (data / "a.svg").read_bytes() == (data / "b.svg").read_bytes()
    assert len(gallery.draw(load_manifest(data), "test").images) == 4


def test_images_that_cannot_be_decoded_are_named(data: Path) -> None:
    for file in data.glob("nom*.png"):
        file.write_bytes(b"no image")
    said = stats(data, data / "p.png")
    assert said.count("cannot be decoded") == gallery.EACH


def test_faults(data: Path) -> None:
    with pytest.raises(FairpruneError, match="names no kind of picture"):
        stats(data, data / "p.gif")
    stats(data, data / "p.svg")
    with pytest.raises(FairpruneError, match="already exists"):
        stats(data, data / "p.svg")
    stats(data, data / "p.svg", force=True)
    with pytest.raises(FairpruneError, match="unknown split"):
        stats(data, data / "q.svg", split="trian")


def test_without_attributes_the_labels_alone_are_shown(data: Path) -> None:
    text = (data / "manifest.yaml").read_text()
    (data / "manifest.yaml").write_text(re.sub(r"attributes:.*\n", "", text))
    assert len(gallery.draw(load_manifest(data), "train").images) == 2 * gallery.EACH


def test_thumbnails_are_what_the_model_sees(data: Path) -> None:
    manifest = data / "manifest.yaml"
    grey = "transform: {size: [8, 16], mean: [0.5], std: [0.25]}\n"
    manifest.write_text(manifest.read_text().replace(TRANSFORM, grey))
    shown = gallery.draw(load_manifest(data), "train").images
    assert {(image.mode, image.size) for _, _, image in shown if image} == {("L", (gallery.SIDE, gallery.SIDE // 2))}
    stats(data, data / "p.svg")
    assert f'width="{gallery.SIDE}" height="{gallery.SIDE // 2}"' in (data / "p.svg").read_text()
