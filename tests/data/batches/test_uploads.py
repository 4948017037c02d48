"""Images on their way to a device."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.data.batches.uploads import Uploads

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 4), dtype=np.uint8)


def test_images_arrive_in_any_order() -> None:
    uploads = Uploads(PIXELS, torch.device("cpu"))
    wanted = [np.array(rows, dtype=np.int64) for rows in ([8, 0, 0], [3], [])]
    started = [uploads.start(rows) for rows in wanted]
    for rows, upload in [*zip(wanted, started, strict=True)][::-1]:
        assert np.array_equal(uploads.arrived(upload).numpy(), PIXELS[rows])


def test_what_goes_wrong_is_raised_where_images_are_asked_for() -> None:
    uploads = Uploads(PIXELS, torch.device("cpu"))
    upload = uploads.start(np.array([0.5]))
    with pytest.raises(TypeError):
        uploads.arrived(upload)


def test_the_present_stream_waits_for_the_copy_and_keeps_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that a GPU needs, with things in place of CUDA's that note what is asked of them."""
    asked: list[tuple[Any, ...]] = []

    class Stream:
        def wait_event(self, event: object) -> None:
            asked.append(("waits", self, event))

    class Images:
        def record_stream(self, stream: object) -> None:
            asked.append(("used by", stream))

    present = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: present)
    upload: Future[Any] = Future()
    images, copied = Images(), object()
    upload.set_result((images, copied))
    assert Uploads(PIXELS, torch.device("cpu")).arrived(upload) is images
    assert asked == [("waits", present, copied), ("used by", present)]
