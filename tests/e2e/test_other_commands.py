"""export, inspect, report, data, train and the sample configurations, as a user types them."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fairprune_cli
from tests.support.commands import Work, fairprune

CONFIGS = sorted((Path(__file__).parents[2] / "sample_configs").glob("*.yaml"))


@pytest.mark.parametrize("which", ["weight_run", "channel_run"])
def test_sparse_to_dense_and_back(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Path = request.getfixturevalue(which)
    dense, sparse = tmp_path / "dense.safetensors", tmp_path / "sparse.safetensors"
    assert fairprune("export", str(run), "--to", "safetensors-dense", "--out", str(dense), cwd=tmp_path).code == 0
    assert fairprune("export", str(dense), "--to", "safetensors", "--out", str(sparse), cwd=tmp_path).code == 0
    source, back = fairprune_cli.load(run).state_dict(), fairprune_cli.load(sparse).state_dict()
    assert all(torch.equal(source[name], back[name]) for name in source)
    plain = load_file(dense)
    assert all(torch.equal(source[name], plain[name]) for name in source)


def test_export_refuses_to_overwrite(weight_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    out.write_text("mine")
    ran = fairprune("export", str(weight_run), "--to", "safetensors-dense", "--out", str(out), cwd=tmp_path)
    assert ran.code == 2
    assert out.read_text() == "mine"


def test_inspect_tells_the_same_as_the_report(weight_run: Path, channel_run: Path, tmp_path: Path) -> None:
    for run in (weight_run, channel_run):
        ran = fairprune("inspect", str(run), "--json", cwd=tmp_path)
        assert ran.code == 0, ran.err
        seen, report = json.loads(ran.out), json.loads((run / "report.json").read_text())
        assert seen["architecture"] == "resnet10-w16"
        assert seen["macs"] == report["size"]["macs"]
        assert seen["bytes"]["file"] == report["size"]["file_bytes"]
        assert [layer["kept"] for layer in seen["layers"]] == [layer["kept"] for layer in report["layers"]]


@pytest.mark.parametrize("to", ["html", "md", "json", "junit", "github", "card", "comment", "sarif"])
def test_report_renders_again(to: str, weight_run: Path, tmp_path: Path) -> None:
    ran = fairprune("report", str(weight_run), "--to", to, cwd=tmp_path)
    assert ran.code == 0, ran.err
    if to == "html":
        assert ran.out == (weight_run / "report.html").read_text().rstrip("\n") + "\n"
    elif to == "sarif":
        assert json.loads(ran.out)["version"] == "2.1.0"
    elif to == "json":
        assert json.loads(ran.out) == json.loads((weight_run / "report.json").read_text())
    elif to == "junit":
        ET.fromstring(ran.out)
    else:
        assert "gender" in ran.out


def test_data_commands(tmp_path: Path, work: Work) -> None:
    ran = fairprune("data", "check", "--data", str(work.folder / "manifest.yaml"), cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "1100 images, sound" in ran.out
    ran = fairprune("data", "stats", "--data", str(work.folder / "manifest.yaml"), "--json", cwd=tmp_path)
    assert json.loads(ran.out)["splits"]["test"]["n"] == 400
    shutil.copytree(work.folder / "images", tmp_path / "d" / "images")
    shutil.copy(work.folder / "table.csv", tmp_path / "d" / "table.csv")
    ran = fairprune("data", "init", "d/table.csv", cwd=tmp_path)
    assert ran.code == 0, ran.err
    ran = fairprune("data", "check", "--data", "d/manifest.yaml", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["errors"] == 0
    broken = next(iter((tmp_path / "d" / "images").rglob("*.png")))
    broken.write_bytes(broken.read_bytes()[:100])
    ran = fairprune("data", "check", "--data", "d/manifest.yaml", cwd=tmp_path)
    assert ran.code == 2
    assert broken.name in ran.err


def test_train_refuses_to_overwrite(work: Work) -> None:
    ran = fairprune("train", "--arch", "resnet10-w16", cwd=work.folder)
    assert ran.code == 2
    assert "already exists" in ran.err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_sample_configs_run(path: Path, work: Work, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", "model.pt", "--config", str(path), "--epochs", "1", "--out", str(tmp_path / "run"), "--json",
        cwd=work.folder,
    )  # fmt: skip
    assert ran.code in (0, 1, 4), ran.err
    document = json.loads(ran.out)
    assert (ran.code == 0) == (document["verdict"] in ("none", "pass"))
