"""One model as a checkpoint, an ONNX graph, a torch.export program and a table of predictions: the same counts."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from fairprune_cli.models.checkpoint.load import load_model
from tests.support.commands import Work, fairprune

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))


def audited(work: Work, *arguments: str, code: int = 0, **how: Any) -> dict[str, Any]:
    ran = fairprune("audit", *arguments, "--data", str(work.folder / "manifest.yaml"), "--attr", "gender", "--json",
                    cwd=work.folder, **how)  # fmt: skip
    assert ran.code == code, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    errors = [f"{e.json_path}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(document)]
    assert errors == []
    return document


@pytest.fixture(scope="module")
def graphs(work: Work, channel_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The channel-pruned model in both formats; the dense one as a program."""
    folder = tmp_path_factory.mktemp("graphs")
    pytest.importorskip("onnxruntime")
    for source, kind, name in ((str(channel_run), "onnx", "pruned.onnx"), (str(channel_run), "pt2", "pruned.pt2"),
                               ("model.pt", "pt2", "dense.pt2")):  # fmt: skip
        ran = fairprune("export", source, "--to", kind, "--out", str(folder / name), cwd=work.folder)
        assert ran.code == 0, ran.err
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tables(work: Work, channel_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What both models say of every image of the test split: names, and scores."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("tables")
    with open(work.folder / "table.csv", newline="") as stream:
        files = [row["file"] for row in csv.DictReader(stream) if row["split"] == "test"]
    import yaml

    manifest = yaml.safe_load((work.folder / "manifest.yaml").read_text())
    pixels = np.stack([np.asarray(Image.open(work.folder / manifest["images"] / file)) for file in files])
    told = manifest["transform"]
    images = torch.from_numpy(((pixels / 255 - told["mean"]) / told["std"]).astype(np.float32)).permute(0, 3, 1, 2)
    for name, source in (("dense", work.folder / "model.pt"), ("pruned", channel_run)):
        with torch.inference_mode():
            scores = load_model(source).model(images)
        classes = [manifest["classes"][i] for i in scores.argmax(1).tolist()]
        with open(folder / f"{name}.csv", "w", newline="") as stream:
            csv.writer(stream).writerows([["file", *manifest["classes"]],
                                          *([f, *s] for f, s in zip(files, scores.tolist(), strict=True))])  # fmt: skip
        with open(folder / f"{name}-named.csv", "w", newline="") as stream:
            csv.writer(stream).writerows([["file", "predicted"], *zip(files, classes, strict=True)])
    return {path.name: path for path in folder.iterdir()}


def counts(document: dict[str, Any], model: str) -> Any:
    """Numbers of images alone, by group."""
    groups = document["results"][model]["attributes"]["gender"]["groups"]
    return {name: (one["n"], one["correct"], one["metrics"]["selection_rate"]) for name, one in groups.items()}


def test_the_same_counts_from_every_kind(
    work: Work, channel_run: Path, graphs: dict[str, Path], tables: dict[str, Path]
) -> None:
    models = [str(channel_run), str(graphs["pruned.onnx"]), str(graphs["pruned.pt2"])]
    document = audited(work, *models, "--against", "model.pt")
    found = [counts(document, name) for name in document["results"] if name != "dense"]
    assert len(found) == 3
    table = audited(work, "--predictions", str(tables["pruned-named.csv"]), "--against-predictions",
                    str(tables["dense.csv"]))  # fmt: skip
    found += [counts(table, "pruned")]
    assert all(one == found[0] for one in found)
    assert counts(table, "dense") == counts(document, "dense")
    of_channel = document["degradations"]["channel"]["gender"]["groups"]
    assert table["degradation"]["gender"]["groups"] == of_channel
    assert document["models"]["pruned.pt2"]["parameters"] == document["models"]["channel"]["parameters"]
    assert document["models"]["pruned.onnx"]["file_bytes"] == graphs["pruned.onnx"].stat().st_size
    assert document["models"]["pruned.onnx"]["macs"] == document["models"]["channel"]["macs"]


def test_one_kind_against_another(work: Work, graphs: dict[str, Path]) -> None:
    document = audited(
        work, str(graphs["pruned.onnx"]), "--against", str(graphs["dense.pt2"]), "--max-degradation", "1"
    )
    assert document["verdict"] == "pass"
    assert document["model"]["kind"] == "onnx"
    assert document["against"]["kind"] == "pt2"
    assert document["against"]["architecture"] == "resnet10-w16"
    assert document["size"]["dense_parameters"] > document["size"]["parameters"] > 0


@pytest.mark.parametrize("idle", [("--arch", "resnet18"), ("--weights", "ema"), ("--trust-checkpoint",)])
def test_what_says_how_a_checkpoint_is_read_says_nothing_of_graphs(
    work: Work, graphs: dict[str, Path], idle: tuple[str, ...]
) -> None:
    ran = fairprune("audit", str(graphs["pruned.onnx"]), *idle, cwd=work.folder)
    assert ran.code == 2
    assert f"{idle[0]}: says how a checkpoint is read, and graphs alone are audited" in ran.err


def test_predictions_need_no_torch_no_image_and_no_model(work: Work, tables: dict[str, Path], tmp_path: Path) -> None:
    for package in ("torch", "torchvision", "onnxruntime"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('blocked')\n")
    (tmp_path / "manifest.yaml").write_text(
        (work.folder / "manifest.yaml").read_text().replace("images: images", "images: nowhere")
    )
    (tmp_path / "table.csv").write_text((work.folder / "table.csv").read_text())
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    alone = fairprune(
        "audit", "--predictions", str(tables["dense.csv"]), "--data", "manifest.yaml", "--attr", "gender", "--json",
        "--max-gap", "0.9", "--out", "out", cwd=tmp_path, env={"PYTHONPATH": path}, fresh=True,
    )  # fmt: skip
    assert alone.code == 0, alone.err
    document = json.loads(alone.out)
    assert document == json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == []
    assert (tmp_path / "out" / "report.html").is_file()
    with_model = audited(work, "model.pt")
    assert counts(document, "dense") == counts(with_model, "dense")
    told, expected = (one["results"]["dense"] for one in (document, with_model))
    assert told["attributes"]["gender"]["gap"] == expected["attributes"]["gender"]["gap"]
    assert told["calibration"]["confidence"] == pytest.approx(expected["calibration"]["confidence"], abs=1e-6)
    assert document["model"]["architecture"] == "predictions"
    assert document["size"]["parameters"] is None
    assert document["size"]["parameters_undefined"]


def test_a_table_that_leaves_out_a_groups_bad_rows_gets_no_verdict(
    work: Work, tables: dict[str, Path], tmp_path: Path
) -> None:
    with open(work.folder / "table.csv", newline="") as stream:
        told = {row["file"]: row for row in csv.DictReader(stream)}
    with open(tables["dense-named.csv"], newline="") as stream:
        rows = list(csv.DictReader(stream))
    kept = [r for r in rows if told[r["file"]]["gender"] != "male" or r["predicted"] == told[r["file"]]["expression"]]
    left_out = len(rows) - len(kept)
    assert left_out > 0
    with open(tmp_path / "chosen.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([["file", "predicted"], *([r["file"], r["predicted"]] for r in kept)])
    ran = fairprune("audit", "--predictions", str(tmp_path / "chosen.csv"), "--data", "manifest.yaml", "--attr",
                    "gender", "--max-gap", "0.9", cwd=work.folder)  # fmt: skip
    assert ran.code == 2
    assert (
        f"{left_out} of the {len(rows)} images that are audited have no prediction (gender: male {left_out})" in ran.err
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is nothing to audit"),
        (("model.pt", "--predictions", "p.csv"), "audited one by one"),
        (("--predictions", "p.csv", "--against", "model.pt"), "compared with predictions"),
        (("model.pt", "--against-predictions", "p.csv"), "goes with --predictions"),
        (("--predictions", "p.csv", "--arch", "resnet18"), "says nothing of predictions"),
        (("--predictions", "p.csv", "--trust-checkpoint"), "says nothing of predictions"),
        (("--predictions", "p.csv"), "no such file"),
        (("--predictions", "images"), "images: is a folder"),
        (("--predictions", "/dev/null"), "/dev/null: is a pipe, device or socket"),
        (("model.pt", "--config", "/dev/null"), "/dev/null: is a pipe, device or socket"),
        (("--predictions", "table.csv", "--max-degradation", "0.1"), "--against-predictions"),
        (("--predictions", "table.csv", "--against-predictions", "./table.csv"), "given twice"),
    ],
)
def test_what_does_not_go_together(arguments: tuple[str, ...], said: str, work: Work) -> None:
    ran = fairprune("audit", *arguments, cwd=work.folder)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
