"""Class names in a model's file: where they are looked for, and what is made of others than the manifest's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.task import Head, Task
from fairprune_cli.models.checkpoint.class_names import check_class_names, names_in


def task(*classes: str, name: str = "", head: Head | None = None) -> Task:
    return Task(name, classes, np.zeros(0, np.int64), head or Head())


@pytest.mark.parametrize(
    "root",
    [
        {"classes": ["a", "b"]}, {"state_dict": {}, "class_names": ("a", "b")}, {"class_to_idx": {"b": 1, "a": 0}},
        {"idx_to_class": {1: "b", 0: "a"}}, {"id2label": {"0": "a", "1": "b"}},
        {"classes": ["a", "b", "c"], "class_to_idx": {"a": 0, "b": 1}},
    ],
)  # fmt: skip
def test_where_names_are(root: dict[str, Any]) -> None:
    assert names_in(root, 2) == ("a", "b")
    assert names_in(root, 4) is None


@pytest.mark.parametrize(
    "root",
    [
        None, [], {"classes": 2}, {"classes": [0, 1]}, {"classes": "ab"}, {"class_to_idx": {"a": 0, "b": 2}},
        {"class_to_idx": {"a": 0, "b": "x"}}, {"id2label": {0: "a", 1: 7}}, {"id2label": ["a", "b"]}, {"classes": []},
    ],
)  # fmt: skip
def test_what_is_no_list_of_names_is_passed_over(root: Any) -> None:
    assert names_in(root, 0) is None


@pytest.mark.parametrize(
    ("names", "told", "tasks"),
    [
        (("a", "b"), [], [task("a", "b")]),
        (None, [], [task("a", "b")]),
        (("0", "1"), [], [task("a", "b")]),  # numbered, as nobody named them
        (("x", "y", "a", "b"), [], [task("a", "b", head=Head((2, 3)))]),
        (("a", "b"), [{"name": "t", "classes": ["a", "b"]}], [task("a", "b", name="t")]),
        (None, [{"name": "r", "classes": ["x", "y"]}, {"name": "g", "classes": ["a", "b"]}], [task("a", "b")]),
    ],
)
def test_names_that_are_the_manifests(names: Any, told: Any, tasks: list[Task]) -> None:
    assert check_class_names(names, told, tasks, "model.pt") == []


@pytest.mark.parametrize(
    ("names", "told", "tasks"),
    [
        (("b", "a"), [], [task("a", "b")]),
        (("no", "yes"), [], [task("a", "b")]),
        (("a", "b", "c"), [], [task("a", "b")]),
        (("0", "1", "2"), [], [task("0", "2", "1")]),
        (("x", "y", "b", "a"), [], [task("a", "b", head=Head((2, 3)))]),
        (None, [{"name": "t", "classes": ["b", "a"]}], [task("a", "b", name="t")]),
        (None, [{"name": "r", "classes": ["x", "y"]}, {"name": "g", "classes": ["b", "a"]}], [task("a", "b")]),
        (None, [{"name": "r", "classes": ["x", "y"]}, {"name": "g", "classes": ["c", "d"]}], [task("a", "b")]),
    ],
)
def test_others_are_refused_unless_the_manifest_is_to_be_believed(names: Any, told: Any, tasks: list[Task]) -> None:
    with pytest.raises(FairpruneError, match=r"the network's outputs are .*, the manifest says ") as caught:
        check_class_names(names, told, tasks, "model.pt")
    assert caught.value.where == "model.pt"
    assert "--classes-from manifest" in caught.value.hint
    (text,) = check_class_names(names, told, tasks, "model.pt", from_manifest=True)
    assert text.endswith("the manifest's are taken, as --classes-from says")
