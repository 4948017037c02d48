"""Thresholds of groups, from pruning to an audit and an export, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import fairprune_cli
from fairprune_cli.core.csv_text import read_csv
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models.file.group_points import COLUMNS
from tests.support.commands import Work, fairprune

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))
PRUNE = (
    "prune", "model.pt", "--method", "magnitude", "--granularity", "weight", "--sparsity", "0.9", "--epochs", "2",
    "--batch-size", "64",
)  # fmt: skip
GATE = ("--max-gap", "0.9", "--min-group", "20")
FIT = ("--group-thresholds", "--notion", "parity", "--tolerance", "0.03", *GATE)


@pytest.fixture(scope="module")
def fitted(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose groups have thresholds of their own: their shares of smiles differ in the upper images."""
    out = tmp_path_factory.mktemp("thresholds") / "run"
    ran = fairprune(*PRUNE, "--attr", "gender", *FIT, "--out", str(out), cwd=work.folder)
    assert ran.code in (0, 4), ran.err
    assert "on 150 upper images" in ran.err
    return out


def report_of(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "report.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def audited(work: Work, *words: str, code: int = 0) -> dict[str, Any]:
    ran = fairprune("audit", *words, "--attr", "gender", "--notion", "parity", "--json", cwd=work.folder)
    assert ran.code == code, ran.err
    document = json.loads(ran.out)
    jsonschema.validate(document, SCHEMA)
    assert isinstance(document, dict)
    return document


def test_the_run_judges_the_network_and_tells_what_the_thresholds_do(work: Work, fitted: Path) -> None:
    report = report_of(fitted)
    jsonschema.validate(report, SCHEMA)
    told = report["group_thresholds"]["pruned"]
    assert not told["judged"]
    assert not any("threshold" in text for text in report["leniency"])
    assert any(bias for one in told["fitted"].values() for bias in one["biases"].values())
    assert told["accuracy"]["common"]["value"] == report["results"]["pruned"]["accuracy"]
    assert told["gaps"]["parity"]["common"]["value"] == report["gates"][0]["value"]
    assert "## Thresholds of groups" in (fitted / "report.md").read_text("utf-8")
    assert "may be unlawful" in (fitted / "report.html").read_text("utf-8")
    # The network's own predictions, and those with the points as Python's function makes them.
    network, points = fairprune_cli.load(fitted), fairprune_cli.group_thresholds(fitted)
    manifest = load_manifest(work.folder / "manifest.yaml")
    pool = load_images(manifest, ["gender"]).pool(np.flatnonzero(manifest.splits == 2))
    with torch.inference_mode():
        scores = torch.cat([network(batch.images) for batch in pool.batches(100, torch.device("cpu"))])
    groups = [manifest.grouping("gender").groups[g] for g in pool.groups[:, 0]]
    for name, predicted in (("common", scores.argmax(1).numpy()), ("own", points.predicted(scores, groups))):
        assert (predicted == pool.labels).mean() == pytest.approx(told["accuracy"][name]["value"])


def test_an_audit_judges_with_them_on_request_alone(work: Work, fitted: Path) -> None:
    told = report_of(fitted)["group_thresholds"]["pruned"]
    without = audited(work, str(fitted), *GATE)
    assert "group_thresholds" not in without
    assert without["results"]["dense"]["accuracy"] == told["accuracy"]["common"]["value"]
    used = audited(work, str(fitted), "--against", "model.pt", "--group-thresholds", *GATE)
    assert used["results"]["pruned"]["accuracy"] == told["accuracy"]["own"]["value"]
    assert used["gates"][0]["value"] == told["gaps"]["parity"]["own"]["value"]
    assert "with thresholds of their own for groups of gender, which need the group at use" in used["leniency"]
    assert any("was audited with thresholds of their own for groups of gender" in text for text in used["notices"])
    assert used["group_thresholds"]["pruned"]["judged"]
    changed = used["results"]["pruned"]["against_dense"]["change"]
    assert changed == pytest.approx(told["accuracy"]["own"]["value"] - used["results"]["dense"]["accuracy"])


def test_an_export_has_the_table_beside_it(work: Work, fitted: Path, tmp_path: Path) -> None:
    own = (fitted / "group-thresholds.csv").read_bytes()
    words = ("export", str(fitted), "--to", "safetensors", "--out", str(tmp_path / "m.safetensors"))
    ran = fairprune(*words, "--json", cwd=work.folder)
    assert ran.code == 0, ran.err
    table = Path(json.loads(ran.out)["group_thresholds"])
    assert table == tmp_path / "m.safetensors.group-thresholds.csv"
    assert table.read_bytes() == own
    rows = list(read_csv(table, COLUMNS))
    assert [row["group"] for row in rows[::2]] == ["female", "male", ""]
    assert fairprune_cli.group_thresholds(tmp_path / "m.safetensors") == fairprune_cli.group_thresholds(fitted)
    (tmp_path / "m.safetensors").unlink()
    again = fairprune(*words, cwd=work.folder)
    assert again.code == 2
    assert "m.safetensors.group-thresholds.csv: exists already" in again.err
    assert not (tmp_path / "m.safetensors").exists()


REFUSED = {
    "a model without any": (("audit", "model.pt", "--group-thresholds"), "are in no model's file"),
    "groups of two attributes": (
        (*PRUNE, "--attr", "gender,age", "--group-thresholds", "--out", "never"), "their groups at once, gender*age",
    ),
    "predictions": (
        ("audit", "--predictions", "table.csv", "--group-thresholds"), "--group-thresholds: says nothing of predictions"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(words: tuple[str, ...], said: str, work: Work) -> None:
    ran = fairprune(*words, cwd=work.folder)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert not (work.folder / "never").exists()


def test_a_manifest_without_the_attribute_is_refused(work: Work, fitted: Path) -> None:
    text = (work.folder / "manifest.yaml").read_text("utf-8")
    other = work.folder / "ages.yaml"
    other.write_text("\n".join(line for line in text.splitlines() if not line.startswith("  gender:")), "utf-8")
    ran = fairprune("audit", str(fitted), "--data", "ages.yaml", "--group-thresholds", cwd=work.folder)
    assert ran.code == 2
    assert "groups that the manifest does not tell" in ran.err


def test_what_needs_no_image_is_refused_before_any_is_read(work: Work, fitted: Path) -> None:
    text = (work.folder / "manifest.yaml").read_text("utf-8")
    lines = ["images: nowhere" if line.startswith("images:") else line for line in text.splitlines()]
    (work.folder / "none.yaml").write_text("\n".join(lines), "utf-8")
    (work.folder / "ageless.yaml").write_text("\n".join(x for x in lines if not x.startswith("  gender:")), "utf-8")
    for words, said in (
        (("audit", "model.pt", "--data", "none.yaml", "--group-thresholds"), "are in no model's file"),
        (("audit", str(fitted), "--data", "ageless.yaml", "--group-thresholds"), "that the manifest does not tell"),
        (
            ("prune", "model.pt", "--data", "none.yaml", "--attr", "gender", "--target", "dense",
             "--notion", "degradation", "--out", "never"), "held against the dense model as it is",
        ),
    ):  # fmt: skip
        ran = fairprune(*words, cwd=work.folder)
        assert ran.code == 2
        assert said in ran.err
        assert "nowhere" not in ran.err


def test_a_group_without_a_threshold_is_named(work: Work, fitted: Path) -> None:
    text = (work.folder / "manifest.yaml").read_text("utf-8")
    table = (work.folder / "table.csv").read_text("utf-8").replace(",female", ",woman")
    (work.folder / "women.csv").write_text(table, "utf-8")
    other = text.replace("table.csv", "women.csv").replace("[female, male]", "[woman, male]")
    (work.folder / "women.yaml").write_text(other, "utf-8")
    ran = fairprune("audit", str(fitted), "--data", "women.yaml", "--group-thresholds", "--json", cwd=work.folder)
    assert ran.code == 0, ran.err
    assert "has no threshold for woman of gender: the common one is taken" in ran.err
    told = json.loads(ran.out)["group_thresholds"]["dense"]
    assert told["groups"]["woman"]["change"]["change"] == 0.0
