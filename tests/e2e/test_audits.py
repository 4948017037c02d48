"""Audits as a pipeline runs them: several models, a policy, examples, GitHub; each from a real process."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import fairprune_cli
from fairprune_cli.report.writers.github import LIMIT
from tests.support.commands import Ran, Work, fairprune

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))
POLICY = """
version: 1
min_group: 20
rules:
  - {attribute: gender*age, max_gap: 0.99, name: all}
  - {attribute: gender, notion: odds, max_gap: 0.99}
  - {attribute: gender, max_degradation: 0.99, confidence: 0.9}
  - {min_accuracy: 0.999}
"""


@pytest.fixture(scope="module")
def audited(
    work: Work, weight_run: Path, channel_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ran, Path]:
    """Two pruned models against the dense one, inside a job, with everything on."""
    folder = tmp_path_factory.mktemp("audits")
    (folder / "policy.yaml").write_text(POLICY)
    ran = fairprune(
        "audit", str(weight_run), str(channel_run), "--against", "model.pt", "--attr", "gender", "--policy",
        str(folder / "policy.yaml"), "--show-examples", "2", "--list-changed", "--track", "mlflow", "--json", "--out",
        str(folder / "out"), cwd=work.folder, env={"GITHUB_ACTIONS": "true", "PYTHONPATH": _without_mlflow(folder)},
        fresh=True,
    )  # fmt: skip
    return ran, folder / "out"


def _without_mlflow(folder: Path) -> str:
    """A path on which mlflow cannot be imported, whether it is installed or not."""
    import os

    (folder / "mlflow.py").write_text("raise ImportError('not here')\n")
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))


def test_several_models_stand_in_one_report(audited: tuple[Ran, Path]) -> None:
    ran, out = audited
    assert ran.code == 1, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    assert document == json.loads((out / "report.json").read_text())
    errors = [f"{e.json_path}: {e.message}" for e in Draft202012Validator(SCHEMA).iter_errors(document)]
    assert errors == []
    assert list(document["results"]) == ["dense", "weight", "channel"]
    assert set(document["degradations"]) == set(document["models"]) - {"dense"} == {"weight", "channel"}
    assert set(document["results"]["weight"]["attributes"]) == {
        "gender",
        "gender*age",
    }  # the policy asks for the latter
    gates = {gate["name"]: gate for gate in document["gates"]}
    assert len(gates) == len(document["gates"]) == 8
    assert gates["all: max-gap gender*age [weight]"]["min_group"] == 20
    assert gates["max-gap gender (odds) [channel]"]["notion"] == "odds"
    assert gates["max-degradation gender [channel]"]["confidence"] == 0.9
    assert gates["min-accuracy [weight]"]["verdict"] == "fail"
    assert len(document["policy"]["sha256"]) == 64
    assert document["config"]["min_group"]["source"].endswith("policy.yaml")


def test_calibration_and_lost_images_are_in_it(audited: tuple[Ran, Path]) -> None:
    document = json.loads(audited[0].out)
    whole = document["results"]["dense"]["calibration"]
    assert sum(b["n"] for b in whole["bins"]) == whole["n"] == document["results"]["dense"]["n"]
    for model in ("weight", "channel"):
        for group, record in document["degradations"][model]["gender"]["groups"].items():
            shown = document["examples"]["lost"].get(model, {}).get("gender", {}).get(group, [])
            assert len(shown) == min(2, record["lost"])
            for entry in shown:
                assert (Path(document["examples"]["root"]) / entry["file"]).is_file()
                assert document["examples"]["pictures"][entry["file"]].startswith("data:image/jpeg;base64,")


def test_what_changed_is_in_it_and_in_a_table(audited: tuple[Ran, Path]) -> None:
    document = json.loads(audited[0].out)
    lines = list(csv.DictReader(io.StringIO((audited[1] / document["exemplars"]["table"]).read_text("utf-8"))))
    for model in ("weight", "channel"):
        for attribute, entry in document["results"][model]["faithfulness"]["attributes"].items():
            for group, found in entry["groups"].items():
                mine = [line for line in lines if line["model"] == model and line[f"attribute: {attribute}"] == group]
                told = {way: sum(line["way"] == way for line in mine) for way in ("lost", "gained", "otherwise")}
                assert {way: found[way]["images"] for way in told} == told
                assert found["churn"]["images"] == len(mine)
                change = document["degradations"][model][attribute]["groups"][group]
                assert (told["lost"], told["gained"]) == (change["lost"], change["gained"])
                listed = document["exemplars"]["changed"].get(model, {}).get(attribute, {}).get(group, [])
                assert [image["file"] for image in listed] == [line["image"] for line in mine][:10]


def test_annotations_go_to_stderr_one_per_failed_rule(audited: tuple[Ran, Path]) -> None:
    ran, _ = audited
    document = json.loads(ran.out)
    failed = [gate for gate in document["gates"] if gate["verdict"] == "fail"]
    assert len([line for line in ran.err.splitlines() if line.startswith("::error ")]) == len(failed) == 2
    assert "mlflow is not installed" in ran.err  # and the audit went on


def test_the_step_summary_is_appended_to(audited: tuple[Ran, Path], tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("mine\n")
    ran = fairprune(
        "report", str(audited[1]), "--to", "github", cwd=tmp_path, env={"GITHUB_STEP_SUMMARY": str(summary)}
    )
    assert ran.code == 0, ran.err
    text = summary.read_text()
    assert text.startswith("mine\n## ")
    assert "min-accuracy \\[weight\\]" in text
    assert len(text) < LIMIT
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in ran.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "absent.yaml"), "absent.yaml: no such policy"),
        (("--show-examples", "3"), "--show-examples: what pruning lost needs the dense model"),
        (("--list-changed", "--out", "never"), "--list-changed: what changed needs the dense model"),
        (("model.pt",), "model.pt: is given twice"),
        (("--track", "wandbb"), "did you mean 'wandb'"),
    ],
)
def test_what_cannot_be_audited_is_said(arguments: tuple[str, ...], message: str, work: Work) -> None:
    ran = fairprune("audit", "model.pt", *arguments, "--attr", "gender", cwd=work.folder)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""


def test_prune_judges_the_policy_too_and_audits_what_it_asks_for(work: Work, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "rules: [{attribute: age, max_gap: 0.99}, {attribute: age, max_degradation: 0.99}]"
    )
    ran = fairprune(
        "prune", "model.pt", "--sparsity", "0.5", "--attr", "gender", "--granularity", "weight", "--epochs", "1",
        "--method", "magnitude", "--policy", str(tmp_path / "policy.yaml"), "--show-examples", "1", "--out",
        str(tmp_path / "run"), "--json", cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert [gate["name"] for gate in document["gates"]] == ["max-gap age", "max-degradation age"]
    assert set(document["results"]["pruned"]["attributes"]) == {"gender", "age"}
    assert set(document["training"][-1]["exact_gap"]) == {"gender"}
    assert document["examples"]["per_group"] == 1
    again = fairprune_cli.audit_report(
        tmp_path / "run", data=work.folder / "manifest.yaml", against=work.model, attributes=["gender"],
        policy=tmp_path / "policy.yaml",
    )  # fmt: skip
    assert again["verdict"] == "pass"
    assert [gate["value"] for gate in again["gates"]] == [gate["value"] for gate in document["gates"]]


def test_an_audit_needs_the_images_of_its_split_alone(work: Work, tmp_path: Path) -> None:
    here = shutil.copytree(work.folder, tmp_path / "faces")
    whole = fairprune_cli.audit(here / "model.pt", attr="gender")
    for split in ("train", "val"):
        shutil.rmtree(here / "images" / split)
    with pytest.warns(fairprune_cli.FairpruneWarning, match="700 images of other splits than test are not here"):
        found = fairprune_cli.audit(here / "model.pt", attr="gender")
    assert found.results == whole.results
    assert [item["code"] for item in found.warnings] == ["manifest"]
    with pytest.raises(fairprune_cli.FairpruneError, match=r"image 'val/00000\.png' does not exist"):
        fairprune_cli.audit(here / "model.pt", attr="gender", split="val")
    manifest = here / "manifest.yaml"
    told = manifest.read_text()
    # Copies stay in one split, so that the content of all decides which images those of a split are.
    shares = told.replace(", split: split", "") + "splits: {train: 0.5, val: 0.25, test: 0.25}\n"
    for text in (shares, f"{told}duplicates: drop\n"):
        manifest.write_text(text)
        with pytest.raises(fairprune_cli.FairpruneError, match=r"does not exist"):
            fairprune_cli.audit(here / "model.pt", attr="gender")
