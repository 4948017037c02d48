"""Images on their way from the cache to a device, while the device works on others."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.data.images.mapped import refuse_cut_short


class _Copied(NamedTuple):
    images: Tensor
    done: torch.cuda.Event | None  # when they are there; None where they are already


class Uploads:
    """Reads images into page-locked memory and copies them on a stream of its own, both in a thread of its own.

    Args:
        pixels: uint8 [N, C, H, W].
    """

    def __init__(self, pixels: np.ndarray, device: torch.device) -> None:
        self.pixels, self.device = pixels, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="uploads")

    def start(self, rows: np.ndarray) -> Future[_Copied]:
        """Set out for the images at `rows` (int64 [B]); one call's images are read after those of the call before."""
        return self._thread.submit(self._copy, rows)

    def arrived(self, upload: Future[_Copied]) -> Tensor:
        """The images, uint8 [B, C, H, W], for work that is queued from here on; only the reading is waited for."""
        images, done = upload.result()
        if done is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(done)
            images.record_stream(current)  # or their memory might be given away while the work is still queued
        return images

    def _copy(self, rows: np.ndarray) -> _Copied:
        shape = (len(rows), *self.pixels.shape[1:])
        host = torch.empty(shape, dtype=torch.uint8, pin_memory=self._stream is not None)
        refuse_cut_short(self.pixels)
        np.take(self.pixels, rows, axis=0, out=host.numpy(), mode="clip")  # "raise" would take a copy in between
        if self._stream is None:
            return _Copied(host.to(self.device), None)
        with torch.cuda.stream(self._stream):
            return _Copied(host.to(self.device, non_blocking=True), self._stream.record_event())
