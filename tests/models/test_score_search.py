"""Which numbers of a network are the scores, as found by running it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import googlenet

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.models.read_out import attach, read_out_of
from fairprune_cli.models.score_search import find_scores, outputs_of, refuse_other_outputs_in_training
from tests.support import heads
from tests.support.heads import Trunk, task

SIDE = 8
IMAGES = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def table(model: nn.Module, *tasks: Task) -> torch.Tensor:
    model.eval()
    attach(model, find_scores(model, tasks, SIDE).read_out)
    return model(IMAGES)


@pytest.mark.parametrize("kind", [Trunk, heads.InDict, heads.InTuple, heads.Spatial, heads.CarelessSqueeze,
                                  heads.Auxiliary, heads.Transposed, heads.HeadFirst])  # fmt: skip
def test_scores_are_found_wherever_they_stand(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind()
    model.eval()
    expected = model.fc(model.features(IMAGES)) if isinstance(model, Trunk) else model(IMAGES)
    assert torch.equal(table(model, task())[:, :2], expected)
    assert model(IMAGES[:1])[:, :2].shape == (1, 2)


def test_outputs_are_counted_by_running_and_not_by_layers() -> None:
    assert [one.width for one in outputs_of(heads.HeadFirst(), SIDE)] == [2]
    assert [one.width for one in outputs_of(heads.Pairs(9), SIDE)] == [18]
    assert {one.key: one.width for one in outputs_of(heads.InDict(3), SIDE)} == {"embedding": 8, "logits": 3}
    assert outputs_of(nn.Conv2d(3, 4, 1), SIDE) == []


def test_one_output_for_two_classes_is_a_sigmoid_and_said() -> None:
    model = Trunk(1)
    found = find_scores(model, [task()], SIDE)
    assert found.notes == ("the network has one output for a and b: it is taken as the score of b, through a sigmoid",)
    single = model.eval()(IMAGES)
    attach(model, found.read_out)
    assert torch.equal(model(IMAGES), torch.cat([torch.zeros_like(single), single], 1))


def test_the_only_table_is_the_one_at_position_0() -> None:
    model = Trunk(2)
    raw = model.eval()(IMAGES)
    assert torch.equal(table(model, task(output=0)), raw)


def test_a_slice_of_a_larger_head_leaves_the_others_behind_it() -> None:
    model = Trunk(18)
    raw = model.eval()(IMAGES)
    given = table(model, task(outputs=(7, 8)))
    assert torch.equal(given, torch.cat([raw[:, 7:9], raw[:, :7], raw[:, 9:]], 1))


def test_a_network_may_give_a_tensor_per_task() -> None:
    class Both(Trunk):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            scores = super().forward(x)
            return {"gender": scores[:, :2], "race": scores[:, 2:]}

    model = Both(9)
    given = table(model, task(7, "race", output="race"), task(2, "sex", output="gender"))
    found = read_out_of(model)
    assert found is not None
    assert (found.columns, found.others) == ((slice(0, 7), slice(7, 9)), ())
    assert torch.equal(given[:, :7], model.fc(model.features(IMAGES))[:, 2:])


@pytest.mark.parametrize(("kind", "undone"), [(heads.Softmax, "softmax"), (heads.Sigmoid, "sigmoid")])
def test_probabilities_are_known_by_the_operation_that_makes_them(kind: type[Trunk], undone: str) -> None:
    model = kind(3)
    found = find_scores(model, [task(3)], SIDE)
    assert f"its last operation is a {undone}" in found.warnings[0]
    attach(model, found.read_out)
    scores, inner = model.eval()(IMAGES), model.fc(model.features(IMAGES))
    assert torch.allclose(scores.softmax(1) if undone == "softmax" else scores, inner.softmax(1)
                          if undone == "softmax" else inner, atol=1e-4)  # fmt: skip


def test_scores_that_look_like_probabilities_stay_scores() -> None:
    model = Trunk(2)
    nn.init.zeros_(model.fc.weight)
    nn.init.constant_(model.fc.bias, 0.5)  # 0.5 and 0.5: in 0..1, and the sum is 1
    assert find_scores(model, [task()], SIDE).warnings == ()


@pytest.mark.parametrize(
    ("model", "asked", "what", "mend"),
    [
        (Trunk(18), task(), r"the network has 18 outputs, the manifest has 2 classes \(a, b\)", r"outputs: \[0, 1\]"),
        (Trunk(2), task(3), "the network has 2 outputs, the manifest has 3 classes", "trained for"),
        (Trunk(4), task(outputs=(3, 4)), "asks for output 4", "go to 3"),
        (Trunk(2), task(threshold=0.3), "a threshold belongs to one score", r"outputs: \[1\]"),
        (heads.InDict(2), task(output="probs"), "gives no 'probs'", "'embedding' .8 wide., 'logits' .2 wide."),
        (heads.InDict(4), task(), "none of them fits the 2 classes a, b", "output: NAME_OR_POSITION"),
        (heads.InTuple(8), task(8), "several of the network's outputs could be the scores", "output: NAME"),
        (nn.Conv2d(3, 4, 1), task(), "gives no table of scores", "--arch"),
        (heads.Predicted(), task(), "gives no table of scores", "--arch"),
        (heads.FirstAlone(2), task(), "gives no table of scores", "--arch"),
        (Trunk(2), task(output="probs"), "gives no 'probs'", "leave `output` out"),
    ],
)
def test_what_does_not_fit_says_what_to_write(model: nn.Module, asked: Task, what: str, mend: str) -> None:
    with pytest.raises(FairpruneError, match=what) as caught:
        find_scores(model, [asked], SIDE)
    assert __import__("re").search(mend, caught.value.hint)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (Trunk(2), [task(name="sex"), task(name="smile")]),
        (Trunk(3), [task(name="sex", outputs=(0, 1)), task(name="smile", outputs=(1, 2))]),
        (heads.InDict(2), [task(name="sex", output="logits"), task(name="smile")]),
    ],
)
def test_two_tasks_cannot_have_one_score(model: nn.Module, asked: list[Task]) -> None:
    with pytest.raises(FairpruneError, match="tasks sex and smile would both have output") as caught:
        find_scores(model, asked, SIDE)
    assert "`outputs`" in caught.value.hint


def test_a_network_that_gives_something_else_in_training_is_refused_before_it() -> None:
    model = heads.OtherInTraining()
    found = find_scores(model, [task()], SIDE).read_out
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(FairpruneError, match="gives one tensor in eval mode, and in training"):
        refuse_other_outputs_in_training(model, found, SIDE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    refuse_other_outputs_in_training(heads.Auxiliary(), found, SIDE)


def test_googlenet_with_auxiliary_heads_trains_on_its_own_scores() -> None:
    model = googlenet(weights=None, num_classes=3, aux_logits=True, init_weights=False)
    found = find_scores(model, [task(3)], 64).read_out
    refuse_other_outputs_in_training(model, found, 64)
    attach(model, found)
    assert model.train()(torch.randn(2, 3, 64, 64)).shape == (2, 3)
