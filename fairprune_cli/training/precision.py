"""In which arithmetic the training passes are made: the number format by kind of network, and compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.models.multiply_adds import multiply_adds

MOST_DEPTHWISE = 0.2  # share of depthwise convolutions up to which bfloat16 pays: .16 gains, .24 loses
LEAST_HEAD = 32  # width of an attention's heads from which it pays: 32 and 64 gain, 16 loses


def in_format(device: torch.device, bf16: bool) -> torch.autocast:
    """A block whose forward passes are in bfloat16 where torch deems it safe, or in float32 throughout."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def native_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16 itself, instead of taking several instructions for it.

    CPUs with AVX-512 BF16 or AMX do, and CUDA devices of compute capability 8.0 or newer.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # torch's public question, oneDNN's, is answered with yes where it emulates.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001


def depthwise_share(model: nn.Module, shape: Shape) -> float:
    """Share of the numbers that a pass's convolutions and products with weights give that are depthwise ones; 0..1.

    Args:
        shape: of the images.
    """
    weights, depthwise, total = multiply_adds(model, shape).weights, 0.0, 0.0
    for name, parameter in model.named_parameters():
        if weights[name]:
            given = weights[name] / parameter[0].numel()
            total += given
            depthwise += given * (parameter.ndim > 2 and parameter.shape[1] == 1)
    return depthwise / max(total, 1.0)


def narrowest_head(model: nn.Module) -> int | None:
    """Width of the narrowest head of all self-attentions; None where there is none."""
    widths = [module.head_width for module in model.modules() if isinstance(module, SelfAttention)]
    widths += [module.head_dim for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    return min(widths, default=None)


def gains_from_bf16(model: nn.Module, shape: Shape) -> bool:
    """Whether passes of a network of this kind take less time in bfloat16 on a processor that has it.

    The table that benchmarks/precision.py measured: dense and grouped convolutions, matrix products and attention gain;
    depthwise convolutions lose several times as much, and so does attention of narrow heads.

    Args:
        shape: of the images.
    """
    head = narrowest_head(model)
    return depthwise_share(model, shape) <= MOST_DEPTHWISE and (head is None or head >= LEAST_HEAD)


def chosen_precision(asked: str, model: nn.Module, shape: Shape, device: torch.device) -> str:
    """What the setting `precision` becomes, "fp32" or "bf16": a function of the kinds of processor and network alone.

    Nothing is timed, so that a run has the same bytes whenever it is made on a machine.

    Args:
        asked: auto, fp32 or bf16; shape: of the images.

    Raises:
        FairpruneError: bf16 is asked for, and the network does not run in it.
    """
    if asked == "fp32" or (asked == "auto" and not (native_bf16(device) and gains_from_bf16(model, shape))):
        return "fp32"
    fault = fault_of_training(model, shape, bf16=True)
    if fault and asked == "bf16":
        raise FairpruneError(f"the network does not train in bfloat16: {fault}", where="--precision", hint="use fp32")
    return "fp32" if fault else "bf16"


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
