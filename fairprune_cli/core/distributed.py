"""Several processes as one run, started by torchrun: each takes a part of every batch, all compute the same step.

Every process draws the same batch and forms only its own part of the images. Logits are gathered, so loss, counts and
multipliers are computed from the whole batch everywhere; a process sends back the gradient of its own logits, and the
parameters' gradients are added up. Batch norms use the statistics of the whole batch. So one process and many compute
the same numbers, up to the order in which they are added, and masks are the same on all processes.
"""

from __future__ import annotations

import datetime
import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.launch import several_processes

# Longer than the first process may take to audit and write while the others wait for it.
PATIENCE = datetime.timedelta(hours=12)
# On CUDA tensors of the device go by nccl, and what the host says by gloo, so that no process waits for its device to
# say that it goes on.
_ON_CUDA = "cpu:gloo,cuda:nccl"


class Ranks:
    """The processes of this run; one alone needs no communication.

    Attributes:
        number: of this process, 0 for the one that writes and talks.
        count: processes in all.
    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number, self.count = number, count
        self._alone = False

    @property
    def several(self) -> bool:
        return self.count > 1

    @property
    def is_alone(self) -> bool:
        """Whether the block of `alone` is running."""
        return self._alone

    def bounds(self, images: int) -> list[int]:
        """Where the parts of a batch begin and end, [count + 1]."""
        return [images * r // self.count for r in range(self.count + 1)]

    def counts(self, images: int) -> list[int]:
        """Images of a batch that each process has, [count]."""
        return [b - a for a, b in itertools.pairwise(self.bounds(images))]

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

    def everyone(self, mine: Tensor) -> Tensor:
        """All processes' tensors of one shape, [count, ...]; no gradient.

        Adding them up here, in the order of the processes, gives the same bits everywhere, and for small tensors it is
        three times as fast as gloo's own sum.
        """
        if not self.several or self._alone:
            return mine.detach()[None]
        parts = [torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, mine.detach().contiguous())
        return torch.stack(parts)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which batch norms see this process's images only, and no process waits for another."""
        self._alone = True
        try:
            yield
        finally:
            self._alone = False

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes, in one message.

        The sums have memory of their own: autograd lets two parameters share a gradient (two biases that are added,
        with one number per channel), and what is then scaled in place would be scaled twice.
        """
        if not self.several:
            return
        having = [p for p in parameters if p.grad is not None]
        flat = having[0].new_empty(sum(p.numel() for p in having))
        for parameter, part in zip(having, flat.split([p.numel() for p in having]), strict=True):
            assert parameter.grad is not None
            # In the memory order of the parameter, whatever order the gradient has on this process.
            total = part.as_strided(parameter.shape, torch.empty_like(parameter, device="meta").stride())
            parameter.grad = total.copy_(parameter.grad)
        dist.all_reduce(flat)

    def add_counts(self, tables: Sequence[Tensor]) -> None:
        """Replace tables of whole numbers, of one type, by their sums over the processes, in place."""
        if not self.several or not tables:
            return
        flat = torch.cat([table.reshape(-1) for table in tables])
        dist.all_reduce(flat)
        for table, part in zip(tables, flat.split([t.numel() for t in tables]), strict=True):
            table.copy_(part.view_as(table))

    def collect(self, mine: Any) -> list[Any]:
        """What each process has, in their order; can be pickled."""
        if not self.several:
            return [mine]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, mine)
        return found

    def from_others(self, mine: Any) -> list[Any]:
        """What each of the other processes has; nothing where there is no other."""
        return [value for number, value in enumerate(self.collect(mine)) if number != self.number]

    def any(self, mine: bool) -> bool:
        """Whether it is so on any process: all of them stop at the same step."""
        if not self.several:
            return mine
        flag = torch.tensor([float(mine)])
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def refuse_differences(self, what: str, value: Tensor) -> None:
        """Raise FairpruneError (exit code 3) unless all processes hold the same bits."""
        if not self.several:
            return
        sums = self.collect(zlib.crc32(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()))
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
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
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
        fault = None if failure is None else (failure.what, failure.where, failure.hint, failure.code)
        found = self.collect(fault)
        first = next((r for r, fault in enumerate(found) if fault is not None), None)
        if first is None:
            return
        if failure is not None and self.number == first:
            raise failure
        what, where, hint, code = found[first]
        raise FairpruneError(f"on process {first}: {what}", where=where, hint=hint, code=ExitCode(code))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes for the length of the block, where torchrun started several."""
    if not several_processes():
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(_ON_CUDA if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise FairpruneError(
            "another process of this run ended", code=ExitCode.RUNTIME,
            hint="see what it said, or its machine's log; --resume continues from the last state that was saved",
        ) from error  # fmt: skip
    finally:
        # After an error the others may never come to say goodbye.
        if sys.exc_info()[0] is None:
            dist.barrier()
        dist.destroy_process_group()


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective failed as another process is gone; gloo gives a plain RuntimeError."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return "gloo" in text or "connection closed by peer" in text or "connection reset by peer" in text
