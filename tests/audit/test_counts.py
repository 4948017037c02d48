from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.audit import to_json
from fairprune_cli.audit.counts import audit_models, audit_tasks
from fairprune_cli.audit.notices import notices
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach

CLASSES = ("neutral", "smiling")


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Groups:
    name: str
    groups: tuple[str, ...]


GENDER, AGE = Groups("gender", ("male", "female")), Groups("age", ("young", "old", "ancient"))


@dataclass
class Pool:
    """Images are a table of logits, so that a model is a choice of columns and what it predicts is known."""

    images: Tensor
    labels: Tensor
    groups: Tensor
    passes: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: object) -> Iterator[Batch]:
        self.passes += 1
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.images[part], self.labels[part], self.groups[part])


class Columns(nn.Module):
    def __init__(self, first: int, classes: int = 2) -> None:
        super().__init__()
        self.first, self.classes = first, classes
        self.norm = nn.BatchNorm1d(1)  # its mode must survive

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images[:, self.first : self.first + self.classes]


def pool(n: int = 1000, classes: int = 2, seed: int = 0) -> Pool:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 2 * classes, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    gender = torch.randint(-1, 2, (n,), generator=generator)
    age = torch.randint(0, 2, (n,), generator=generator)
    return Pool(images, labels, torch.stack([gender, age], 1))


def models() -> dict[str, nn.Module]:
    return {"dense": Columns(0), "pruned": Columns(2)}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("size", [1, 7, 256, 5000])
def test_counts_equal_a_plain_loop(size: int, classes: int) -> None:
    data = pool(301, classes)
    both: dict[str, nn.Module] = {"pruned": Columns(classes, classes), "dense": Columns(0, classes)}
    result = audit_models(both, data, [GENDER, AGE], [str(c) for c in range(classes)], batch_size=size)
    expected = {name: np.zeros((2, classes, classes), int) for name in both}
    pairs, moves, ungrouped = np.zeros((2, 2, 2), int), np.zeros((2, classes, classes), int), 0
    changed = 0
    for image, label, (gender, _) in zip(data.images, data.labels.tolist(), data.groups.tolist(), strict=True):
        predicted = {
            "dense": int(image[:classes].argmax()),
            "pruned": int(image[classes:].argmax()),
        }
        changed += predicted["dense"] != predicted["pruned"]
        if gender < 0:
            ungrouped += 1
            continue
        moves[gender, predicted["dense"], predicted["pruned"]] += 1
        for name, prediction in predicted.items():
            expected[name][gender, label, prediction] += 1
        pairs[gender, int(predicted["dense"] == label), int(predicted["pruned"] == label)] += 1
    for name in both:
        assert np.array_equal(result.counts(name, "gender"), expected[name])
        assert result.overall[name].sum() == 301
        assert result.counts(name, "age").shape == (3, classes, classes)
    assert np.array_equal(result.pair_counts("pruned", "gender"), pairs)
    assert np.array_equal(result.moves["pruned"]["gender"], moves)
    assert set(result.moves) == {"pruned"}
    churn = result.figures().models["pruned"].churn
    assert churn is not None
    assert (churn.churn.images, churn.churn.n) == (changed, 301)
    assert result.ungrouped == {"gender": ungrouped, "age": 0}
    assert result.overall_pairs["pruned"].sum() == 301


def test_one_pass_serves_all_models_and_progress_reaches_the_end() -> None:
    data, seen = pool(), []
    audit_models(models(), data, [GENDER, AGE], CLASSES, batch_size=300, progress=lambda *at: seen.append(at))
    assert data.passes == 1
    assert seen == [(300, 1000), (600, 1000), (900, 1000), (1000, 1000)]


def test_document_has_the_shape_of_the_report() -> None:
    document = to_json.audit_record(audit_models(models(), pool(), [GENDER, AGE], CLASSES).figures())
    json.dumps(document, allow_nan=False)
    assert set(document["results"]) == {"dense", "pruned"}
    dense = document["results"]["dense"]
    assert {"accuracy", "low", "high", "n", "attributes"} <= set(dense)
    assert dense["n"] == 1000
    assert dense["low"] < dense["accuracy"] < dense["high"]
    gender = dense["attributes"]["gender"]
    assert {"groups", "gap", "gap_low", "gap_high"} <= set(gender)
    assert {"n", "correct", "accuracy", "low", "high", "metrics"} <= set(gender["groups"]["male"])
    assert sum(g["n"] for g in gender["groups"].values()) + gender["ungrouped"] == 1000
    assert dense["attributes"]["age"]["small_groups"] == ["ancient"]
    change = document["degradation"]["gender"]
    assert {"groups", "gap", "gap_low", "gap_high"} <= set(change)
    before = {m: document["results"][m]["attributes"]["gender"]["groups"] for m in ("dense", "pruned")}
    for name, group in change["groups"].items():
        accuracy = {m: before[m][name]["accuracy"] for m in before}
        assert group["change"] == pytest.approx(accuracy["pruned"] - accuracy["dense"])
        assert (group["gained"] - group["lost"]) / group["n"] == pytest.approx(group["change"])
    whole = document["results"]["pruned"]["against_dense"]
    assert whole["change"] == pytest.approx(document["results"]["pruned"]["accuracy"] - dense["accuracy"])


def test_the_same_model_twice_has_no_degradation() -> None:
    result = audit_models({"dense": Columns(0), "pruned": Columns(0)}, pool(), [GENDER, AGE], CLASSES)
    assert result.figures().models["pruned"].degradation["gender"].gap.value == 0


def test_a_model_alone_has_no_degradation_and_says_why() -> None:
    document = to_json.audit_record(audit_models({"dense": Columns(0)}, pool(), [GENDER, AGE], CLASSES).figures())
    assert document["degradation"] is None
    assert "no dense model" in document["degradation_undefined"]
    both: dict[str, nn.Module] = {"a": Columns(0), "b": Columns(2)}
    other = to_json.audit_record(audit_models(both, pool(), [GENDER, AGE], CLASSES).figures())
    assert other["degradation"] is None


def test_several_models_each_have_their_degradation() -> None:
    three = {"dense": Columns(0), "a": Columns(2), "b": Columns(1)}
    document = to_json.audit_record(audit_models(three, pool(), [GENDER, AGE], CLASSES).figures())
    assert set(document["degradations"]) == {"a", "b"}
    assert document["degradation"] == document["degradations"]["a"]


def test_modes_come_back_and_weights_stay_trainable() -> None:
    model = Columns(0)
    model.train()
    model.norm.eval()
    weight = nn.Linear(1, 1)
    model.add_module("extra", weight)
    audit_models({"dense": model}, pool(), [GENDER, AGE], CLASSES)
    assert model.training
    assert not model.norm.training
    weight(torch.ones(1, 1)).sum().backward()
    assert weight.weight.grad is not None


def test_modes_come_back_after_an_error() -> None:
    model = Columns(0, classes=3)
    model.train()
    with pytest.raises(FairpruneError):
        audit_models({"dense": model}, pool(), [GENDER, AGE], CLASSES)
    assert model.training


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error_that_names_the_model(value: float) -> None:
    data = pool()
    data.images[[3, 500], 2] = value
    with pytest.raises(FairpruneError, match="pruned for 2 images") as caught:
        audit_models(models(), data, [GENDER, AGE], CLASSES)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "dense" not in caught.value.what


def test_wrong_number_of_classes_is_bad_input() -> None:
    with pytest.raises(FairpruneError, match="tells 3 classes apart, the data has 2") as caught:
        audit_models({"dense": Columns(0, 3)}, pool(), [GENDER, AGE], CLASSES)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert caught.value.where == "dense"


def test_outputs_that_are_no_table_are_bad_input() -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (images,)

    with pytest.raises(FairpruneError, match="table of logits"):
        audit_models({"odd": Odd()}, pool(), [GENDER, AGE], CLASSES)


def test_no_images_is_bad_input() -> None:
    with pytest.raises(FairpruneError, match="no image") as caught:
        audit_models(models(), pool(0), [GENDER, AGE], CLASSES)
    assert caught.value.code == ExitCode.BAD_INPUT


def test_memory_does_not_grow_with_the_images() -> None:
    @dataclass
    class Endless:
        n: int

        def __len__(self) -> int:
            return self.n

        def batches(self, size: int, device: object) -> Iterator[Batch]:
            one = next(pool(size).batches(size, device))
            for _ in range(self.n // size):
                yield one

    def peak(n: int) -> int:
        tracemalloc.start()
        audit_models(models(), Endless(n), [GENDER, AGE], CLASSES, batch_size=100)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    assert peak(20_000) < peak(1_000) + 20_000


def test_small_groups_are_told() -> None:
    figures = audit_models(models(), pool(), [GENDER, AGE], CLASSES).figures()
    assert any("age: too few images" in text and "ancient (0); 30 are" in text for text in notices(figures))


def test_a_threshold_moves_what_is_predicted_and_not_how_sure_the_model_is() -> None:
    scores = torch.tensor([[-2.0], [-0.5], [0.5], [2.0]])
    pool = Pool(scores, torch.tensor([0, 1, 0, 1]), torch.zeros(4, 0, dtype=torch.long))
    model = nn.Identity()
    attach(model, ReadOut((OutputTable(None, 1),), (Scores(0, (0,), 0.3),)))
    result = audit_models({"dense": model}, pool, [], CLASSES)
    sigmoids = [1 / (1 + math.exp(-s)) for s in (-2.0, -0.5, 0.5, 2.0)]
    predicted = [int(p > 0.3) for p in sigmoids]
    assert predicted == [0, 1, 1, 1]
    assert result.overall["dense"].tolist() == [[1, 1], [0, 2]]  # label x prediction
    sure = [p if k else 1 - p for p, k in zip(sigmoids, predicted, strict=True)]
    assert float(result.sureness["dense"][""].confidence.sum()) == pytest.approx(sum(sure), abs=1e-5)


def test_all_tasks_are_audited_in_one_pass_each_on_its_own_columns() -> None:
    table = torch.tensor([[1.0, 0.0, 5.0, 0.0], [0.0, 1.0, 0.0, 5.0], [0.0, 1.0, 5.0, 0.0]])
    model, passes = nn.Identity(), []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    attach(model, ReadOut((OutputTable(None, 4),), (Scores(0, (2, 3)), Scores(0, (1, 0)))))
    labels = torch.tensor([[0, 1], [1, 0], [1, 0]])
    pool = Pool(table, labels, torch.zeros(3, 0, dtype=torch.long))
    seen: list[list[list[float]]] = [[], []]
    watches = [lambda _, logits, into=into: into.extend(logits["dense"].tolist()) for into in seen]
    found = audit_tasks({"dense": model}, pool, [], [CLASSES, CLASSES], watches=watches)
    assert [one.overall["dense"].tolist() for one in found] == [[[1, 0], [1, 1]], [[2, 0], [0, 1]]]
    assert seen == [table[:, 2:].tolist(), table[:, [1, 0]].tolist()]
    assert len(passes) == 1
    first = audit_models({"dense": model}, Pool(table, labels[:, 0], pool.groups), [], CLASSES)
    assert first.overall["dense"].tolist() == found[0].overall["dense"].tolist()
