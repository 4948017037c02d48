"""`fairprune prune` and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

import fairprune_cli
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.file import codec
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.options import resolve
from tests.support.commands import Work, fairprune

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text())
FILES = {"model.safetensors", "report.json", "report.html", "report.md", "events.jsonl", "config.yaml"}


def report_of(run: Path) -> dict[str, Any]:
    document = json.loads((run / "report.json").read_text())
    assert isinstance(document, dict)
    return document


def predictions(model: torch.nn.Module, work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(label, prediction, gender) of the test images, without the tool's own audit."""
    manifest = load_manifest(work.folder / "manifest.yaml")
    pool = load_images(manifest, ["gender"]).pool(np.flatnonzero(manifest.splits == 2))
    labels, predicted, groups = [], [], []
    with torch.inference_mode():
        for batch in pool.batches(100, torch.device("cpu")):
            labels.append(batch.labels.numpy())
            predicted.append(model(batch.images).argmax(1).numpy())
            groups.append(batch.groups[:, 0].numpy())
    return np.concatenate(labels), np.concatenate(predicted), np.concatenate(groups)


@pytest.mark.parametrize("which", ["weight_run", "channel_run"])
def test_folder_holds_what_was_promised(which: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(which)
    assert {path.name for path in run.iterdir()} == FILES
    document = report_of(run)
    jsonschema.validate(document, SCHEMA)
    for key in (
        "schema_version", "tool_version", "verdict", "gates", "data", "model", "sparsity", "cost", "size", "results",
        "degradation", "warnings", "config",
    ):  # fmt: skip
        assert key in document
    assert document["verdict"] == "none"
    assert set(document["results"]) == {"dense", "pruned"}
    assert [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()] == ["epoch", "epoch"]
    assert len(document["training"]) == 2
    html = (run / "report.html").read_text()
    assert len(html.encode()) < 500_000
    assert "gender" in html


def test_weight_target_is_exact_in_the_file(weight_run: Path) -> None:
    document = report_of(weight_run)
    sparsity = document["sparsity"]
    assert sparsity["kept"] == round(0.1 * sparsity["total"])
    model = fairprune_cli.load(weight_run)
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(w.numel() for w in weights) == sparsity["total"]
    assert sum(int(torch.count_nonzero(w)) for w in weights) <= sparsity["kept"]
    assert document["size"]["file_bytes"] == (weight_run / "model.safetensors").stat().st_size
    assert document["size"]["file_bytes"] < 0.2 * document["size"]["dense_bytes"]


def test_channel_target_is_met_by_smaller_tensors(channel_run: Path) -> None:
    document = report_of(channel_run)
    model = fairprune_cli.load(channel_run)
    left = sum(p.numel() for p in model.parameters())
    assert left == document["sparsity"]["kept"] == document["size"]["parameters"]
    assert abs(1 - left / document["sparsity"]["total"] - 0.8) < 0.01
    assert document["size"]["macs"] < document["size"]["dense_macs"]
    with safe_open(channel_run / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "fairprune"
        assert {key for key in file.keys() if "." in key} == set(model.state_dict())  # noqa: SIM118


@pytest.mark.parametrize("which", ["weight_run", "channel_run"])
def test_the_file_is_the_model_that_was_audited(which: str, request: pytest.FixtureRequest, work: Work) -> None:
    run: Path = request.getfixturevalue(which)
    groups = report_of(run)["results"]["pruned"]["attributes"]["gender"]["groups"]
    labels, predicted, gender = predictions(fairprune_cli.load(run), work)
    names = load_manifest(work.folder / "manifest.yaml").grouping("gender").groups
    for i, name in enumerate(names):
        assert groups[name]["n"] == int((gender == i).sum())
        assert groups[name]["correct"] == int(((labels == predicted) & (gender == i)).sum())


def test_dense_figures_are_those_of_the_checkpoint(weight_run: Path, work: Work) -> None:
    labels, predicted, _ = predictions(load_model(work.model).model, work)
    dense = report_of(weight_run)["results"]["dense"]
    assert dense["accuracy"] == pytest.approx((labels == predicted).mean())


def test_config_names_values_and_sources(weight_run: Path) -> None:
    settings = yaml.safe_load((weight_run / "config.yaml").read_text())["settings"]
    assert settings["sparsity"] == {"value": 0.9, "source": "flag"}
    assert settings["tolerance"]["source"] == "default"


def test_same_seed_same_bytes(weight_run: Path, work: Work, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", str(work.model), "--sparsity", "0.9", "--attr", "gender", "--granularity", "weight", "--epochs", "2",
        "--batch-size", "64", "--out", str(tmp_path / "again"), "--data", str(work.folder / "manifest.yaml"), "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert (tmp_path / "again/model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
    first, second = report_of(weight_run), json.loads(ran.out)
    assert first["results"] == second["results"]
    assert second == report_of(tmp_path / "again")


def test_existing_run_is_not_overwritten(weight_run: Path, work: Work) -> None:
    before = (weight_run / "report.json").read_bytes()
    ran = fairprune("prune", "model.pt", "--attr", "gender", "--out", str(weight_run), cwd=work.folder)
    assert ran.code == 2
    assert "already exists" in ran.err
    assert "--force" in ran.err
    assert (weight_run / "report.json").read_bytes() == before


def test_sparsity_zero_changes_nothing(work: Work, tmp_path: Path) -> None:
    for granularity in ("weight", "channel"):
        out = tmp_path / granularity
        ran = fairprune(
            "prune", "model.pt", "--sparsity", "0", "--attr", "gender", "--granularity", granularity, "--out", str(out),
            cwd=work.folder,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        dense, pruned = load_model(work.model).model.state_dict(), fairprune_cli.load(out).state_dict()
        assert all(torch.equal(dense[name], pruned[name]) for name in dense)


def test_dry_run_writes_nothing(work: Work, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", str(work.model), "--attr", "gender", "--dry-run", "--data", str(work.folder / "manifest.yaml"),
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "nothing was computed or written" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_several_attributes_and_an_intersection(work: Work, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", "model.pt", "--sparsity", "0.5", "--attr", "gender", "--attr", "gender*age", "--epochs", "1",
        "--notion", "degradation", "--relaxation", "hinge", "--mask-step", "first-order", "--fairness-on", "mask",
        "--out", str(tmp_path / "run"), "--json", cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert set(document["results"]["pruned"]["attributes"]) == {"gender", "gender*age"}
    assert len(document["results"]["pruned"]["attributes"]["gender*age"]["groups"]) == 6


def in_process(work: Work, model: Path, out: Path, **flags: Any) -> dict[str, Any]:
    common = {"data": str(work.folder / "manifest.yaml"), "attr": ("gender",), "epochs": 1, "batch_size": 64}
    request = pipeline.PruneRequest(model, resolve(common | flags, {}, None), out)
    report = pipeline.prune(request, Terminal(quiet=True)).report
    jsonschema.validate(report, SCHEMA)
    return report


def test_two_of_four_in_16_bits_is_exact_in_the_file_and_says_what_rounding_costs(work: Work, tmp_path: Path) -> None:
    report = in_process(work, work.model, tmp_path / "run", granularity="2:4", store="bf16")
    assert report["sparsity"]["achieved"] == report["sparsity"]["target"] == 0.5
    assert report["sparsity"]["dense_tensors"] == ["conv1.weight"]
    masks = codec.read_masks(tmp_path / "run" / "model.safetensors")
    assert codec.read_header(tmp_path / "run" / "model.safetensors").granularity == "2:4"
    for mask in masks.values():
        assert bool((mask.reshape(len(mask), -1).unflatten(1, (-1, 4)).sum(-1) == 2).all())
    assert report["size"]["file_bytes"] < 0.35 * report["size"]["dense_bytes"]
    cost = report["storage"]
    assert cost["format"] == "bf16"
    assert cost["accuracy"] == report["results"]["pruned"]["accuracy"]
    groups = cost["degradation"]["gender"]["groups"]
    assert cost["accuracy"] - cost["accuracy_before"] == pytest.approx(
        sum(groups[name]["change"] * groups[name]["n"] for name in groups) / sum(g["n"] for g in groups.values())
    )
    text = (tmp_path / "run" / "report.md").read_text()
    assert "on a CPU nothing gets faster" in text
    assert "1 tensor stayed dense" in text
    assert "Cost of rounding" in text
    model = fairprune_cli.load(tmp_path / "run")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_pruning_goes_on_from_a_pruned_model(work: Work, weight_run: Path, channel_run: Path, tmp_path: Path) -> None:
    further = in_process(work, weight_run, tmp_path / "weight", granularity="weight", sparsity=0.95)
    assert further["sparsity"]["start"] == pytest.approx(0.9, abs=1e-3)
    assert further["sparsity"]["kept"] == round(0.05 * further["sparsity"]["total"])
    before, after = fairprune_cli.load(weight_run), fairprune_cli.load(tmp_path / "weight")
    for name, parameter in after.named_parameters():
        if parameter.ndim > 1:
            assert not bool(parameter[before.get_parameter(name) == 0].any())
    with pytest.raises(FairpruneError, match="less than what the model has already"):
        in_process(work, weight_run, tmp_path / "less", granularity="weight", sparsity=0.5)

    mixed = in_process(work, channel_run, tmp_path / "mixed", granularity="weight", sparsity=0.5)
    assert mixed["sparsity"]["total"] < further["sparsity"]["total"]
    assert mixed["sparsity"]["of_original"]["total"] == further["sparsity"]["total"]
    assert mixed["sparsity"]["of_original"]["achieved"] > 0.85
    assert "Against the model before any pruning" in (tmp_path / "mixed" / "report.md").read_text()
