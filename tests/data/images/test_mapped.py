"""A mapped file that was cut short is refused before it is read, which would kill the process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.images.mapped import map_pixels, refuse_cut_short

SHAPE = (4, 3, 64, 64)


def test_a_file_cut_short_after_it_was_mapped_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "pixels.u8"
    path.write_bytes(bytes(range(256)) * (int(np.prod(SHAPE)) // 256))
    pixels = map_pixels(path, SHAPE)
    refuse_cut_short(pixels)
    assert pixels[0, 0, 0, 5] == 5
    view = np.asarray(pixels)[1:]
    os.truncate(path, 100)
    for read in (pixels, view):
        with pytest.raises(FairpruneError, match="cut short while they were in use"):
            refuse_cut_short(read)


def test_a_removed_file_goes_on_to_serve_and_arrays_in_memory_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pixels.u8"
    path.write_bytes(bytes(int(np.prod(SHAPE))))
    pixels = map_pixels(path, SHAPE)
    path.unlink()
    refuse_cut_short(pixels)
    refuse_cut_short(np.zeros(SHAPE, np.uint8))


def test_a_file_of_another_size_is_no_such_pixels(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(bytes(10))
    with pytest.raises(ValueError, match="reshape"):
        map_pixels(tmp_path / "p", SHAPE)
