"""The table of scores that is made of what a network gives: worked by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.read_out import (
    OutputTable,
    ReadOut,
    Scores,
    as_given,
    attach,
    by_task,
    read_out_of,
    scores_of,
    without_shift,
)
from tests.support.heads import Auxiliary, Trunk

ROWS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [-1.0, -2.0, -3.0, -4.0]])


def alone(*tasks: Scores, width: int = 4, rest: tuple[int, ...] = ()) -> ReadOut:
    return ReadOut((OutputTable(None, width),), tasks, ((0, rest),) if rest else ())


def test_columns_of_the_tasks_stand_first_and_the_others_last() -> None:
    read_out = alone(Scores(0, (3, 1)), Scores(0, (0,)), rest=(2,))
    expected = [[4, 2, 0, 1, 3], [8, 6, 0, 5, 7], [-4, -2, 0, -1, -3]]
    assert read_out.read(ROWS).tolist() == expected
    assert (read_out.columns, read_out.rest, read_out.width) == ((slice(0, 2), slice(2, 4)), slice(4, 5), 5)
    assert read_out.names() == ["2"]
    assert not read_out.plain


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_single_score_is_decided_by_its_sigmoid_and_the_threshold(threshold: float) -> None:
    read_out = alone(Scores(0, (2,), threshold), rest=(0, 1, 3))
    scores = read_out.read(ROWS / 4)[:, read_out.columns[0]]
    sigmoids = [1 / (1 + math.exp(-v)) for v in (ROWS[:, 2] / 4).tolist()]
    assert scores.argmax(1).tolist() == [int(p > threshold) for p in sigmoids]
    probability = without_shift(scores, read_out.shifts[0]).softmax(1)[:, 1]
    assert probability.tolist() == pytest.approx(sigmoids, rel=1e-5)
    ((given, _),) = by_task(read_out, read_out.read(ROWS / 4), torch.zeros(3))
    assert given.softmax(1)[:, 1].tolist() == pytest.approx(sigmoids, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 2, 2), (3, 4, 1, 2), (3, 4, 2, 1), (3, 8)])
def test_scores_at_several_places_of_an_image_are_no_table(shape: tuple[int, ...]) -> None:
    for read_out in (alone(Scores(0, (0, 1, 2, 3))), alone(Scores(0, (1, 0)), rest=(2, 3))):
        with pytest.raises(FairpruneError, match=r"not a table of 4 numbers for each"):
            read_out.read(torch.zeros(shape))


def test_labels_go_with_their_tasks() -> None:
    read_out = alone(Scores(0, (0, 1)), Scores(0, (2, 3)))
    labels = torch.tensor([[0, 1], [1, 1], [1, 0]])
    (first, own), (second, other) = by_task(read_out, read_out.read(ROWS), labels)
    assert (first.tolist(), own.tolist()) == (ROWS[:, :2].tolist(), [0, 1, 1])
    assert (second.tolist(), other.tolist()) == (ROWS[:, 2:].tolist(), [1, 1, 0])


def test_several_tensors_are_known_by_key_or_position() -> None:
    entries = (OutputTable("race", 3), OutputTable("gender", 2))
    read_out = ReadOut(entries, (Scores(1, (0, 1)),), ((0, (0, 1, 2)),))
    given = {"gender": ROWS[:, :2], "features": ROWS.double(), "race": ROWS[:, 1:]}
    assert read_out.read(given).tolist() == torch.cat([ROWS[:, :2], ROWS[:, 1:]], 1).tolist()
    assert read_out.names() == ["race[0]", "race[1]", "race[2]"]
    of_tuple = ReadOut((OutputTable(1, 4),), (Scores(0, (0, 3)),))
    assert of_tuple.read((ROWS * 0, ROWS)).tolist() == ROWS[:, [0, 3]].tolist()


@pytest.mark.parametrize("shaped", [ROWS[:, :, None, None], ROWS[:1].squeeze(), ROWS[:, :, None]])
def test_axes_of_size_one_are_not_counted(shaped: Tensor) -> None:
    read_out = alone(Scores(0, (0, 1, 2, 3)))
    assert read_out.read(shaped).tolist() == ROWS[: max(1, shaped.numel() // 4)].tolist()


def test_probabilities_become_scores_again() -> None:
    softmax = alone(Scores(0, (0, 1, 2, 3), undo="log")).read(ROWS.softmax(1))
    assert torch.allclose(softmax.softmax(1), ROWS.softmax(1), atol=1e-6)
    sigmoid = alone(Scores(0, (2,), undo="logit")).read(ROWS.sigmoid())
    assert sigmoid[:, 1].tolist() == pytest.approx(ROWS[:, 2].tolist(), rel=1e-3)
    certain = alone(Scores(0, (0, 1, 2, 3), undo="log")).read(torch.eye(4))
    assert certain.isfinite().all()


def test_the_read_out_hangs_on_a_network_and_on_its_copies_and_can_be_left_aside() -> None:
    model = Trunk(4).eval()
    images = torch.randn(3, 3, 8, 8)
    raw, names = model(images), list(model.state_dict())
    attach(model, alone(Scores(0, (3, 0)), rest=(1, 2)))
    attach(model, alone(Scores(0, (1, 2)), rest=(0, 3)))  # in place of the one before
    for one in (model, copy.deepcopy(model)):
        assert one(images).tolist() == raw[:, [1, 2, 0, 3]].tolist()
        assert scores_of(one, one(images)).tolist() == raw[:, [1, 2]].tolist()
        assert list(one.state_dict()) == names
    with as_given(model):
        assert model(images).tolist() == raw.tolist()
    assert model(images).shape == (3, 4)
    assert read_out_of(model) == read_out_of(copy.deepcopy(model)) != None  # noqa: E711


def test_scores_in_training_are_the_networks_own_and_no_auxiliary_ones() -> None:
    model = Auxiliary(4).train()
    attach(model, alone(Scores(0, (0, 1, 2, 3))))
    images = torch.randn(3, 3, 8, 8)
    assert not (model(images) == -1).any()
    assert model(images).shape == (3, 4)


def test_what_is_missing_in_training_is_named() -> None:
    with pytest.raises(FairpruneError, match="gives 'logits' in eval mode, and in training 'loss'"):
        ReadOut((OutputTable("logits", 4),), (Scores(0, (0, 1)),)).read({"loss": ROWS})
