"""The faster number format is chosen by trial, and a compiled network computes what the plain one does."""

from __future__ import annotations

import copy
import shutil
import time

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.training.passes import Passes
from fairprune_cli.training.precision import compiling, faster_format


class Slow(nn.Module):
    """A network that is slow in one format, or has no memory in it."""

    def __init__(self, slow: str, fault: Exception | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 2), nn.BatchNorm1d(2))
        self.slow, self.fault = slow, fault

    def forward(self, images: Tensor) -> Tensor:
        if ("bf16" if torch.is_autocast_enabled("cpu") else "fp32") == self.slow:
            if self.fault is not None:
                raise self.fault
            time.sleep(0.05)
        logits: Tensor = self.layers(images)
        return logits


@pytest.mark.parametrize(("slow", "faster"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_the_faster_format_is_taken_and_the_network_left_alone(slow: str, faster: str) -> None:
    model = Slow(slow)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert faster_format(model, 4, 4) == faster
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_too_little_memory_for_float32_means_bf16_and_other_faults_are_not_hidden() -> None:
    assert faster_format(Slow("fp32", RuntimeError("DefaultCPUAllocator: can't allocate memory")), 4, 4) == "bf16"
    with pytest.raises(RuntimeError, match="sizes do not match"):
        faster_format(Slow("fp32", RuntimeError("sizes do not match")), 4, 4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler; there is no g++")
def test_a_compiled_network_has_the_same_gradient_also_after_it_has_changed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    plain, compiled = Passes(Ranks()), Passes(Ranks(), compiled=True)
    for _ in range(2):
        images = torch.randn(6, 3, 4, 4)
        gradients = []
        for passes in (plain, compiled):
            model.zero_grad()
            done = passes.forward(model, images, [6])
            done.backward(done.logits.square().sum())
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
        model[1].weight = nn.Parameter(torch.randn(3, 48))
        model[1].bias = nn.Parameter(torch.randn(3))
        model[3].weight = nn.Parameter(torch.randn(2, 3))
        compiled.changed()


def test_what_the_compiler_says_becomes_one_message() -> None:
    fault = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    with pytest.raises(FairpruneError, match="cannot be compiled: no compiler") as error, compiling(True):
        raise fault("\nno compiler\nat line 3")
    assert error.value.code == ExitCode.RUNTIME
    assert error.value.where == "--compile"
    with pytest.raises(RuntimeError, match="other"), compiling(True):
        raise RuntimeError("other")
