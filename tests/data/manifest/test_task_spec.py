"""The keys outputs, output, threshold and tasks of a manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.checks.check import check_data
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.data.manifest.task import Head, described, outputs_for, with_heads
from tests.support.datasets import draw

BASE = """\
version: 1
table: table.csv
columns: {image: file, split: split}
attributes: {gender: {column: gender}}
transform: {size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""
ONE = "label: mood\nclasses: [flat, glad]\n"
TASKS = """\
tasks:
  smile: {label: mood, classes: [flat, glad], outputs: [3], threshold: 0.4}
  sex: {label: gender, classes: [m, f], outputs: [7, 8]}
  age: {label: {column: age, bins: [0, 30, 90], names: [young, old]}, outputs: [10, 9]}
"""
"""A manifest of twelve images."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["file,mood,gender,age,split"]
    for i in range(12):
        draw(tmp_path / f"{i}.png", i)
        row = ("flat", "glad")[i % 2], "mf"[i // 2 % 2], (20, 40)[i // 4 % 2], ("train", "val", "test")[i // 4]
        lines.append(f"{i}.png,{','.join(map(str, row))}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path


def load(folder: Path, more: str) -> object:
    (folder / "manifest.yaml").write_text(BASE + more)
    return load_manifest(folder / "manifest.yaml")


def fault(folder: Path, more: str) -> str:
    with pytest.raises(FairpruneError) as caught:
        load(folder, more)
    return caught.value.what


def test_one_task_has_the_head_that_the_top_says(folder: Path) -> None:
    manifest = load(folder, ONE + "outputs: [8, 7]\noutput: logits\n")
    (task,) = manifest.tasks
    assert (task.name, task.classes, task.head) == ("", ("flat", "glad"), Head((8, 7), "logits"))
    assert task.labels is manifest.labels
    assert load(folder, ONE + "output: 1\nthreshold: 0.3\n").tasks[0].head == Head(None, 1, 0.3)
    assert load(folder, ONE).tasks[0].head == Head()


def test_tasks_have_labels_classes_and_heads_of_their_own(folder: Path) -> None:
    manifest = load(folder, TASKS)
    smile, sex, age = manifest.tasks
    assert [task.name for task in manifest.tasks] == ["smile", "sex", "age"]
    assert [task.head for task in manifest.tasks] == [Head((3,), None, 0.4), Head((7, 8)), Head((10, 9))]
    i = np.arange(12)
    assert smile.labels.tolist() == (i % 2).tolist()
    assert sex.labels.tolist() == (i // 2 % 2).tolist()
    assert age.labels.tolist() == (i // 4 % 2).tolist()
    assert age.classes == ("young", "old")
    assert (manifest.classes, manifest.labels.tolist()) == (smile.classes, smile.labels.tolist())
    alone = manifest.of_task("age")
    assert (alone.classes, alone.labels.tolist()) == (age.classes, age.labels.tolist())
    assert alone.counts()["train"]["labels"] == {"young": 4, "old": 0}


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (ONE + "outputs: [1, 2, 3]\n", "line 8: outputs: 3 for 2 classes"),
        (ONE + "outputs: [1, 1]\n", "line 8: outputs: named twice: 1"),
        (ONE + "outputs: [1, -2]\n", "line 8: outputs: expected positions of outputs"),
        (ONE + "outputs: [0.5, 1]\n", "line 8: outputs: expected positions of outputs"),
        (ONE + "threshold: 1.5\n", "line 8: threshold: expected a number above 0 and below 1, found 1.5"),
        (ONE + "outputs: [1, 2]\nthreshold: 0.5\n", "line 9: threshold: belongs to one score"),
        (ONE + "outptus: [1, 2]\n", "did you mean 'outputs'"),
        (TASKS + "outputs: [1]\n", "line 10: outputs: belongs to a task where there are `tasks`"),
        (TASKS + "classes: [a, b]\n", "line 10: classes: belongs to a task"),
        (TASKS.replace("outputs: [7, 8]", "outputs: [3, 8]"), "line 8: tasks.sex: output 3 is that of the task smile"),
        (TASKS.replace("classes: [m, f], ", ""), "tasks.sex.classes: is missing"),
        (TASKS.replace("label: mood, ", ""), "tasks.smile.label: is missing"),
        (TASKS.replace("label: mood", "label: mod"), "'mod'"),
        (TASKS.replace("classes: [m, f]", "classes: [m, x]"), "tasks.sex.label"),
        (TASKS.replace("outputs: [10, 9]", "outputs: [10, 9, 11]"), "tasks.age.outputs: 3 for 2 classes"),
        ("tasks: {}\n", "tasks: name at least one"),
    ],
)
def test_faults_say_line_and_key(folder: Path, more: str, what: str) -> None:
    assert what in fault(folder, more)


def test_a_file_tells_the_heads_that_a_manifest_leaves_out(folder: Path) -> None:
    told = described(load(folder, TASKS).tasks)
    assert told[0] == {"name": "smile", "classes": ["flat", "glad"], "outputs": [3], "threshold": 0.4}
    plain = load(folder, ONE)
    assert described(plain.tasks) == []
    assert with_heads(plain.tasks, told)[0].head == Head((3,), None, 0.4)  # the only one with these classes
    own = load(folder, ONE + "outputs: [5, 6]\n")
    assert with_heads(own.tasks, told)[0].head == Head((5, 6))
    twice = [told[0], {**told[0], "name": "other", "outputs": [4]}]
    assert with_heads(plain.tasks, twice)[0].head == Head()


def test_a_new_network_has_the_outputs_that_are_asked_for(folder: Path) -> None:
    assert outputs_for(load(folder, TASKS).tasks) == 11
    assert outputs_for(load(folder, ONE).tasks) == 2
    assert outputs_for(load(folder, ONE + "threshold: 0.2\n").tasks) == 1


def test_checks_and_counts_look_at_every_task(folder: Path) -> None:
    load(folder, TASKS)
    checked = check_data(folder / "manifest.yaml")
    assert [one.attribute for one in checked.associations] == ["smile: gender", "sex: gender", "age: gender"]
    by_gender = next(one for one in checked.associations if one.attribute == "sex: gender")
    assert by_gender.cramers_v == pytest.approx(1.0)  # the label is the attribute
    said = [finding.text for finding in checked.findings if finding.code in ("small-cell", "empty-cell")]
    assert any("combinations of gender and label of age" in text for text in said)
