"""Batches in pieces: the gradient is that of the whole batch, and memory that runs out is answered and said."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.training.passes import Passes
from tests.support.dispatch import NarrowStrides
from tests.support.networks import shortcut
from tests.support.training import trainer


class Small(nn.Module):
    """A network without batch norms, on a device that holds so many images and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
        self.most = most
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: Tensor = self.layers(images)
        return logits


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that no sum over pieces gives: a squared difference of two groups' means."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses.mean() + (losses[::2].mean() - losses[1::3].mean()).square()


def gradients(model: Small, images: Tensor, labels: Tensor, passes: Passes) -> list[Tensor]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        done = passes.forward(model, images, [len(images)])
        done.backward(loss_of(done.logits, labels))

    passes.fitting(len(images), step)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_pieces_have_the_gradient_of_the_whole_and_it_is_said() -> None:
    torch.manual_seed(0)
    model = Small(most=100)
    images, labels = torch.randn(21, 3, 2, 2), torch.randint(0, 3, (21,))
    expected = gradients(model, images, labels, Passes(Ranks()))
    said: list[str] = []
    passes = Passes(Ranks(), say=said.append)
    model.most = 6
    model.seen.clear()
    for got, wanted in zip(gradients(model, images, labels, passes), expected, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)
    assert passes.pieces == 4
    assert len(said) == 2
    assert "4 pieces" in said[-1]
    assert model.seen[:2] == [21, 11]
    assert max(model.seen[2:]) == 6
    model.seen.clear()
    logits = passes.infer(model, images, [21])
    assert model.seen == [6, 5, 5, 5]  # it has learnt
    assert torch.allclose(logits, torch.cat([model(part) for part in images.split(5)]), atol=1e-6)


def test_what_never_fits_is_an_error_with_code_3() -> None:
    model = Small(most=1)
    with pytest.raises(FairpruneError, match="out of memory, even with pieces of") as error:
        gradients(model, torch.randn(16, 3, 2, 2), torch.zeros(16, dtype=torch.int64), Passes(Ranks()))
    assert error.value.code == ExitCode.RUNTIME


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def step() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Passes(Ranks()).fitting(8, step)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True), (torch.OutOfMemoryError("x"), True), (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("could not create a primitive"), True), (RuntimeError("can't start new thread"), True),
        (ImportError("x.so: failed to map segment from shared object"), True), (ImportError("no module x"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (OSError(28, "No space left on device"), False), (RuntimeError("other"), False),
        (ValueError("out of memory"), False),
    ],
)  # fmt: skip
def test_errors_that_say_that_memory_ran_out(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def test_a_run_goes_on_with_smaller_pieces_to_its_target() -> None:
    run = trainer("bifp", "weight", passes=8.0)
    model, most = run.model, 9
    original = model.forward

    def forward(images: Tensor) -> Tensor:
        if len(images) > most:
            raise torch.OutOfMemoryError("out of memory")
        logits: Tensor = original(images)
        return logits

    model.forward = forward  # type: ignore[method-assign]
    said: list[str] = []
    run.compute.say = said.append
    assert run.run()
    assert run.masks.kept == round(0.2 * run.masks.total)
    assert len(said) == 1
    assert run.state_dict()["pieces"] == 2


@pytest.mark.parametrize("pieces", [1, 2])
def test_no_narrow_convolution_has_strides(pieces: int) -> None:
    """Their gradient may overwrite memory; neither in one pass nor in one that is made again for each piece."""
    passes, model = Passes(Ranks()), shortcut()
    passes.pieces = pieces
    with NarrowStrides() as met:
        done = passes.forward(model, torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last), [8])
        done.backward(done.logits.square().sum())
    assert (met.narrow, met.seen) == ([], pieces)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("pieces", [1, 2])
def test_nor_has_one_in_what_is_computed_again(reentrant: bool, pieces: int) -> None:
    """As networks that save memory do: while the gradient is made, and in tensors of the same shapes."""

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Conv2d(3, 4, 3, padding=1), shortcut(4)

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = checkpoint(self.rest, self.first(images), use_reentrant=reentrant)
            return found

    passes, model = Passes(Ranks()), Saving().to(memory_format=torch.channels_last)
    passes.pieces = pieces
    with NarrowStrides() as met:
        done = passes.forward(model, torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last), [8])
        done.backward(done.logits.square().sum())
    assert met.narrow == []
    assert met.seen == 2 * pieces
    assert all(p.grad is not None for p in model.parameters())
    assert fault_of_training(model, ImageShape(3, 8, 8), channels_last=True) == ""
