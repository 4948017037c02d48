"""A graph as a network: it takes images as every model does, and the graph gets them in the form that it asks for.

Graphs are stricter than networks: the size of the batch may be fixed, the channels may come last, the numbers may be
half precision, or bytes that the graph itself normalises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.transform import CHANNELS, Transform
from fairprune_cli.models.read_out import Key

DTYPES = {
    "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64,
    "uint8": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class GraphInput:
    """What a graph takes; None is a size that it leaves free.

    Attributes:
        dtype: one of `DTYPES`. Bytes are pixels from 0 to 255, which the graph normalises itself.
        channels_last: [B, H, W, C] instead of [B, C, H, W].
    """

    dtype: str
    batch: int | None
    channels: int | None
    height: int | None
    width: int | None
    channels_last: bool = False

    @classmethod
    def of(cls, name: str, dtype: str, sizes: Sequence[int | None], where: str) -> GraphInput:
        """From the type and the shape of an input.

        Args:
            name: of the input; where: the file, both for messages.

        Raises:
            FairpruneError: it takes no images.
        """
        if dtype not in DTYPES:
            raise FairpruneError(
                f"its input {name!r} takes {dtype}, and images are float32, float16, bfloat16, float64 or uint8",
                where=where, hint="export it again with an input of one of these",
            )  # fmt: skip
        shown = ", ".join("?" if size is None else str(size) for size in sizes)
        if len(sizes) != 4:
            raise FairpruneError(
                f"its input {name!r} is [{shown}], and images are [batch, channels, height, width]", where=where,
                hint="audit a graph whose one input is a batch of images",
            )  # fmt: skip
        batch, first, middle, last = sizes
        if first not in CHANNELS and last in CHANNELS:
            return cls(dtype, batch, last, first, middle, channels_last=True)
        if first is not None and first not in CHANNELS:
            raise FairpruneError(
                f"its input {name!r} is [{shown}]: neither the second nor the last number is that of channels, 1 or 3",
                where=where, hint="audit a graph that takes grey or colour images",
            )  # fmt: skip
        return cls(dtype, batch, first, middle, last)

    def misfit(self, shape: ImageShape) -> str:
        """What the graph takes, in words, where these images are others; "" where it takes them."""
        pairs = zip((self.channels, self.height, self.width), shape.dimensions, strict=True)
        if all(own is None or own == given for own, given in pairs):
            return ""
        sides = "x".join("any" if side is None else str(side) for side in (self.height, self.width))
        return f"images of {self.channels or 'any'} channel{'s' * (self.channels != 1)} and {sides} pixels"


class GraphNetwork(nn.Module):
    """A graph behind the face of a network: float32 images [B, C, H, W] in, what the graph gives in float32 out.

    Attributes:
        kind: of the file, as reports call it.
        takes: the form that the graph's images have.
        undoes: by output, "log" or "logit" where the graph ends with a softmax or a sigmoid, "" where it does not.
    """

    kind = "graph"

    def __init__(self, where: str, takes: GraphInput) -> None:
        super().__init__()
        self.where, self.takes = where, takes
        self.undoes: Mapping[Key, str] = {}
        self.register_buffer("place", torch.zeros(1), persistent=False)  # on the device that the model is moved to
        self._mean, self._std = torch.zeros(1), torch.ones(1)

    def run(self, images: Tensor) -> dict[Key, Tensor]:
        """What the graph gives for images in the form that it asks for, by output, in its order.

        Raises:
            RuntimeError: it does not take them.
        """
        raise NotImplementedError

    def parameter_count(self) -> int | None:
        """Entries of the weights; None where they are not known."""
        return sum(parameter.numel() for parameter in self.parameters())

    def tensor_bytes(self) -> int | None:
        """Bytes of the weights and buffers, each in the number format of the file; None where not known."""
        tensors = [*self.parameters(), *(buffer for name, buffer in self.named_buffers() if name != "place")]
        return sum(tensor.nbytes for tensor in tensors)

    def accept(self, transform: Transform, named_by: str) -> None:
        """Take note of the transform by which images are prepared.

        Args:
            named_by: the file that says it.

        Raises:
            FairpruneError: the graph is made for other images; the message says both.
        """
        if wanted := self.takes.misfit(transform.shape):
            size = self.takes.height if self.takes.height == self.takes.width else [self.takes.height, self.takes.width]
            said = "S" if None in (self.takes.height, self.takes.width) else size
            raise FairpruneError(
                f"the graph takes {wanted} only, the transform of {named_by} gives {transform.shape.channels} channel"
                f"{'s' * (transform.shape.channels != 1)} and {transform.shape.pixels} pixels",
                where=self.where,
                hint=f"write its size under `transform` of the manifest, as size: {said}, or export it for others",
            )
        shape = (1, len(transform.mean), 1, 1)
        self._mean, self._std = (torch.tensor(values).view(shape) for values in (transform.mean, transform.std))

    def forward(self, images: Tensor) -> Tensor | dict[Key, Tensor]:
        """In as many parts as the graph's batch asks for."""
        prepared, count, size = self._prepared(images), len(images), self.takes.batch
        if size is None or size == count:
            found = self.run(prepared)
        else:
            parts = [self._filled(prepared[start : start + size], size) for start in range(0, count, size)]
            found = {key: torch.cat([part[key] for part in parts])[:count] for key in parts[0]}
        tables = {key: table.float() if table.is_floating_point() else table for key, table in found.items()}
        return next(iter(tables.values())) if len(tables) == 1 else tables

    def _filled(self, part: Tensor, size: int) -> dict[Key, Tensor]:
        """Outputs [size, ...] for up to `size` images: its last one fills what is left, as images do not meet."""
        missing = size - len(part)
        if missing:
            part = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
        found = self.run(part)
        # A squeeze takes the axis of a single image away.
        return {key: table[None] if size == 1 and len(table.shape) < 2 else table for key, table in found.items()}

    def _prepared(self, images: Tensor) -> Tensor:
        """In the form that the graph asks for."""
        if self.takes.dtype == "uint8":
            mean, std = self._mean.to(images.device), self._std.to(images.device)
            images = ((images * std + mean) * 255).round().clamp(0, 255)
        images = images.permute(0, 2, 3, 1) if self.takes.channels_last else images
        return images.to(DTYPES[self.takes.dtype]).contiguous()
