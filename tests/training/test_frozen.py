"""Frozen parameters stay whole and as they are, to the bit; what is unused, or has nothing to train, is said."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.frozen import training_mode
from fairprune_cli.models.measure import weights_used
from fairprune_cli.pruning import methods, target
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.run.options import Settings
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.reestimate import reestimate_batch_norm
from fairprune_cli.training.snapshots import WeightAverage
from fairprune_cli.training.trainer import TrainOptions
from tests.support.networks import unlike_fresh
from tests.support.own_networks import PartlyFrozen, Plain, Spare, Trunk
from tests.support.training import Source, trainer_over

SIZE = 16
AVERAGING = TrainOptions(upper_every=2, epochs=3, saliency_batches=2, average=0.5)
KINDS = {"channel": 0.6, "weight": 0.5, "2:4": 0.5}


def net(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return unlike_fresh(kind(2))


def masks_of(model: nn.Module, granularity: str, prune_frozen: bool = False) -> Masks:
    settings = dataclasses.replace(
        Settings(), granularity=granularity, sparsity=KINDS[granularity], prune_frozen=prune_frozen
    )
    return target.build_masks(settings, model, SIZE, target.Earlier())


def frozen_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """What has to stay: the block's parameters, and the statistics of its norm."""
    names = ("f.0.0.weight", "f.0.1.weight", "f.0.1.bias", "f.0.1.running_mean", "f.0.1.running_var")
    return {name: model.state_dict()[name].clone() for name in names}


@pytest.mark.parametrize("granularity", KINDS)
@pytest.mark.parametrize("method", ["bifp", "snip", "magnitude"])
def test_a_run_leaves_what_is_frozen_as_it_is(granularity: str, method: str) -> None:
    model = net(PartlyFrozen)
    before, dense = frozen_state(model), copy.deepcopy(model.state_dict())
    run = trainer_over(model, masks_of(model, granularity), method, KINDS[granularity], options=AVERAGING)
    assert run.run()
    reestimate_batch_norm(model, (Source(9).next().images for _ in range(3)))
    after = frozen_state(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(model.f[1][1].running_mean, dense["f.1.1.running_mean"][: len(model.f[1][1].running_mean)])
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        "f.0.0.weight", "f.0.1.weight", "f.0.1.bias",
    }  # fmt: skip


@pytest.mark.parametrize("granularity", KINDS)
@pytest.mark.parametrize("method", ["bifp", "snip", "magnitude", "fairgrape"])
def test_frozen_weights_that_may_be_pruned_are_pruned_and_not_trained(granularity: str, method: str) -> None:
    model = net(Plain)
    model.f[1].requires_grad_(False)
    dense = copy.deepcopy(model.state_dict())
    run = trainer_over(model, masks_of(model, granularity, prune_frozen=True), method, KINDS[granularity])
    assert run.run()
    found = model.f[1][0].weight
    assert not found.requires_grad
    given = dense["f.1.0.weight"]
    if granularity == "channel":
        # Rows and columns of the dense weight, found by the numbers that are left.
        assert found.numel() < given.numel()
        assert set(found.flatten().tolist()) <= set(given.flatten().tolist())
        assert set(model.f[1][1].running_mean.tolist()) <= set(dense["f.1.1.running_mean"].tolist())
    else:
        assert 0 < int((found == 0).sum()) < found.numel()
        assert torch.equal(found, torch.where(found == 0, found, given))
        assert torch.equal(model.f[1][1].running_mean, dense["f.1.1.running_mean"])


def test_only_the_head_is_left_where_the_rest_is_frozen() -> None:
    model = net(Trunk)
    assert list(masks_of(model, "weight").tensors) == ["fc.weight"]
    assert masks_of(model, "weight").total == 24
    assert list(masks_of(model, "2:4").counted(model)) == ["fc.weight"]
    with pytest.raises(FairpruneError, match=r"no channels that can be removed; f\.0\.0: f\.0\.0 is frozen") as caught:
        masks_of(model, "channel")
    assert "--prune-frozen" in caught.value.hint
    assert masks_of(model, "channel", prune_frozen=True).sizes == [8, 12]


def test_nothing_left_to_prune_or_to_train_is_said() -> None:
    model = net(Plain).requires_grad_(False)
    with pytest.raises(FairpruneError, match="all parameters of the network are frozen") as caught:
        target.refuse_frozen(model)
    assert "requires_grad=True" in caught.value.hint
    model.f[0][1].requires_grad_(True)
    target.refuse_frozen(model)
    for granularity in ("weight", "2:4"):
        with pytest.raises(FairpruneError, match="all convolutions and linear layers are frozen") as caught:
            masks_of(model, granularity)
        assert "--prune-frozen" in caught.value.hint


def test_a_space_with_one_frozen_place_stays() -> None:
    model = net(Plain)
    model.f[1][1].bias.requires_grad_(False)
    masks = masks_of(model, "channel")
    assert [space.name for space in masks.spaces] == ["f.0.0"]
    assert masks.fixed["f.1.0"] == "f.1.1.bias is frozen"


def test_training_mode_leaves_frozen_norms_alone() -> None:
    model = net(PartlyFrozen)
    model.f[1][1].weight.requires_grad_(False)  # its shift still trains
    training_mode(model)
    assert [module.training for module in (model, model.f[0][0], model.f[0][1], model.f[1][1])] == [
        True, True, False, True,
    ]  # fmt: skip


def test_the_optimiser_and_the_average_have_what_trains() -> None:
    model = net(PartlyFrozen)
    taken = {id(p) for group in sgd(model, 0.1, 0.9, 1e-4).param_groups for p in group["params"]}
    assert taken == {id(p) for p in model.parameters() if p.requires_grad}
    average, before = WeightAverage(), frozen_state(model)
    for _ in range(3):  # three times a number, divided by three, need not be it
        average.add(model)
    average.load_into(model)
    assert all(torch.equal(value, before[name]) for name, value in frozen_state(model).items())


@pytest.mark.parametrize("method", ["bifp", "snip", "fairgrape", "magnitude"])
def test_a_weight_that_no_image_reaches_has_no_influence(method: str) -> None:
    model = net(Spare)
    assert weights_used(model, SIZE) == {"f.0.0.weight", "f.1.0.weight", "fc.weight"}
    masks = masks_of(model, "weight")
    assert [weight is model.spare.weight for weight in masks.unused] == [True]
    run = trainer_over(model, masks, method, 0.5)
    assert run.run()
    if methods.get(method).upper_gradient and methods.get(method).scope == "global":
        assert int(torch.count_nonzero(model.spare.weight)) <= 1 + round(0.05 * 0.5 * 20)  # what the layer floor holds


def test_a_gradient_that_is_cut_off_is_told_with_the_weight() -> None:
    class Cut(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.f(x).mean((2, 3)).detach())

    model = net(Cut)
    run = trainer_over(model, masks_of(model, "weight"), "bifp", 0.5)
    with pytest.raises(FairpruneError, match=r"f\.0\.0\.weight, and none reaches it") as caught:
        run.run()
    assert "magnitude" in caught.value.hint
