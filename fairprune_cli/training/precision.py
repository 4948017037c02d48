"""In which arithmetic the training passes are made: the number format by trial, and compiled code."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory

STEPS = 2  # timed in each format, after one that is not
GAIN = 0.95  # bf16 must take less than this share of the time of fp32


def in_format(device: torch.device, bf16: bool) -> torch.autocast:
    """A block whose forward passes are in bfloat16 where torch deems it safe, or in float32 throughout."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def faster_format(model: nn.Module, batch: int, size: int) -> str:
    """The number format in which forward and backward passes of `model` take less time here, "fp32" or "bf16".

    bf16 helps residual networks and transformers on processors that have it, and hurts depthwise convolutions.

    Args:
        model: is copied; stays as it is.
        batch: images; size: their edge in pixels.
    """
    device = next(model.parameters()).device
    trial = copy.deepcopy(model).train()
    images = torch.rand((batch, 3, size, size), generator=torch.Generator().manual_seed(0)).to(device)
    seconds = {"fp32": float("inf"), "bf16": float("inf")}
    for step in range(1 + STEPS):
        for name in seconds:
            began = time.perf_counter()
            try:
                with in_format(device, name == "bf16"):
                    logits = trial(images)
                logits.float().sum().backward()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                return "bf16"  # which needs less memory
            if step:
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return "bf16" if seconds["bf16"] < GAIN * seconds["fp32"] else "fp32"


@contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """A block in which torch's compiler may fail; what it then says becomes one message.

    Raises:
        FairpruneError: it has no C++ compiler, or cannot compile this network (exit code 3).
    """
    try:
        yield
    except Exception as error:
        if not wanted or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise FairpruneError(
            f"the network cannot be compiled: {first}", where="--compile",
            hint="leave it out, or install a C++ compiler if there is none", code=ExitCode.RUNTIME,
        ) from error  # fmt: skip
