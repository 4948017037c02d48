"""Samples in which every group counts alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fairprune_cli.data.batches.balanced import balanced_rows, counts_of
from fairprune_cli.data.manifest.load import Grouping

SIZES = {(0, 0): 400, (0, 1): 100, (1, 0): 30, (1, 1): 5, (-1, 0): 200}  # gender x age


def made_up() -> tuple[Any, list[Grouping]]:
    rng = np.random.default_rng(0)
    cells = rng.permutation(np.repeat(np.array(list(SIZES)), list(SIZES.values()), axis=0))
    manifest = SimpleNamespace(files=[f"{i}.png" for i in range(len(cells))])
    named = (("gender", ("female", "male")), ("age", ("young", "old")))
    return manifest, [Grouping(name, groups, cells[:, i]) for i, (name, groups) in enumerate(named)]


def test_every_combination_gives_alike_and_what_runs_out_is_made_up_for_by_the_others() -> None:
    manifest, groupings = made_up()
    rows = balanced_rows(manifest, np.arange(len(manifest.files)), groupings, 80, 0)
    assert len(np.unique(rows)) == 80
    # 5 is all there is of one; the other three share 75. Images of unknown gender are not asked.
    assert counts_of(groupings, rows) == {"female*young": 25, "female*old": 25, "male*young": 25, "male*old": 5}
    uneven = counts_of(groupings, balanced_rows(manifest, np.arange(len(manifest.files)), groupings, 10, 0))
    assert sorted(uneven.values()) == [2, 2, 3, 3]


def test_without_attributes_any_image_will_do_and_never_more_than_there_are() -> None:
    manifest, groupings = made_up()
    everything = np.arange(len(manifest.files))
    assert len(balanced_rows(manifest, everything, (), 50, 0)) == 50
    assert np.array_equal(balanced_rows(manifest, everything, (), 10_000, 0), everything)
    assert len(balanced_rows(manifest, everything, groupings, 10_000, 0)) == 535
    assert len(balanced_rows(manifest, everything[:0], groupings, 10, 0)) == 0


def test_the_choice_is_that_of_names_and_seed_whatever_the_order_of_the_rows() -> None:
    manifest, groupings = made_up()
    everything = np.arange(len(manifest.files))
    first = balanced_rows(manifest, everything, groupings, 40, 0)
    assert np.array_equal(first, balanced_rows(manifest, everything[::-1], groupings, 40, 0))
    other = balanced_rows(manifest, everything, groupings, 40, 1)
    assert not np.array_equal(first, other)
    assert counts_of(groupings, first) == counts_of(groupings, other)
