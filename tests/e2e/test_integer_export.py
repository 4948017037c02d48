"""export --int8: calibrated on val alone, compared, audited, or refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pixels import Normaliser
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.export import int8
from fairprune_cli.run.integer_export import Int8Request, export_int8
from fairprune_cli.run.options import resolve
from tests.support.commands import Work, fairprune

QUICK = ("--calibration-images", "48")


def test_the_file_does_what_the_export_says(work: Work, channel_run: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "small.onnx"
    ran = fairprune(
        "export", str(channel_run), "--to", "onnx", "--int8", *QUICK, "--data", str(work.folder), "--out", str(out),
        "--attr", "gender", "--json", "--quiet", cwd=tmp_path,
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["int8"]["groups"] == {"female": 24, "male": 24}
    assert told["bytes"] == out.stat().st_size < told["int8"]["float_bytes"]
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    # A slow loop over the test images, with the runtime alone.
    manifest = load_manifest(work.folder / "manifest.yaml")
    images, prepare = load_images(manifest, ["gender"]), Normaliser(manifest.transform)
    session = onnxruntime.InferenceSession(str(out))
    right: dict[int, list[bool]] = {0: [], 1: []}
    for row in manifest.rows_of("test"):
        pixels = prepare(torch.from_numpy(images.pixels_of(row)[None].copy())).numpy()
        predicted = session.run(None, {"images": pixels})[0].argmax()
        right[int(images.groups[row, 0])].append(bool(predicted == manifest.labels[row]))
    found = told["audit"]["results"]["int8"]["attributes"]["gender"]["groups"]
    assert [(found[name]["n"], found[name]["correct"]) for name in ("female", "male")] == [
        (len(right[0]), sum(right[0])), (len(right[1]), sum(right[1]))
    ]  # fmt: skip
    changes = told["audit"]["degradation"]["gender"]["groups"]
    for name in ("female", "male"):
        before = told["audit"]["results"]["float"]["attributes"]["gender"]["groups"][name]["accuracy"]
        assert changes[name]["change"] == pytest.approx(found[name]["accuracy"] - before)


def exported(work: Work, out: Path, **flags: Any) -> Any:
    settings = resolve({"data": str(work.folder), "calibration_images": 60, **flags}, {}, None).settings
    return export_int8(Int8Request(work.model, settings, out), Terminal(quiet=True))


def test_only_val_calibrates_and_every_combination_of_groups_alike(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    seen: list[np.ndarray] = []
    quantise = int8.quantise

    def watched(graph: Path, path: Path, batches: Iterable[np.ndarray], told: Mapping[str, Any]) -> int8.Quantised:
        seen.extend(batches)
        return quantise(graph, path, (0 * images for images in seen), told)  # ranges in which nothing is told apart

    monkeypatch.setattr(int8, "quantise", watched)
    with pytest.raises(FairpruneError, match="no longer decides as the float graph"):
        exported(work, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
    manifest = load_manifest(work.folder / "manifest.yaml")
    images, prepare = load_images(manifest, list(manifest.attributes)), Normaliser(manifest.transform)
    every = prepare(torch.from_numpy(np.array(images.pixels))).numpy()
    where = {image.tobytes(): row for row, image in enumerate(every)}
    rows = np.array([where[image.tobytes()] for batch in seen for image in batch])
    assert len(np.unique(rows)) == 60
    assert set(rows) <= set(manifest.rows_of("val"))
    sizes = np.unique(images.groups[rows], axis=0, return_counts=True)[1]
    of_val = np.unique(images.groups[manifest.rows_of("val")], axis=0, return_counts=True)[1]
    full = sizes == sizes.max()
    assert full.sum() > 1
    assert all(
        size in (sizes.max() - 1, sizes.max()) or size == least for size, least in zip(sizes, of_val, strict=True)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "pt2", "--int8"), "pt2 has no form in 8-bit integers"),
        (("--to", "onnx", "--int8", "--store", "fp16"), "--int8 and --store both say how weights are stored"),
        (("--to", "onnx", "--attr", "gender"), "--attr: says how --int8 is calibrated and audited"),
        (("--to", "onnx", "--calibration-images", "9"), "--calibration-images: says how --int8"),
        (("--to", "onnx", "--int8", "--calibration-images", "0"), "--calibration-images: 0 is not"),
        (("--to", "onnx", "--int8", "--attr", "height"), "height"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(work: Work, arguments: tuple[str, ...], said: str) -> None:
    ran = fairprune("export", "model.pt", *arguments, "--out", "no.onnx", cwd=work.folder)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (work.folder / "no.onnx").exists()


def test_without_images_there_is_no_calibration(work: Work, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    shutil.copy(work.model, tmp_path / "model.pt")
    command = ("export", "model.pt", "--to", "onnx", "--int8")
    ran = fairprune(*command, cwd=tmp_path)
    assert (ran.code, "--int8 is calibrated on images: no manifest found" in ran.err) == (2, True), ran.err
    shutil.copytree(work.folder / "images", tmp_path / "images")
    table = (work.folder / "table.csv").read_text()
    (tmp_path / "table.csv").write_text(table.replace(",val", ",train"))
    shutil.copy(work.folder / "manifest.yaml", tmp_path / "manifest.yaml")
    ran = fairprune(*command, cwd=tmp_path)
    assert ran.code == 2
    assert "the val split has no images, and --int8 is calibrated on them" in ran.err
    assert "splits: {val: from-train}" in ran.err
