"""What libjpeg says of an image among many is heard and told with the file's name, and nothing else is lost."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.checks.check import check_data
from fairprune_cli.data.images.decode import decode
from fairprune_cli.data.images.decoder_words import DecoderWords, decoder_words
from fairprune_cli.data.manifest.load import load_manifest
from tests.support.shards import moved_into_shards

SIDE = 64  # images far larger are left to Pillow
TRANSFORM = f"transform: {{size: {SIDE}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\n"


def jpeg(seed: int, progressive: bool = False) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(pixels).resize((96, 80), Image.Resampling.BICUBIC)
    image.save(stream, "JPEG", quality=90, progressive=progressive)
    return stream.getvalue()


def folder(root: Path, damaged: dict[int, bytes], count: int = 120) -> Path:
    lines = ["file,label,sex,split"]
    for i in range(count):
        (root / f"{i}.jpg").write_bytes(damaged.get(i, jpeg(i)))
        lines.append(f"{i}.jpg,{'ab'[i % 2]},{'fm'[i // 2 % 2]},{('train', 'val', 'test')[i % 3]}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    (root / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\ncolumns: {image: file, label: label, split: split}\nclasses: [a, b]\n"
        f"attributes: {{sex: {{column: sex}}}}\n{TRANSFORM}"
    )
    return root / "manifest.yaml"


def test_each_damaged_image_is_named_and_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut, late = jpeg(7), jpeg(90, progressive=True)
    damaged = {7: cut[: len(cut) // 2] + cut[-2:], 90: late[: len(late) // 2] + late[len(late) // 2 + 150 :]}
    sound = {8: jpeg(8, progressive=True), 91: jpeg(91, progressive=True)}
    with pytest.raises(FairpruneError) as caught:
        load_images(load_manifest(folder(tmp_path, damaged | sound)), [])
    lines = str(caught.value).splitlines()
    assert [line.split("'")[1] for line in lines if "image '" in line] == ["7.jpg", "90.jpg"]
    assert "t.csv row 9: image '7.jpg' is damaged: its data ends before its picture is complete" in str(caught.value)
    assert "image '90.jpg' is damaged: libjpeg says 'Corrupt JPEG data" in str(caught.value)
    assert "Corrupt" not in capfd.readouterr().err


def test_a_damaged_image_in_a_shard_is_named_with_shard_and_row(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut, late = jpeg(7), jpeg(90, progressive=True)
    damaged = {7: cut[: len(cut) // 2] + cut[-2:], 90: late[: len(late) // 2] + late[len(late) // 2 + 150 :]}
    path = moved_into_shards(folder(tmp_path, damaged | {8: jpeg(8, progressive=True)}), 3)
    with pytest.raises(FairpruneError) as caught:
        load_images(load_manifest(path), [])
    text = str(caught.value)
    assert [line.split("'")[1] for line in text.splitlines() if "image '" in line] == ["7.jpg", "90.jpg"]
    assert "t.csv row 9, in s-1.tar: image '7.jpg' is damaged: its data ends before its picture is complete" in text
    assert "t.csv row 92, in s-2.tar: image '90.jpg' is damaged: libjpeg says 'Corrupt JPEG data" in text
    assert "Corrupt" not in capfd.readouterr().err
    faults = [finding.line() for finding in check_data(path).findings if finding.severity == "error"]
    said = "7.jpg, row 9: is damaged: its data ends before its picture is complete (in s-1.tar)"
    assert faults == [said]  # of scans of progressive files it sees the end alone


def test_what_others_write_to_stderr_passes(capfd: pytest.CaptureFixture[str]) -> None:
    content = jpeg(1)
    cut = content[: len(content) // 2] + content[-2:]

    def write() -> None:
        for i in range(200):
            os.write(2, f"line {i}\n".encode())

    with decoder_words(lambda data: decode(data, SIDE, checked=False)) as words:
        assert words is not None
        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(20):
            decode(cut, SIDE, checked=False)
            words.pass_on()
        thread.join()
        os.write(2, b"no end of line")
    os.write(2, b" and more\n")
    assert capfd.readouterr().err == "".join(f"line {i}\n" for i in range(200)) + "no end of line and more\n"


def test_where_nothing_is_heard_nobody_listens() -> None:
    with decoder_words(lambda data: None) as words:
        assert words is None
    with decoder_words(lambda data: decode(data, SIDE, checked=False)) as words:
        assert isinstance(words, DecoderWords)


def test_words_about_another_image_are_not_about_this_one() -> None:
    content = jpeg(1)
    cut = content[: len(content) // 2] + content[-2:]
    stop = threading.Event()

    def others() -> None:
        while not stop.is_set():
            decode(cut, SIDE, checked=False)
            stop.wait(0.01)

    with DecoderWords() as words:
        assert words.about(lambda: decode(cut, SIDE, checked=False)).startswith("Corrupt JPEG data: premature end")
        thread = threading.Thread(target=others)
        thread.start()
        heard = [words.about(lambda: decode(content, SIDE, checked=False)) for _ in range(50)]
        stop.set()
        thread.join()
    assert heard.count("") >= 48


def test_stderr_is_given_back_after_an_error() -> None:
    before = os.fstat(2)
    with pytest.raises(KeyError), DecoderWords():
        raise KeyError
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
