"""The images that the seeds change most often, by hand and in the files of a comparison."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli import compare
from fairprune_cli.compare.exemplars import OWN_DENSE, exemplars_csv, of_row
from fairprune_cli.compare.gather import gather
from tests.support.comparisons import drawn, finish, layout

HEAD = "task,model,image,label,dense,predicted,before,after,way,attribute: gender\n"


def folder(path: Path, *changed: tuple[str, str, str, str]) -> Path:
    """A run folder with a table of (image, dense, predicted, gender)."""
    path.mkdir(parents=True, exist_ok=True)
    lines = [f",pruned,{image},a,{dense},{now},0.9,0.1,lost,{group}\n" for image, dense, now, group in changed]
    (path / "changed.csv").write_text(HEAD + "".join(lines), encoding="utf-8")
    return path


def made(tmp_path: Path) -> list[Path]:
    """Three seeds: x goes to b in two of them, y to b and to c in one each, z to c in all."""
    x, z = ("x", "a", "b", "m"), ("z", "a", "c", "f")
    return [
        folder(tmp_path / "0", x, z, ("y", "a", "b", "m")), folder(tmp_path / "1", x, z, ("y", "a", "c", "m")),
        folder(tmp_path / "2", z),
    ]  # fmt: skip


REPORT: dict[str, Any] = {
    "results": {"pruned": {"attributes": {"gender": {"groups": {"m": {"n": 60}, "f": {"n": 20}}}}}}
}  # fmt: skip


def test_an_exemplar_is_what_most_seeds_see_otherwise(tmp_path: Path) -> None:
    found = of_row(made(tmp_path), [REPORT] * 3, False, 0.95)
    assert (found["seeds"], found["changed"], found["exemplars"]) == (3, 3, 2)
    told = {line["image"]: (line["predicted"], line["changed_in"], line["exemplar"]) for line in found["table"]}
    # y: b, c and the dense model's a once each, of which the dense model's counts.
    assert told == {"z": ("c", 3, True), "x": ("b", 2, True), "y": ("a", 2, False)}
    assert [line["image"] for line in found["images"]] == ["z", "x"]
    groups = found["attributes"]["gender"]
    assert [groups[g]["images"] for g in "mf"] == [1, 1]
    assert groups["f"]["share"] == 0.5
    assert groups["f"]["representation"] == pytest.approx(0.5 / (20 / 80))
    assert groups["f"]["low"] < 0.5 < groups["f"]["high"]


def test_with_a_dense_model_for_each_seed_only_the_times_are_told(tmp_path: Path) -> None:
    found = of_row(made(tmp_path), [REPORT] * 3, True, 0.95)
    assert (found["exemplars"], found["exemplars_undefined"]) == (None, OWN_DENSE)
    assert [(line["image"], line["changed_in"]) for line in found["images"]] == [("z", 3), ("x", 2), ("y", 2)]
    assert {line["predicted"] for line in found["images"]} == {None}


def test_a_run_without_a_table_is_said(tmp_path: Path) -> None:
    found = of_row([*made(tmp_path), tmp_path / "none"], [REPORT] * 4, False, 0.95)
    assert (found["exemplars"], found["exemplars_undefined"]) == (None, "a run folder lacks changed.csv")


def test_the_comparison_lists_them_in_a_table_and_on_its_page(tmp_path: Path) -> None:
    plan = layout(tmp_path / "c", methods=("magnitude",), seeds=2, model="dense.pt")
    for cell in plan.cells:
        found = drawn(cell, 0.9, 0.05)
        for entry in found["results"]["pruned"]["attributes"]["gender"]["groups"].values():
            entry["n"] = 50
        finish(plan, cell, found)
        folder(plan.path(cell), ("x.png", "a", "b", "male"))
    document = gather(plan)
    assert document["rows"][0]["exemplars"]["exemplars"] == 1
    lines = list(csv.DictReader(io.StringIO(exemplars_csv(document["rows"]))))
    assert [(line["method"], line["image"], line["changed_in"], line["seeds"]) for line in lines] == [
        ("magnitude", "x.png", "2", "2")
    ]
    compare.write_results(plan, document)
    assert "x.png" in (plan.folder / "exemplars.csv").read_text()
    assert "x.png" in (plan.folder / "compare.md").read_text()
    assert "table" not in json.loads((plan.folder / "compare.json").read_text())["rows"][0]["exemplars"]
