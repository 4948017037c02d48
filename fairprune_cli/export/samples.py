"""Images of a manifest as a model's input, for comparing a written file with its source on what it is made for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pixels import Normaliser
from fairprune_cli.data.images.decode import decode
from fairprune_cli.data.images.pillow import ImageFault
from fairprune_cli.data.images.stored import stored_image
from fairprune_cli.data.manifest.load import Manifest, Transform

COUNT = 32


def real_images(manifest: Manifest, transform: Transform, count: int = COUNT) -> Tensor:
    """Images spread evenly over the test split (all images where that is empty), normalised: float32 [n, C, H, W].

    Args:
        count: n, or fewer where the split has fewer.

    Raises:
        FairpruneError: an image cannot be read.
    """
    rows = manifest.rows_of("test")
    rows = rows if len(rows) else np.arange(len(manifest))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]
    pixels = []
    for row in chosen:
        try:
            pixels.append(decode(stored_image(manifest, int(row)), transform.shape))
        except ImageFault as fault:
            raise FairpruneError(
                f"{manifest.files[row]} {fault.text}", where=f"{manifest.path}, {manifest.where(row)}",
                hint="`fairprune data check` lists all such images",
            ) from fault  # fmt: skip
    return Normaliser(transform)(torch.from_numpy(np.stack(pixels)))
