"""Networks with heads as they are found, from training to a pruned and exported file, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import fairprune_cli
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.export.samples import real_images
from fairprune_cli.models import architectures
from tests.support.commands import Work, fairprune

TASKS = """tasks:
  smile: {label: expression, classes: [neutral, smiling], outputs: [5, 2]}
  sex: {label: gender, classes: [female, male], outputs: [3], threshold: 0.6}
"""
ONE = "columns: {image: file, label: expression, split: split}\nclasses: [neutral, smiling]\n"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))
LIGHT = ("--epochs", "1", "--batch-size", "64")


def text(work: Work, head: str) -> str:
    """The manifest of the small data set with other tasks than its own."""
    whole = (work.folder / "manifest.yaml").read_text()
    kept = [line for line in whole.splitlines() if not line.startswith(("classes:", "columns:"))]
    return "\n".join(kept) + "\n" + head


@pytest.fixture(scope="module")
def place(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set with manifests of several kinds of heads, and a network of six outputs trained for two tasks."""
    folder = tmp_path_factory.mktemp("heads") / "faces"
    shutil.copytree(work.folder, folder)
    columns = "columns: {image: file, split: split}\n"
    (folder / "tasks.yaml").write_text(text(work, columns + TASKS))
    (folder / "slice.yaml").write_text(text(work, ONE + "outputs: [5, 2]\n"))
    (folder / "sigmoid.yaml").write_text(text(work, ONE + "outputs: [2]\nthreshold: 0.3\n"))
    (folder / "none.yaml").write_text(text(work, ONE))
    made = run("train", "--arch", "resnet10-w16", *LIGHT, "--data", "tasks.yaml", "--out", "six.pt", cwd=folder)
    assert made["classes"] == ["neutral", "smiling"]
    return folder


def run(*words: str, cwd: Path, code: int = 0) -> dict[str, Any]:
    ran = fairprune(*words, "--json", cwd=cwd)
    assert ran.code == code, ran.err
    return json.loads(ran.out)


def test_tasks_of_one_network_are_pruned_constrained_and_audited_together(place: Path) -> None:
    out = place / "runs" / "tasks"
    report = run(
        "prune", "six.pt", "--data", "tasks.yaml", "--attr", "gender", "--sparsity", "0.5", *LIGHT, "--out", str(out),
        "--notion", "parity", "--group-thresholds", "--tolerance", "0", cwd=place,
    )  # fmt: skip
    jsonschema.validate(report, SCHEMA)
    assert report["task"] == "smile"
    assert set(report["tasks"]) == {"smile", "sex"}
    for name in ("results", "degradation"):
        assert report[name] == report["tasks"]["smile"][name]
    assert {"smile: gender", "sex: gender"} == set(report["training"][0]["multipliers"])
    moved = report["other_outputs"]["pruned"]
    assert [output["name"] for output in moved] == ["0", "1", "4"]
    page = (out / "report.md").read_text()
    assert "## What changed for whom: smile" in page
    assert "## What changed for whom: sex" in page
    assert "## Other outputs" in page
    words = ("audit", str(out), "--against", "six.pt", "--data", "tasks.yaml", "--attr", "gender", "--max-gap", "1")
    again = run(*words, cwd=place, code=4)  # nobody's sex is told from the tint
    gates = {gate["name"]: gate["verdict"] for gate in again["gates"]}
    assert gates == {"smile: max-gap gender": "pass", "sex: max-gap gender": "inconclusive"}
    for task in ("smile", "sex"):
        assert again["tasks"][task]["results"] == report["tasks"][task]["results"]
    points = [fairprune_cli.group_thresholds(out, task) for task in ("smile", "sex")]
    assert [one.threshold for one in points] == [0.5, 0.6]
    with_points = run(*words, "--group-thresholds", cwd=place, code=4)
    for one in points:
        told = report["tasks"][one.task]["group_thresholds"]["pruned"]
        own = with_points["tasks"][one.task]
        assert own["results"]["pruned"]["accuracy"] == told["accuracy"]["own"]["value"]
        assert own["group_thresholds"]["pruned"]["judged"]
        assert report["tasks"][one.task]["results"]["pruned"]["accuracy"] == told["accuracy"]["common"]["value"]
    # What the figures say is what the raw network gives.
    loaded = fairprune_cli.load(out)
    assert loaded(torch.zeros(2, 3, 40, 40)).shape == (2, 6)
    assert report["tasks"]["sex"]["results"]["pruned"]["predicted"].keys() == {"female", "male"}


def test_a_slice_is_pruned_alone_and_its_file_tells_where_it_stands(place: Path) -> None:
    out = place / "runs" / "slice"
    words = ("prune", "six.pt", "--data", "slice.yaml", "--attr", "gender", "--sparsity", "0.5", *LIGHT)
    report = run(*words, "--out", str(out), cwd=place)
    assert len(report["other_outputs"]["pruned"]) == 4
    assert "tasks" not in report
    figures = report["results"]["pruned"]
    # A manifest that says nothing of outputs is completed by the file, and another slice is another audit.
    told = run("audit", str(out), "--data", "none.yaml", "--attr", "gender", cwd=place)
    assert told["results"]["dense"]["correct"] == figures["correct"]
    ran = fairprune("audit", "six.pt", "--data", "none.yaml", "--attr", "gender", cwd=place)
    assert ran.code == 2
    assert "the network has 6 outputs, the manifest has 2 classes" in ran.err
    assert "outputs: [0, 1]" in ran.err
    # So does the file of a run that was told by the first one's file alone.
    further = ("prune", str(out), "--data", "none.yaml", "--attr", "gender", "--sparsity", "0.7", *LIGHT)
    again = run(*further, "--out", str(place / "runs" / "again"), cwd=place)
    told = run("audit", str(place / "runs" / "again"), "--data", "none.yaml", "--attr", "gender", cwd=place)
    assert told["results"]["dense"]["correct"] == again["results"]["pruned"]["correct"]
    inspected = run("inspect", str(out), "--size", "40", cwd=place)
    assert inspected["outputs"] == {"output": 6}
    exported = run("export", str(out), "--to", "pt2", cwd=place)
    assert exported["max_difference"] < 1e-4


def test_a_threshold_decides_and_letting_go_is_a_setting(place: Path) -> None:
    report = run("audit", "six.pt", "--data", "sigmoid.yaml", "--attr", "gender", cwd=place)
    predicted = report["results"]["dense"]["predicted"]
    manifest = load_manifest(place / "sigmoid.yaml")
    images = real_images(manifest, manifest.transform, count=10_000)
    model = architectures.build("resnet10-w16", 6)
    model.load_state_dict(torch.load(place / "six.pt", weights_only=True)["state_dict"])
    with torch.no_grad():
        scores = torch.cat([model.eval()(part)[:, 2] for part in images.split(100)])
    above = (scores.double().sigmoid() > 0.3).numpy()
    assert predicted == {"neutral": int(np.sum(~above)), "smiling": int(np.sum(above))}
