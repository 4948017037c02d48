"""Warnings about groups that are too few, for made-up counts that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet, Pool
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.run.thin_groups import RateRead, readings_of, warn_of_thin_groups

# 200 images: 100 men and 94 women of either label, and 6 smiling women more.
GROUPS = np.repeat([0, 1, 1], [100, 94, 6])
LABELS = np.concatenate([np.arange(100) % 2, np.zeros(94, dtype=np.int64), np.ones(6, dtype=np.int64)])


class Half(nn.Module):
    """Right on two of four images in a row."""

    def forward(self, images: Tensor) -> Tensor:
        right = torch.arange(len(images)) // 2 % 2
        scores = torch.zeros(len(images), 2)
        scores[torch.arange(len(images)), (images[:, 0, 0, 0] > 0).long() ^ (1 - right)] = 1.0
        return scores


def pool() -> Pool:
    pixels = (LABELS[:, None, None, None] * np.full((1, 3, 2, 2), 255)).astype(np.uint8)
    images = ImageSet(pixels, LABELS, GROUPS[:, None], (), None, Transform(2, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    return images.pool(np.arange(200))


def readings(notion: str, memory: float = 1e6, sampler: Any = None) -> dict[str, RateRead]:
    manifest = SimpleNamespace(tasks=[SimpleNamespace(name="", classes=("neutral", "smiling"))])
    data = SimpleNamespace(groupings=[SimpleNamespace(name="gender", groups=("male", "female"))], manifest=manifest)
    own = pool()
    source = sampler(own) if sampler else own.sampler(20, "cpu", 0, False)
    found = readings_of(
        data, [fairness.get(notion, 2)], [0.06], {own: source}, memory, False, Half(), torch.device("cpu")  # type: ignore[arg-type]
    )  # fmt: skip
    return {reading.name: reading for reading in found}


def even(own: Pool) -> StratifiedSampler:
    return StratifiedSampler(own, 20, "cpu", 0, False, Strata.even)


def test_images_and_standard_errors_of_counted_rates() -> None:
    found = readings("odds")
    assert {name: one.images for name, one in found.items()} == {
        "gender male labelled neutral": 50, "gender male labelled smiling": 50, "gender female labelled neutral": 94,
        "gender female labelled smiling": 6,
    }  # fmt: skip
    assert found["gender male labelled smiling"].error == pytest.approx(0.5 / np.sqrt(50), rel=0.02)
    assert {name: one.images for name, one in readings("accuracy").items()} == {
        "gender male": 100,
        "gender female": 100,
    }


def test_a_rate_rests_on_what_is_remembered_and_an_image_counts_once() -> None:
    assert readings("odds", memory=100.0)["gender male labelled smiling"].images == pytest.approx(25)
    # Of even batches a quarter each; the six women come often, and stay six.
    found = readings("odds", memory=100.0, sampler=even)
    assert found["gender male labelled smiling"].images == pytest.approx(25, rel=0.01)
    assert found["gender female labelled smiling"].images == 6


class Said(Terminal):
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def warn(self, text: str, code: str = "") -> None:
        self.texts[code] = text


def test_what_is_too_rare_and_what_is_noise_are_named() -> None:
    said = Said()
    warn_of_thin_groups(list(readings("odds").values()), 0.0, 0.06, said)
    assert "too rare to be constrained: gender female labelled smiling (6)" in said.texts["rare-groups"]
    assert "the tolerance 0.06 is below one standard error" in said.texts["noisy-rates"]
    assert "gender male labelled smiling 0.07" in said.texts["noisy-rates"]
    assert "they follow noise there" in said.texts["noisy-rates"]
    warn_of_thin_groups(list(readings("odds").values()), 0.0, 0.02, said)
    assert "the dense model's gap, 0.06, is below one standard error" in said.texts["noisy-rates"]
    warn_of_thin_groups(list(readings("odds").values()), 1.5, 0.06, said)
    assert "what is within 1.5 of them is left alone there" in said.texts["noisy-rates"]
    assert "female" not in said.texts["noisy-rates"]  # its error is .05, and the rare one is named already
    said = Said()
    warn_of_thin_groups(list(readings("accuracy").values()), 0.0, 0.06, said)
    assert said.texts == {}


def test_of_many_the_first_are_named() -> None:
    said = Said()
    warn_of_thin_groups([RateRead(f"g{i}", 3.0, 0.1, 0.5) for i in range(9)], 0.0, 0.06, said)
    assert "g4 (3) and 4 more" in said.texts["rare-groups"]
