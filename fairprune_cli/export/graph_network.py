"""A written graph as a network, so that whatever looks at networks can look at the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from fairprune_cli.models.read_out import Key


class GraphNetwork(nn.Module):
    """What a format's `reload` gives, under the keys that the network it was made from gives its outputs.

    Args:
        run: images float32 [B, C, H, W], on the CPU, to the outputs: a tensor, or several in a list.
        keys: of the outputs, in their order; None alone where there is one tensor and nothing around it.
    """

    def __init__(self, run: Callable[[Tensor], Any], keys: Sequence[Key]) -> None:
        super().__init__()
        self._run, self._keys = run, list(keys)

    def forward(self, images: Tensor) -> Tensor | dict[Key, Tensor]:
        given = self._run(images.contiguous())
        if self._keys == [None]:
            return given
        return dict(zip(self._keys, [given] if isinstance(given, Tensor) else given, strict=True))
