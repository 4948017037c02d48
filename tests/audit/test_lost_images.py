"""The images that groups lost: which are kept, in what order, and what the report holds of them."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.logits import Seen
from fairprune_cli.audit.lost_images import SIDE, lost_examples, picture


class Groups(NamedTuple):
    name: str
    groups: tuple[str, ...]


GENDER = Groups("gender", ("m", "f"))


def test_the_plainest_losses_of_each_group_are_shown() -> None:
    generator = torch.Generator().manual_seed(0)
    n = 200
    labels = torch.randint(2, (n,), generator=generator)
    groups = np.full((1200, 1), -1)
    groups[1000:] = torch.randint(-1, 2, (n, 1), generator=generator).numpy()
    logits = {name: torch.randn(n, 2, generator=generator) for name in ("other", "dense")}
    changed = ChangesWatch()
    changed(Seen(labels, torch.zeros(n, 0), 1000 + torch.arange(n)), logits)
    before, after = (logits[name].softmax(1) for name in ("dense", "other"))
    truth = []
    for i in range(n):
        y = int(labels[i])
        if before[i].argmax() == y and after[i].argmax() != y:
            truth.append((float(before[i, y] - after[i, y]), 1000 + i))
    truth.sort(reverse=True)
    images = SimpleNamespace(
        pixels_of=lambda row: np.zeros((3, 8, 8), np.uint8), groups=groups,
        manifest=SimpleNamespace(files=[f"{i}.png" for i in range(1200)], root="/images"),
    )  # fmt: skip
    shown = lost_examples(changed, [GENDER], 3, images, ("no", "yes"))
    assert (shown.per_group, shown.root) == (3, "/images")
    for g, group in enumerate(GENDER.groups):
        kept = shown.lost["other", "gender", group]
        assert [entry.file for entry in kept] == [f"{row}.png" for _, row in truth if groups[row, 0] == g][:3]
        for entry in kept:
            assert entry.before > 0.5 > entry.after
            assert entry.label != entry.predicted
    assert set(shown.pictures) == {e.file for kept in shown.lost.values() for e in kept}


def test_pictures_are_small_jpegs() -> None:
    pixels = np.full((3, 224, 224), 200, np.uint8)
    uri = picture(pixels)
    head, data = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (SIDE, SIDE)
    assert abs(np.asarray(image).astype(int) - 200).max() < 5


def test_pictures_of_grey_and_oblong_images() -> None:
    pixels = np.zeros((1, 48, 192), np.uint8)
    pixels[:, :, 96:] = 200
    image = Image.open(io.BytesIO(base64.b64decode(picture(pixels).split(",", 1)[1])))
    assert (image.mode, image.size) == ("L", (SIDE, SIDE // 4))
    assert np.asarray(image)[:, [5, -5]].mean(0).round(-1).tolist() == [0, 200]
    assert Image.open(io.BytesIO(base64.b64decode(picture(pixels[:, :9, :5]).split(",", 1)[1]))).size == (5, 9)
