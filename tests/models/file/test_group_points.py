"""Operating points of groups in a file's header, in a table, and applied to scores."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fairprune_cli
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.group_points import GroupPoints, points_csv
from fairprune_cli.models.file.header import ModelHeader

POINTS = GroupPoints(
    "", ("no", "yes"), "gender", "odds", 0.02, {"female": (0.0, 0.4), "=male": (0.0, 0.0)}, {"female": 60, "=male": 90}
)
HEADER = ModelHeader("resnet10-w16", ("no", "yes"), {}, "dense", {}, group_thresholds=(POINTS,))


def test_a_header_holds_them_and_older_ones_none() -> None:
    metadata = HEADER.to_metadata()
    assert ModelHeader.from_metadata(metadata) == HEADER
    assert "group_thresholds" not in ModelHeader("resnet10-w16", ("no", "yes"), {}, "dense", {}).to_metadata()
    del metadata["group_thresholds"]
    assert ModelHeader.from_metadata(metadata).group_thresholds == ()


def test_they_are_those_of_a_task_with_its_classes() -> None:
    tasks = ({"name": "age", "classes": ["young", "old"]}, {"name": "smile", "classes": ["no", "yes"]})
    own = GroupPoints("smile", POINTS.classes, "gender", "odds", 0.02, POINTS.biases, POINTS.images, 0.3)
    metadata = ModelHeader("x", ("young", "old"), {}, "dense", {}, tasks=tasks, group_thresholds=(own,)).to_metadata()
    assert ModelHeader.from_metadata(metadata).group_thresholds == (own,)
    for other in ("age", "", "smiles"):
        told = json.loads(metadata["group_thresholds"])
        told[0]["task"] = other
        with pytest.raises(FairpruneError, match="not that of one of the tasks"):
            ModelHeader.from_metadata(metadata | {"group_thresholds": json.dumps(told)})


def changed(**values: Any) -> list[Any]:
    return [POINTS.to_dict() | values]


def with_group(**values: Any) -> list[Any]:
    told = POINTS.to_dict()
    told["groups"][0] |= values
    return [told]


HOSTILE: dict[str, Any] = {
    "no list": {"gender": 1}, "no entries": [1], "a key too many": changed(code="import os"),
    "a number as a name": changed(attribute=3), "a lone surrogate": changed(notion="\ud800"),
    "other classes": changed(classes=["no", "maybe"]), "one class": changed(classes=["no"]),
    "classes within classes": changed(classes=[["no"], "yes"]), "the entry twice": changed() * 2,
    "no tolerance": changed(tolerance=None), "a threshold of one": changed(threshold=1),
    "NaN for a threshold": changed(threshold=math.nan), "groups by name": changed(groups={"female": [0, 1]}),
    "a group twice": changed(groups=POINTS.to_dict()["groups"] * 2), "a group without a name": with_group(group=None),
    "too few biases": with_group(biases=[0.0]), "too many": with_group(biases=[0.0, 0.0, 0.0]),
    "NaN": with_group(biases=[0.0, math.nan]), "infinity": with_group(biases=[0.0, math.inf]),
    "a number without end": with_group(biases=[0, 10**400]), "a truth value": with_group(biases=[0.0, True]),
    "text": with_group(biases=["0", "1"]), "less than no images": with_group(images=-1),
}  # fmt: skip


@pytest.mark.parametrize("told", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_in_words(told: Any) -> None:
    metadata = HEADER.to_metadata() | {"group_thresholds": json.dumps(told)}
    with pytest.raises(FairpruneError, match="header: group_thresholds") as caught:
        ModelHeader.from_metadata(metadata)
    assert caught.value.code == 2


def test_a_task_that_is_none_is_told_beside_them() -> None:
    metadata = HEADER.to_metadata() | {"tasks": json.dumps([{"name": [], "classes": 3}])}
    with pytest.raises(FairpruneError, match="one of tasks"):
        ModelHeader.from_metadata(metadata)


def test_predictions_by_hand() -> None:
    scores, groups = [[1.0, 0.7], [1.0, 0.7], [0.0, 0.0], [1.0, 0.7]], ["female", "=male", None, "unheard of"]
    assert POINTS.predicted(scores, groups).tolist() == [1, 0, 0, 0]
    assert POINTS.predicted(torch.tensor(scores), groups).tolist() == [1, 0, 0, 0]
    single = GroupPoints("", POINTS.classes, "gender", "odds", 0.02, POINTS.biases, POINTS.images, 0.8)
    logit = math.log(4)
    found = single.predicted([logit - 0.39, logit - 0.41, logit + 0.1, logit - 0.1], ["female"] * 2 + ["=male"] * 2)
    assert found.tolist() == [1, 0, 1, 0]
    assert single.predicted([[logit]], ["female"]).tolist() == [1]
    with pytest.raises(ValueError, match="a row of 2 scores"):
        POINTS.predicted(scores, ["female"])
    with pytest.raises(ValueError, match="a row of 2 scores"):
        POINTS.predicted(np.zeros((2, 3)), ["female"] * 2)


def test_the_table_says_the_same_of_scores_and_of_probabilities() -> None:
    rows = list(csv.DictReader(io.StringIO(points_csv([POINTS]))))
    assert [(row["group"], row["class"], row["images"]) for row in rows] == [
        ("female", "no", "60"), ("female", "yes", "60"), ("'=male", "no", "90"), ("'=male", "yes", "90"),
        ("", "no", ""), ("", "yes", ""),
    ]  # fmt: skip
    assert [row["bias"] for row in rows] == ["0.0", "0.4", "0.0", "0.0", "0.0", "0.0"]
    assert rows[0]["threshold"] == ""
    assert float(rows[3]["threshold"]) == float(rows[5]["threshold"]) == 0.5
    at = float(rows[1]["threshold"])
    for probability in (at - 1e-6, at + 1e-6):
        margin = math.log(probability / (1 - probability))
        assert POINTS.predicted([[0.0, margin]], ["female"]).tolist() == [int(probability > at)]


def test_a_file_gives_them_and_the_network_as_it_is(tmp_path: Path) -> None:
    model = fairprune_cli.architectures.build("resnet10-w16", 2).eval()
    for name, header in (("with", HEADER), ("without", ModelHeader("resnet10-w16", ("no", "yes"), {}, "dense", {}))):
        codec.save_model(tmp_path / f"{name}.safetensors", model, header=header)
    assert fairprune_cli.group_thresholds(tmp_path / "with.safetensors") == POINTS
    with pytest.raises(FairpruneError, match="no thresholds of groups"):
        fairprune_cli.group_thresholds(tmp_path / "without.safetensors")
    with pytest.raises(FairpruneError, match="for a task 'age'"):
        fairprune_cli.group_thresholds(tmp_path / "with.safetensors", task="age")
    images = torch.randn(2, 3, 40, 40)
    networks: list[nn.Module] = [fairprune_cli.load(tmp_path / f"{name}.safetensors") for name in ("with", "without")]
    with torch.inference_mode():
        torch.testing.assert_close(networks[0](images), networks[1](images), rtol=0, atol=0)
