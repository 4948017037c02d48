"""A model whose outputs mean something else than the manifest says passes no gate, and is not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from jsonschema import Draft202012Validator

from tests.support.commands import Work, fairprune

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def turned(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense model with its outputs swapped, in a file that names no classes."""
    state = torch.load(work.model, weights_only=True)["state_dict"]
    state |= {name: state[name].flip(0) for name in ("fc.weight", "fc.bias")}
    path = tmp_path_factory.mktemp("turned") / "turned.pt"
    torch.save(state, path)
    return path


def test_no_gate_passes_and_the_cause_is_named(work: Work, turned: Path, tmp_path: Path) -> None:
    ran = fairprune(
        "audit", str(turned), "--data", "manifest.yaml", "--attr", "gender", "--max-gap", "1", "--min-accuracy", "0.99",
        "--out", str(tmp_path / "out"), "--json", cwd=work.folder, env={"GITHUB_ACTIONS": "true"},
    )  # fmt: skip
    assert ran.code == 1, ran.err
    report = json.loads(ran.out)
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(report)] == []
    gap, accuracy = report["gates"]
    assert (gap["verdict"], accuracy["verdict"]) == ("inconclusive", "fail")
    assert gap["reason"].startswith("the model is not better than always answering ")
    assert report["results"]["dense"]["constant_answer"]["better"] is False
    assert report["causes"]["dense"]["found"][0]["classes"] == ["smiling", "neutral"]
    (warning,) = [one["text"] for one in report["warnings"] if one["code"] == "chance-level"]
    assert "write `classes: [smiling, neutral]`" in warning
    assert ran.err.count("::warning title=fairprune%3A chance level::") == 1
    for name in ("report.html", "report.md"):
        assert "The model itself" in (tmp_path / "out" / name).read_text("utf-8")


def test_without_gates_it_is_a_warning(work: Work, turned: Path, tmp_path: Path) -> None:
    arguments = ("audit", str(turned), "--data", "manifest.yaml", "--attr", "gender", "--out", str(tmp_path / "out"))
    ran = fairprune(*arguments, cwd=work.folder)
    assert ran.code == 0, ran.err
    assert "warning: the model is not better than always answering " in ran.err
    root = ElementTree.fromstring(fairprune("report", str(tmp_path / "out"), "--to", "junit", cwd=tmp_path).out)
    assert (root.get("tests"), root.get("skipped"), root.get("failures")) == ("1", "1", "0")
    (skipped,) = root.iter("skipped")
    assert "not better than always answering" in skipped.get("message", "")


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_run_with_gates_ends_before_it_trains(work: Work, turned: Path, tmp_path: Path, dry: tuple[str, ...]) -> None:
    ran = fairprune(
        "prune", str(turned), "--data", "manifest.yaml", "--attr", "gender", "--sparsity", "0.5", "--max-gap", "1",
        "--out", str(tmp_path / "run"), *dry, cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 4, ran.err
    assert "before training, on images of val: the dense model is not better than always answering " in ran.err
    assert "write `classes: [smiling, neutral]`" in ran.err
    assert not (tmp_path / "run").exists()


def test_without_gates_it_is_warned_and_goes_on(work: Work, turned: Path, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", str(turned), "--data", "manifest.yaml", "--attr", "gender", "--sparsity", "0.5", "--dry-run",
        cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "warning: before training, on images of val: the dense model is not better" in ran.err


def test_class_names_of_the_file_are_the_manifests_or_an_error(work: Work, tmp_path: Path) -> None:
    text = (work.folder / "manifest.yaml").read_text().replace("table: table.csv", f"table: {work.folder}/table.csv")
    text = text.replace("images: images", f"images: {work.folder}/images")
    (tmp_path / "manifest.yaml").write_text(text.replace("[neutral, smiling]", "[smiling, neutral]"))
    arguments = ("audit", str(work.model), "--data", str(tmp_path), "--attr", "gender", "--max-gap", "1", "--json")
    ran = fairprune(*arguments, cwd=tmp_path)
    assert ran.code == 2
    assert "the network's outputs are neutral, smiling, the manifest says smiling, neutral" in ran.err
    ran = fairprune(*arguments, "--classes-from", "manifest", cwd=tmp_path)
    assert ran.code == 4, ran.err
    report = json.loads(ran.out)
    assert report["config"]["classes_from"] == {"value": "manifest", "source": "flag"}
    assert {one["code"] for one in report["warnings"]} == {"classes", "chance-level"}
