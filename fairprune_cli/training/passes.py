"""A forward and backward pass over a batch: in pieces where memory is short, over several processes where there are.

The loss is a function of the logits of the whole batch (group rates are), so a batch cannot simply be divided and the
gradients be added. Instead the loss gives the gradient of the logits, and each piece is sent that of its own: the sum
is exactly the gradient of the whole, at one more forward pass per piece (the idea of GradCache, Gao et al., arXiv
2101.06983). Batch norms in training mode use the statistics of a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError, OwnFault
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.models.strided_convolutions import safe_strides
from fairprune_cli.training.capture import Captured, Outputs, Recorder
from fairprune_cli.training.norm_counts import NormCounts
from fairprune_cli.training.precision import compiling, in_format

_T = TypeVar("_T")
LEAST = 2  # images in a piece; a batch norm needs two


class Pass:
    """Logits [B, K] of the whole batch, float32, a leaf; `backward` carries their gradient on to the parameters."""

    def __init__(self, logits: Tensor, backward: Callable[[Tensor], None]) -> None:
        self.logits = logits.detach().requires_grad_()
        self._backward = backward

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`, a scalar made of `logits`, to the parameters."""
        (gradient,) = torch.autograd.grad(loss, self.logits)
        self._backward(gradient)


class Passes:
    """How the passes of a run are made.

    Args:
        compiled: whether torch compiles the network; its first pass, and the first in another mode or size, takes long.
        say: told when memory ran out and what is done about it.
        recorder: what makes graphs of passes; None where there can be none.

    Attributes:
        bf16: forward and backward in bfloat16 where torch deems it safe; logits are float32.
        pieces: in which a batch is computed; doubled when memory runs out.
        unrecorded: told why where passes cannot be recorded.
    """

    def __init__(
        self, ranks: Ranks, bf16: bool = False, say: Callable[[str], None] = lambda _: None, compiled: bool = False,
        recorder: Recorder | None = None,
    ) -> None:  # fmt: skip
        self.ranks, self.bf16, self.say, self.compiled = ranks, bf16, say, compiled
        # Processes wait for each other in the middle of a pass, and a compiled network has graphs of its own.
        self._recorder = None if ranks.several or compiled else recorder
        self._captured: list[Captured] = []
        self.unrecorded: Callable[[str], None] = lambda _: None
        self._norms: NormCounts | None = None
        self.pieces = 1
        self._tried = 0  # images of one process that all processes have had room for
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def changed(self) -> None:
        """Told when the network has other layers or parameters than before."""
        self._norms = None
        for captured in self._captured:
            captured.forget()
        if self.compiled:
            torch.compiler.reset()
            self._compiled = None

    def captured(self, model: nn.Module, work: Callable[..., Outputs]) -> Captured:
        """`work`, which makes passes of `model`, as a graph where there can be one and batches are in one piece."""

        def recorder() -> Recorder | None:
            return self._recorder if self.pieces == 1 else None

        def say(text: str) -> None:
            self._recorder = None
            self.unrecorded(text)

        self._captured.append(Captured(model, work, recorder, say))
        return self._captured[-1]

    def infer(self, model: nn.Module, images: Tensor, counts: list[int]) -> Tensor:
        """Logits of all processes' images, [sum of counts, K], without a gradient.

        Args:
            images: this process's part; counts: images of each process.
        """

        self._try(model, images, counts)

        def logits() -> Tensor:
            with torch.no_grad():
                return torch.cat([self._forward(model, piece) for piece in images.tensor_split(self._pieces(counts))])

        return self.ranks.gather(self.fitting(len(images), logits), counts)

    def of_another(self, model: nn.Module, images: Tensor, counts: list[int]) -> Tensor:
        """Logits of a network that is not trained, in the mode it is in; arguments and result as of `infer`."""
        with torch.no_grad(), in_format(images.device, self.bf16):
            logits = torch.cat([model(piece) for piece in images.tensor_split(self._pieces(counts))])
        return self.ranks.gather(logits.to(torch.promote_types(logits.dtype, torch.float32)), counts)

    def forward(self, model: nn.Module, images: Tensor, counts: list[int]) -> Pass:
        """A pass whose `backward` leaves the parameters' gradients summed over pieces and processes."""
        self._try(model, images, counts)
        start = sum(counts[: self.ranks.number])
        own = slice(start, start + len(images))
        pieces = images.tensor_split(self._pieces(counts))
        if len(pieces) == 1:
            outputs = self._forward(model, images)

            def backward(gradient: Tensor) -> None:
                _backward(outputs, gradient[own])
                self.ranks.add_gradients(model.parameters())

            return Pass(self.ranks.gather(outputs, counts), backward)
        with torch.no_grad():
            mine = torch.cat([self._forward(model, piece) for piece in pieces])

        def again(gradient: Tensor) -> None:
            for piece, part in zip(pieces, gradient[own].tensor_split(len(pieces)), strict=True):
                _backward(self._forward(model, piece), part)
            self.ranks.add_gradients(model.parameters())

        return Pass(self.ranks.gather(mine, counts), again)

    def fitting(self, images: int, step: Callable[[], _T]) -> _T:
        """`step()`, in twice as many pieces for as long as memory runs out.

        Args:
            images: of this process, in the batch.
            step: computes from scratch whatever it computes; is called again.

        Raises:
            FairpruneError: pieces of two images are too large, or one of several processes has no memory left (exit
                code 3).
        """
        while True:
            try:
                return step()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # One process alone cannot change its pieces: the others wait for it in the middle of a step.
                if self.ranks.several:
                    raise OwnFault(
                        f"out of memory on process {self.ranks.number}, in the middle of a step",
                        hint="close other programs, or use more processes (--resume continues with another number of "
                        "them) or a smaller --batch-size", code=ExitCode.RUNTIME,
                    ) from error  # fmt: skip
            self._halve(images)

    def _halve(self, images: int) -> None:
        """Twice as many pieces, for a batch of so many images."""
        if images < 2 * LEAST * self.pieces:
            raise FairpruneError(
                f"out of memory, even with pieces of {max(images // self.pieces, 1)} images",
                hint="close other programs, or use smaller images, another --device or a smaller network",
                code=ExitCode.RUNTIME,
            )
        self.pieces *= 2
        self.say(
            f"out of memory: batches of {images} are now computed in {self.pieces} pieces, whose gradients are "
            "added up; batch norms see the pieces"
        )
        for captured in self._captured:
            captured.forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _try(self, model: nn.Module, images: Tensor, counts: list[int]) -> None:
        """Before the first batch of a size, find pieces that all processes have room for.

        In the middle of a step a process that has no memory left cannot say so, as the others wait for its part of a
        batch norm. So each first goes forward and backward alone, and all take the pieces of the one with least room.
        Parameters, running statistics and random numbers stay as they are; gradients are dropped.
        """
        if not self.ranks.several or max(counts) <= self._tried:
            return
        self._tried = max(counts)
        while True:
            failed = False
            try:
                with self.ranks.alone(), torch.random.fork_rng([images.device] if images.is_cuda else []):
                    _backward(self._forward(model, images.tensor_split(self._pieces(counts))[0]).sum())
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failed = True
            model.zero_grad(set_to_none=True)
            if not self.ranks.any(failed):
                return
            self._halve(max(counts))

    def _pieces(self, counts: list[int]) -> int:
        """In which this batch is computed: as many on all processes, however few images one of them has."""
        return max(min(self.pieces, max(counts) // LEAST), 1)

    def _forward(self, model: nn.Module, images: Tensor) -> Tensor:
        if self.compiled and self._compiled is None:
            self._compiled = torch.compile(model)
        if self._norms is None:
            self._norms = NormCounts(model, not self.compiled and not self.ranks.several)
        device = images.device
        with self._norms.together(), compiling(self.compiled), in_format(device, self.bf16), safe_strides(device):
            logits: Tensor = (model if self._compiled is None else self._compiled)(images)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _backward(outputs: Tensor, gradient: Tensor | None = None) -> None:
    with safe_strides(outputs.device):
        outputs.backward(gradient)
