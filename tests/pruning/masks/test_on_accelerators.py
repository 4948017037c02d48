"""What masks do on accelerators is what they do on the host, in a few operations, none of which waits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.models.strides import refuse_other_strides
from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.masks import ChannelMasks, Masks, TwoOfFourMasks, WeightMasks
from fairprune_cli.pruning.methods.bifp import damp
from fairprune_cli.training.trainer import Trainer, TrainOptions
from tests.support.dispatch import Operations
from tests.support.networks import network
from tests.support.training import masks_over, thinned, trainer

KINDS = {"channel": 0.6, "weight": 0.6, "2:4": 0.5}
EVERY = pytest.mark.parametrize("kind", KINDS)
# Operations that a call may take where the network has a few layers; of `foreach` calls each is one.
MOST = {"mask_gradients": 1, "mask_state": 1, "apply": 8, "saliency": 8, "first order": 11, "average": 11, "probing": 3}


def made(kind: str, density: float = 1.0, last: bool = True) -> tuple[nn.Module, Masks]:
    model = network("resnet10-w16")
    if last:
        model = model.to(memory_format=torch.channels_last)
    return model, masks_over(model, kind, thinned(model, density) if density < 1.0 else None)


def with_gradients(model: nn.Module, seed: int = 3) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


def figures(kind: str, density: float, last: bool) -> dict[str, Tensor]:
    """All that masks compute, after some moves."""
    model, masks = made(kind, density, last)
    generator = torch.Generator().manual_seed(1)
    for sparsity in (0.3, 0.5, 0.2, KINDS[kind]):
        masks.apply(masks.select(torch.rand(len(masks.keep), generator=generator), min(sparsity, KINDS[kind])))
    with_gradients(model)
    first = next(iter(masks.tensors.values()))
    assert first.grad is not None
    first.grad[::2] = torch.inf
    average = torch.rand(len(masks.keep), generator=generator)
    found = {"keep": masks.keep, **{f"z {n}": p.detach().clone() for n, p in model.named_parameters()}}
    masks.mask_gradients()
    found |= {f"gradient {n}": p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    with_gradients(model)
    found |= {"magnitude": masks.magnitude(), "saliency": masks.saliency(), "first": masks.first_order_gradient(2.0)}
    with masks.probing():
        found |= {f"open {n}": p.detach().clone() for n, p in masks.tensors.items()}
        found["probed"] = masks.saliency()
    found |= {f"closed {n}": p.detach().clone() for n, p in masks.tensors.items()}
    masks.average_squared_gradient(average, 0.9)
    found |= {"average": average, "damped": damp(found["magnitude"].clone(), average, 0.3)}
    found |= {f"theta {name}": masks.theta(name) for name in masks.tensors}
    found |= {f"stash {name}": stash.clone() for name, stash in masks.stash.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    masks.hold(model)
    return found | {f"held {n}": p.detach().clone() for n, p in model.named_parameters()}


@EVERY
@pytest.mark.parametrize("density", [1.0, 0.7])
@pytest.mark.parametrize("last", [True, False])
def test_an_accelerator_computes_what_the_host_does(kind: str, density: float, last: bool) -> None:
    here = figures(kind, density, last)
    with as_accelerator():
        there = figures(kind, density, last)
    assert here.keys() == there.keys()
    rounded = {"saliency", "first", "probed", "average", "damped", "magnitude"} if kind == "channel" else set()
    for name, value in here.items():
        if name in rounded:  # sums over a channel's entries in another order
            assert torch.allclose(value, there[name], rtol=1e-4, atol=1e-6), name
        else:
            assert torch.allclose(value, there[name], rtol=0, atol=0, equal_nan=True), name
        assert value.stride() == there[name].stride(), name


@EVERY
def test_masked_entries_are_zeros_without_a_sign(kind: str) -> None:
    for block in (contextlib.nullcontext(), as_accelerator()):
        with block:
            model, masks = made(kind)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.neg_()
            masks.apply(masks.select(torch.rand(len(masks.keep)), 0.5))
            with masks.probing():
                pass
            for name, keep in masks.entries(masks.keep).items():
                assert not bool(torch.signbit(masks.tensors[name].detach()[~keep]).any())
                assert not bool(torch.signbit(masks.stash[name][keep]).any())


@EVERY
def test_few_operations_and_none_that_waits(kind: str) -> None:
    model, masks = made(kind)
    with_gradients(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    average = torch.rand(len(masks.keep))

    def probe() -> None:
        with masks.probing():
            pass

    keep = masks.select(torch.rand(len(masks.keep)), 0.5)
    calls: dict[str, Callable[[], Any]] = {
        "mask_gradients": masks.mask_gradients, "mask_state": lambda: masks.mask_state(optimizer.state),
        "apply": lambda: masks.apply(keep), "saliency": masks.saliency, "probing": probe,
        "first order": lambda: masks.first_order_gradient(1.0),
        "average": lambda: masks.average_squared_gradient(average, 0.9),
    }  # fmt: skip
    with as_accelerator():
        masks.apply(keep)
        for name, call in calls.items():
            with Operations() as operations:
                call()
            assert operations.total <= MOST[name], (name, operations.counts)
            assert operations.waits == 0, (name, operations.counts)
        with Operations() as operations:
            assert masks.achieved > 0.4
            masks.magnitude()
        assert operations.waits == 0
    for call in (masks.mask_gradients, lambda: masks.mask_state(optimizer.state), lambda: masks.achieved):
        with Operations() as operations:
            call()
        assert operations.total == 0


def test_a_dimension_of_several_spaces_is_open_where_each_leaves_it_so() -> None:
    """Also gates that are weights, of which a channel has several rows and a row several entries."""
    for name in ("inception", "flattens", "densenet", "vit-tiny", "shufflenet"):
        model = network(name)
        masks = ChannelMasks(model, channel_spaces(model, 32))
        keep = torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(2)) < 0.6
        expected = {n: torch.ones_like(p, dtype=torch.bool) for n, p in masks.tensors.items()}
        with_gradients(model)
        sums, squares, entries, start = [], [], [], 0
        for space in masks.spaces:
            for unit in range(space.size):
                total = 0.0
                for gate in space.gates:
                    rows = gate.channel == unit
                    parameter = masks.tensors[gate.tensor]
                    assert parameter.grad is not None
                    total += float((parameter.detach()[rows] * parameter.grad[rows]).sum())
                    if not bool(keep[start + unit]):
                        expected[gate.tensor][rows] = False
                sums.append(total)
                weights = [model.get_parameter(f.tensor).detach()[f.channel == unit] for f in space.filters]
                squares.append(sum(float(w.square().sum()) for w in weights))
                entries.append(sum(w.numel() for w in weights))
            start += space.size
        for block in (contextlib.nullcontext(), as_accelerator()):
            with block:
                found = masks.entries(keep)
                assert all(torch.equal(found[n], mask) for n, mask in expected.items()), name
                assert masks.saliency().tolist() == pytest.approx(sums, rel=1e-3, abs=1e-4), name
                sizes = [(s / n) ** 0.5 for s, n in zip(squares, entries, strict=True)]
                assert masks.magnitude().tolist() == pytest.approx(sizes, rel=1e-4), name


@EVERY
@pytest.mark.parametrize("method", ["bifp", "magnitude"])
def test_a_training_is_the_same_on_both(kind: str, method: str) -> None:
    """To the bit: a channel's scores differ by rounding, which its place in the order does not see here.

    Without what comes late by design: multipliers, and channels that follow their scores; nor clipped gradients, which
    are rounded otherwise.
    """
    options = TrainOptions(upper_every=2, epochs=1, fairness_on="none", clip_norm=1e6)

    def trained() -> Trainer:
        run = trainer(method, kind, channels_last=True, options=options)
        run.masks.chooses_on_host = False
        assert run.run()
        return run

    here = trained()
    with as_accelerator():
        there = trained()
    assert torch.equal(here.masks.keep, there.masks.keep)
    got = there.model.state_dict()
    assert all(torch.equal(value, got[name]) for name, value in here.model.state_dict().items())
    assert here.records[-1].sparsity == there.records[-1].sparsity


@EVERY
@pytest.mark.parametrize("method", ["fairprune", "lottery", "random", "snip"])
def test_so_are_those_of_methods_that_prune_in_rounds(kind: str, method: str) -> None:
    options = TrainOptions(epochs=1, saliency_batches=1, clip_norm=1e6)  # clipped, gradients are rounded otherwise

    def trained() -> Trainer:
        run = trainer(method, kind, channels_last=True, options=options)
        run.run(lambda: not run.phase.prunes)
        return run

    here = trained()
    with as_accelerator():
        there = trained()
    assert torch.equal(here.masks.keep, there.masks.keep)


@EVERY
def test_what_is_carried_over_lies_in_memory_as_its_parameter(kind: str) -> None:
    """Removal, rewinding, and a state that is read back."""
    for method in ("magnitude", "lottery"):
        run = trainer(method, kind, channels_last=True, options=TrainOptions(upper_every=2, epochs=1, average=0.2))
        while run.phase.prunes:
            run.step()
        assert kind != "channel" or run.masks.tensors == {}
        refuse_other_strides(run.model, run._weights.optimizer.state)
        four = [p for p in run.model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
        assert four
        assert not any(p.is_contiguous() for p in four)
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in four)
        run.step()
        for name, parameter in run.model.named_parameters():
            assert run.model.state_dict()[name].stride() == parameter.stride()
            assert parameter.grad is not None
            assert parameter.grad.stride() == parameter.stride(), name
            assert run.best.model[name].stride() == parameter.stride(), name
        while not run._average.count:
            run.step()
        parameters = dict(run.model.named_parameters())
        assert all(value.stride() == parameters[name].stride() for name, value in run._average._sum.items())
        again = trainer(method, kind, channels_last=True, options=TrainOptions(upper_every=2, epochs=1, average=0.2))
        again.load_state_dict(run.state_dict())
        refuse_other_strides(again.model, again._weights.optimizer.state)
        assert [p.stride() for p in again.model.parameters()] == [p.stride() for p in run.model.parameters()]


def test_weights_of_two_of_four_in_memory_order_are_those_in_rows() -> None:
    """Channels-last weights lie otherwise in memory than the rows that blocks are laid along."""
    rows, _ = made("2:4", last=False)
    last, _ = made("2:4")
    for block in (contextlib.nullcontext(), as_accelerator()):
        with block:
            one, other = TwoOfFourMasks(rows), TwoOfFourMasks(last)
            scores = one.magnitude()
            assert torch.equal(other.magnitude(), scores)
            for masks in (one, other):
                masks.apply(masks.select(scores, 0.5))
            assert all(torch.equal(p, other.tensors[n]) for n, p in one.tensors.items())
            assert any(p.stride() != other.tensors[n].stride() for n, p in one.tensors.items())


def test_a_mask_that_is_read_back_is_the_same_mask() -> None:
    for block in (contextlib.nullcontext(), as_accelerator()):
        with block:
            model, masks = made("weight")
            masks.apply(masks.select(torch.rand(masks.total), 0.5))
            state = {"keep": masks.keep.clone(), "stash": masks.state_dict()["stash"]}
            other, read = made("weight")
            other.load_state_dict(model.state_dict())
            read.load_state_dict(state)
            everything = torch.ones_like(masks.keep)
            masks.apply(everything)
            read.apply(everything)
            assert isinstance(read, WeightMasks)
            assert all(torch.equal(p, read.tensors[n]) for n, p in masks.tensors.items())


def test_ranks_within_layers_are_put_nowhere() -> None:
    """Where results must repeat, a GPU sorts to put numbers in places."""
    masks = made("weight")[1]
    scores = torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(2)).mul_(50.0).round_()
    expected = masks.rank_within(scores)
    with as_accelerator(), Operations() as operations:
        found = masks.rank_within(scores)
    assert torch.equal(found, expected)
    assert not operations.counts["index_put_"]
