"""The images that a group lost through pruning: right in the dense model, wrong in the other one; the plainest first.

Only so many per group are remembered, so memory does not grow with the number of images.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fairprune_cli.audit.figures import Example, Examples
from fairprune_cli.models.read_out import without_shift

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.audit.counts import NamedGroups
    from fairprune_cli.audit.logits import Seen

SIDE = 96  # largest side of an embedded picture, in pixels


class Images(Protocol):
    """Where the pictures come from: uint8 [C, H, W] by row, and the rows' file names."""

    def pixels_of(self, row: int) -> np.ndarray: ...
    @property
    def manifest(self) -> Any: ...


@dataclass(frozen=True, order=True)
class _Lost:
    """An image and how much of the true class's probability pruning took; ordered by that, then by row."""

    drop: float
    behind: int  # minus the row, so that of equals the first is kept
    before: float
    after: float
    label: int
    predicted: int


class LostImages:
    """Looks on at an audit (`audit_models(..., watch=...)`) and remembers the `most` plainest losses of each group.

    `shift` is what the logits of the second of two classes lack, for a threshold other than one half.
    """

    def __init__(self, groupings: Sequence[NamedGroups], most: int, shift: float = 0.0) -> None:
        self.groupings, self.most, self.shift = groupings, most, shift
        self.found: dict[tuple[str, str, str], list[_Lost]] = {}

    def __call__(self, batch: Seen, logits: Mapping[str, Tensor]) -> None:
        """`batch` has `rows`; `logits` [B, K] by model, "dense" among them."""
        dense = logits["dense"]
        right = dense.argmax(1) == batch.labels
        for name, other in logits.items():
            if name == "dense":
                continue
            predicted = other.argmax(1)
            lost = (right & (predicted != batch.labels)).nonzero().squeeze(1)
            if len(lost):
                before, after = (without_shift(scores[lost], self.shift) for scores in (dense, other))
                self._keep(name, batch, lost, before, after, predicted[lost])

    def _keep(self, model: str, batch: Seen, lost: Tensor, dense: Tensor, other: Tensor, predicted: Tensor) -> None:
        labels = batch.labels[lost]
        before, after = (x.softmax(1).gather(1, labels[:, None]).squeeze(1).tolist() for x in (dense, other))
        assert batch.rows is not None
        rows: list[int] = batch.rows[lost].tolist()
        images = [
            _Lost(b - a, -row, b, a, label, p)
            for b, a, row, label, p in zip(before, after, rows, labels.tolist(), predicted.tolist(), strict=True)
        ]
        for column, grouping in zip(batch.groups[lost].T.tolist(), self.groupings, strict=True):
            for image, group in zip(images, column, strict=True):
                if group >= 0:
                    kept = self.found.setdefault((model, grouping.name, grouping.groups[group]), [])
                    (heapq.heappush if len(kept) < self.most else heapq.heappushpop)(kept, image)

    def merge(self, others: Iterable[Mapping[tuple[str, str, str], list[_Lost]]]) -> None:
        """Take in what others `found` who looked on at other images of the same audit."""
        for found in others:
            for key, losses in found.items():
                kept = self.found.setdefault(key, [])
                for image in losses:
                    (heapq.heappush if len(kept) < self.most else heapq.heappushpop)(kept, image)

    def examples(self, images: Images, classes: Sequence[str]) -> Examples:
        """The images that were kept, the plainest first, with their pictures."""
        lost: dict[tuple[str, str, str], tuple[Example, ...]] = {}
        pictures: dict[str, str] = {}
        for key, kept in self.found.items():
            shown = []
            for image in sorted(kept, reverse=True):
                row = -image.behind
                file = str(images.manifest.files[row])
                pictures.setdefault(file, picture(images.pixels_of(row)))
                shown.append(Example(file, classes[image.label], classes[image.predicted], image.before, image.after))
            lost[key] = tuple(shown)
        return Examples(self.most, str(images.manifest.root), lost, pictures)


def picture(pixels: np.ndarray) -> str:
    """A data URI of the image, uint8 [C, H, W], at most `SIDE` pixels a side."""
    from PIL import Image

    from fairprune_cli.data.images.pillow import data_uri
    from fairprune_cli.data.manifest.image_shape import ImageShape

    image = Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))
    shape = ImageShape(len(pixels), image.height, image.width)
    if max(image.size) > SIDE:
        shape = shape.within(SIDE)
        image = image.resize((shape.width, shape.height), Image.Resampling.LANCZOS)
    return data_uri(image)
