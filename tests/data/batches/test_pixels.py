"""Flips, shifts and normalisation of pixels."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.data.batches.pixels import Augmentation, Normaliser, gathered
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import Transform
from tests.support.batches import made_up

COUNT = 24


def test_against_a_loop_over_images() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 3, 9, 9), dtype=np.uint8)
    flip, down, right = rng.random(12) < 0.5, rng.integers(-3, 4, 12), rng.integers(-3, 4, 12)
    y, x = Augmentation(flip, down, right).sources(9)
    result = gathered(*map(torch.from_numpy, (images, y, x))).numpy()
    for i in range(12):
        padded = np.pad(images[i], ((0, 0), (3, 3), (3, 3)), mode="reflect")
        shifted = padded[:, 3 - down[i] : 12 - down[i], 3 - right[i] : 12 - right[i]]
        assert np.array_equal(result[i], shifted[:, :, ::-1] if flip[i] else shifted)


def test_half_are_flipped_and_shifts_reach_their_bounds() -> None:
    change = Augmentation.draw(4000, 40, torch.Generator().manual_seed(0))
    assert abs(change.flip.mean() - 0.5) < 0.05
    assert sorted(np.unique(change.down).tolist()) == [-3, -2, -1, 0, 1, 2, 3]
    assert sorted(np.unique(change.right).tolist()) == [-3, -2, -1, 0, 1, 2, 3]


def test_labels_groups_and_values_are_kept() -> None:
    pool = made_up(COUNT)
    images, transform = pool.images, pool.images.transform
    sampler = pool.sampler(COUNT, "cpu", 0, augment=True)
    plain = next(images.pool(np.arange(COUNT)).batches(COUNT, "cpu"))
    changed = 0
    for _ in range(4):
        batch = sampler.next()
        assert torch.equal(batch.labels, torch.from_numpy(images.labels)[batch.rows])
        assert torch.equal(batch.groups, torch.from_numpy(images.groups)[batch.rows])
        changed += int((batch.images != plain.images[batch.rows]).flatten(1).any(1).sum())
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (transform.mean, transform.std))
        values = (batch.images * std + mean) * 255
        assert values.min() > -1e-3
        assert values.max() < 255 + 1e-3
        for image, row in zip(values.round().to(torch.uint8), batch.rows, strict=True):
            assert set(image.flatten().tolist()) <= set(images.pixels[row].ravel().tolist())
    assert changed > COUNT


def test_a_part_of_the_changes() -> None:
    change = Augmentation.draw(9, 40, torch.Generator().manual_seed(0))
    part = change.part(slice(2, 5)).sources(40)
    for of_part, of_all in zip(part, change.sources(40), strict=True):
        assert np.array_equal(of_part, of_all[2:5])


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("given_last", [False, True])
def test_every_value_is_normalised_to_the_bit_in_the_layout_asked_for(
    accelerator: bool, last: bool, given_last: bool
) -> None:
    transform = Transform(16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images = np.stack([np.stack([values, values.T, values[::-1]]), np.stack([values[:, ::-1]] * 3)])
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (transform.mean, transform.std))
    expected = (images.astype(np.float32) / np.float32(255) - mean) / std
    given = torch.from_numpy(images)
    if given_last:
        given = given.contiguous(memory_format=torch.channels_last)
    with as_accelerator() if accelerator else contextlib.nullcontext():
        result = Normaliser(transform, channels_last=last)(given)
    assert np.array_equal(result.numpy(), expected)
    assert result.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert result.data_ptr() % 64 == 0
    assert np.array_equal(given.numpy(), images)


def test_oblong_images_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (12, 1, 7, 15), dtype=np.uint8)
    flip, down, right = rng.random(12) < 0.5, rng.integers(-2, 3, 12), rng.integers(-4, 5, 12)
    y, x = Augmentation(flip, down, right).sources(ImageShape(1, 7, 15))
    assert (y.shape, x.shape) == ((12, 7), (12, 15))
    result = gathered(*map(torch.from_numpy, (images, y, x))).numpy()
    for i in range(12):
        padded = np.pad(images[i], ((0, 0), (2, 2), (4, 4)), mode="reflect")
        shifted = padded[:, 2 - down[i] : 9 - down[i], 4 - right[i] : 19 - right[i]]
        assert np.array_equal(result[i], shifted[:, :, ::-1] if flip[i] else shifted)


def test_shifts_are_a_share_of_each_side() -> None:
    change = Augmentation.draw(4000, ImageShape(1, 40, 80), torch.Generator().manual_seed(0))
    assert (change.down.min(), change.down.max()) == (-3, 3)
    assert (change.right.min(), change.right.max()) == (-6, 6)


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_grey_values_are_normalised_by_one_number(accelerator: bool, last: bool) -> None:
    transform = Transform((8, 32), (0.485,), (0.229,))
    images = np.arange(512, dtype=np.uint16).astype(np.uint8).reshape(2, 1, 8, 32)
    expected = (images.astype(np.float32) / np.float32(255) - np.float32(0.485)) / np.float32(0.229)
    with as_accelerator() if accelerator else contextlib.nullcontext():
        result = Normaliser(transform, channels_last=last)(torch.from_numpy(images))
    assert np.array_equal(result.numpy(), expected)
