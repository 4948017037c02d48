"""`fairprune_cli.audit` of predictions that are at hand in Python."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fairprune_cli
from fairprune_cli.core.errors import FairpruneError
from tests.support.commands import Work

pytestmark = pytest.mark.filterwarnings("ignore:images are not opened")


def audited(work: Work, predictions: Any, **more: Any) -> fairprune_cli.Report:
    return fairprune_cli.audit(predictions, **{"data": work.folder / "manifest.yaml", "attr": "gender", **more})


@pytest.fixture(scope="module")
def said(work: Work) -> dict[str, str]:
    """Every second image of the test split is right, and of the others every third."""
    with (work.folder / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    label = "expression"
    names = sorted({row[label] for row in rows})
    right = [i % 2 == 0 or i % 3 == 0 for i in range(len(rows))]
    return {
        row["file"]: row[label] if good else names[1 - names.index(row[label])]
        for row, good in zip(rows, right, strict=True)
    }


def right_by_group(report: fairprune_cli.Report) -> dict[str, int]:
    groups = report.results["dense"]["attributes"]["gender"]["groups"]
    return {name: group["correct"] for name, group in groups.items()}


class Frame:
    """Of a data frame what is asked of it."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def to_csv(self, path: Path, index: bool) -> None:
        assert not index
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(self.columns), *zip(*self.columns.values(), strict=True)])


def test_every_form_of_them_is_counted_alike(work: Work, said: dict[str, str]) -> None:
    report = audited(work, said)
    n = report.results["dense"]["n"]
    assert n == len(said)
    assert report.results["dense"]["correct"] == sum(i % 2 == 0 or i % 3 == 0 for i in range(n))
    model = report.document["model"]
    assert (model["kind"], model["source"]) == ("predictions", "predictions (in memory)")
    columns: dict[str, list[Any]] = {"file": list(said), "predicted": list(said.values())}
    scores = {file: np.array([0.25, 0.75] if name == "smiling" else [0.75, 0.25]) for file, name in said.items()}
    groups = right_by_group(report)
    assert sum(groups.values()) == report.results["dense"]["correct"]
    named = {file: {"smiling": row[1], "neutral": row[0]} for file, row in scores.items()}
    table = np.array(list(scores.values()))
    numbers = {"file": list(said), "neutral": table[:, 0], "smiling": list(table[:, 1])}  # float64 of numpy
    for other in (columns, Frame(columns), scores, named, numbers):
        assert right_by_group(audited(work, other)) == groups
    assert "calibration" in audited(work, scores).results["dense"]


def test_they_are_held_against_those_of_the_dense_model(work: Work, said: dict[str, str]) -> None:
    first = next(iter(said))
    other = said | {first: "neutral" if said[first] == "smiling" else "smiling"}
    report = audited(work, said, against=other, max_churn=0.5)
    assert report.results["pruned"]["faithfulness"]["all"]["churn"]["images"] == 1
    assert report.document["against"]["source"] == "dense predictions (in memory)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: dict(list(said.items())[5:]), "5 of the .* have no prediction"),
        (lambda said: said | {"nobody.png": "smiling"}, "^predictions .in memory.: row .*no such image"),
        (lambda said: said | {next(iter(said)): "grinning"}, "no class 'grinning'"),
        (lambda said: dict.fromkeys(said, (0.1, 0.2, 0.7)), "has 3 scores, and there are 2 classes"),
        (lambda said: dict.fromkeys(said, (0.5, 0.5)) | {next(iter(said)): "smiling"}, "has no scores"),
        (lambda said: dict.fromkeys(said, (float("nan"), 0.5)), "not finite"),
        (lambda said: dict.fromkeys(said, ("a", "b")), "'a', 'b'.*, which is no row of scores"),
        (lambda said: {file: {"smiling": 0.5, "sad": 0.5} for file in said}, "which is no row of scores"),
        (lambda said: {file: {0.2, 0.8} for file in said}, "which is no row of scores"),
        (lambda said: dict.fromkeys(said, b"no"), "no class \"b'no'\""),
        (lambda said: said | {"\udc80.png": "smiling"}, "not UTF-8"),
        (lambda said: {"file": list(said), "predicted": ["smiling"]}, "columns of different lengths"),
        (lambda said: {}, "prediction"),
        (lambda said: [said, said], "audited alone"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    work: Work, said: dict[str, str], change: Any, message: str
) -> None:
    with pytest.raises(FairpruneError, match=message) as caught:
        audited(work, change(said))
    assert "predictions (in memory).csv" not in str(caught.value)


def test_a_place_that_nobody_knows_is_not_named(work: Work, said: dict[str, str]) -> None:
    with pytest.raises(FairpruneError, match=r"same bytes as the dense predictions .in memory.,"):
        audited(work, said, against=dict(said), max_churn=0.5)


def test_neither_a_model_beside_them_nor_settings_of_one(work: Work, said: dict[str, str]) -> None:
    with pytest.raises(FairpruneError, match="audited alone"):
        audited(work, work.model, against=said)
    with pytest.raises(FairpruneError, match="is str, and the other side is predictions"):
        audited(work, said, against=str(work.model))
    with pytest.raises(FairpruneError, match="says nothing of predictions"):
        audited(work, said, batch_size=7)


def test_the_table_of_changed_images_is_that_of_the_report_beside_it(
    work: Work, said: dict[str, str], tmp_path: Path
) -> None:
    image = next(iter(said))
    names = sorted(set(said.values()))
    dense = {**said, image: names[1 - names.index(said[image])]}
    listed = audited(work, said, against=dense, out=tmp_path, force=True, list_changed=True)
    table = tmp_path / "changed.csv"
    assert [row["image"] for row in csv.DictReader(table.open(encoding="utf-8"))] == [image]
    assert listed.document["exemplars"]["table"] == table.name
    plain = audited(work, said, against=dense, out=tmp_path, force=True)
    assert not table.exists()
    assert "list-changed" in plain.document["exemplars"]["table_undefined"]


@pytest.mark.parametrize(("more", "expected"), [({}, "no folder"), ({"out": "report"}, "needs the dense model")])
def test_a_table_that_would_not_be_written_is_refused(
    more: dict[str, Any], expected: str, work: Work, said: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(FairpruneError, match=expected):
        audited(work, said, list_changed=True, **{key: tmp_path / name for key, name in more.items()})
