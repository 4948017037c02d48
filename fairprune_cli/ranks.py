"""Several processes as one run, started by torchrun: each takes a part of every batch, all compute the same step.

Every process draws the same batch and forms only its own part of the images. Logits are gathered, so loss, counts and
multipliers are computed from the whole batch everywhere; a process sends back the gradient of its own logits, and the
parameters' gradients are added up. Batch norms use the statistics of the whole batch. So one process and many compute
the same numbers, up to the order in which they are added, and masks are the same on all processes.
"""

from __future__ import annotations

import datetime
import sys
import types
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.errors import ExitCode, FairpruneError
from fairprune_cli.launch import several_processes

# Longer than the first process may take to audit and write while the others wait for it.
PATIENCE = datetime.timedelta(hours=12)


class Ranks:
    """The processes of this run; one alone needs no communication.

    Attributes:
        number: of this process, 0 for the one that writes and talks.
        count: processes in all.
    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number, self.count = number, count

    @property
    def several(self) -> bool:
        return self.count > 1

    def bounds(self, images: int) -> list[int]:
        """Where the parts of a batch begin and end, [count + 1]."""
        return [images * r // self.count for r in range(self.count + 1)]

    def share(self, images: int) -> slice:
        """The part of a batch that this process takes."""
        edges = self.bounds(images)
        return slice(edges[self.number], edges[self.number + 1])

    def gather(self, mine: Tensor, counts: list[int]) -> Tensor:
        """All processes' rows below each other, [sum of counts, K]; `mine` is [counts[number], K]. No gradient."""
        mine = mine.detach()
        if not self.several:
            return mine
        padded = mine.new_zeros((max(counts), *mine.shape[1:]))
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes, in one message."""
        if not self.several:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, mine: bool) -> bool:
        """Whether it is so on any process: all of them stop at the same step."""
        if not self.several:
            return mine
        flag = torch.tensor([float(mine)], device=_device())
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def refuse_differences(self, what: str, value: Tensor) -> None:
        """Raise FairpruneError (exit code 3) unless all processes hold the same bits."""
        if not self.several:
            return
        sums: list[int | None] = [None] * self.count
        dist.all_gather_object(sums, zlib.crc32(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()))
        if len(set(sums)) > 1:
            raise FairpruneError(
                f"{what} differs between the processes", hint="run all of them on machines of one kind",
                code=ExitCode.RUNTIME,
            )  # fmt: skip

    def from_first(self, value: Any) -> Any:
        """The value that process 0 has; on the others it is ignored."""
        if not self.several:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=_device())
        return box[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that succeeds on all processes or on none; process 0 says what went wrong, wherever it did."""
        failure: FairpruneError | None = None
        try:
            yield
        except FairpruneError as error:
            if not self.several:
                raise
            failure = error
        if not self.several:
            return
        found: list[Any] = [None] * self.count
        dist.all_gather_object(
            found, None if failure is None else (failure.what, failure.where, failure.hint, failure.code)
        )
        first = next((r for r, fault in enumerate(found) if fault is not None), None)
        if first is None:
            return
        if failure is not None and self.number == first:
            raise failure
        what, where, hint, code = found[first]
        raise FairpruneError(f"on process {first}: {what}", where=where, hint=hint, code=ExitCode(code))


_current = Ranks()


def current() -> Ranks:
    """The processes that this one runs with."""
    return _current


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes for the length of the block, where torchrun started several; gloo, or nccl on CUDA."""
    global _current
    if not several_processes():
        yield _current
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    _current = Ranks(dist.get_rank(), dist.get_world_size())
    try:
        yield _current
    finally:
        # After an error the others may never come to say goodbye.
        if sys.exc_info()[0] is None:
            dist.barrier()
        dist.destroy_process_group()
        _current = Ranks()


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


# --- batch norms over the whole batch ----------------------------------------------------------------------------


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


@contextmanager
def shared_norms(model: nn.Module, ranks: Ranks) -> Iterator[None]:
    """A block in which the batch norms of `model` see the batches of all processes as one.

    torch.nn.SyncBatchNorm does the same on CUDA only, and is a class of its own, which the removal of channels would
    have to know.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] if ranks.several else []
    for norm in norms:
        norm.forward = types.MethodType(_shared_forward, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _shared_forward(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """F.batch_norm with mean and variance over all processes; x [B, C, ...], of any B, 0 included."""
    if not norm.training and norm.running_mean is not None:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    over = [d for d in range(x.dim()) if d != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    values = x.float()
    size = values.new_tensor([x.numel() / x.shape[1]])
    sums = _Sum.apply(torch.cat([values.sum(over), size]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(over)) / count
    with torch.no_grad():
        if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            rate = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, rate)
            norm.running_var.lerp_(variance * count / (count - 1).clamp_min(1.0), rate)
    result = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.weight is not None and norm.bias is not None:
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    return result.to(x.dtype)
