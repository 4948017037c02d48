"""Shuffled passes: every number once a pass, and a saved position that is small, exact and checked."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.shuffles import STATE_BYTES, Shuffles, restoring

SIZES = [1, 5, STATE_BYTES // 8, STATE_BYTES // 8 + 1, 3000]  # the last two are rebuilt from a generator's state


def drawn(shuffles: Shuffles, generator: torch.Generator, wanted: list[tuple[int, int]]) -> list[list[int]]:
    """What is taken, a pass begun wherever one is over."""
    result = []
    for which, count in wanted:
        if not shuffles.left(which):
            shuffles.begin(which, generator)
        result.append(shuffles.take(which, count).tolist())
    return result


def saved(state: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A state as it comes back from a file, and the file's size."""
    stream = io.BytesIO()
    torch.save(state, stream)
    size = stream.tell()
    stream.seek(0)
    loaded: dict[str, Any] = torch.load(stream, weights_only=True)
    return loaded, size


def test_a_pass_has_every_number_once() -> None:
    shuffles, generator = Shuffles([7, 1000]), torch.Generator().manual_seed(0)
    for which, size in enumerate(shuffles.sizes):
        passes = []
        for _ in range(2):
            shuffles.begin(which, generator)
            passes.append(np.concatenate([shuffles.take(which, 3) for _ in range(-(-size // 3))]).tolist())
            assert shuffles.left(which) == 0
            assert sorted(passes[-1]) == list(range(size))
        assert passes[0] != passes[1]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2000)), max_size=12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2000)), max_size=12),
)
def test_goes_on_exactly(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    whole, generator = Shuffles(SIZES), torch.Generator().manual_seed(1)
    drawn(whole, generator, before)
    again, other = Shuffles(SIZES), torch.Generator()
    again.load_state_dict(saved(whole.state_dict())[0])
    other.set_state(generator.get_state())
    assert drawn(again, other, after) == drawn(whole, generator, after)
    assert saved(again.state_dict())[1] == saved(whole.state_dict())[1]


def test_a_saved_position_does_not_grow_with_the_images() -> None:
    sizes = []
    for count in (1_000, 1_000_000):
        shuffles = Shuffles([count])
        shuffles.begin(0, torch.Generator().manual_seed(0))
        sizes.append(saved(shuffles.state_dict())[1])
    assert sizes[0] == sizes[1] < 3 * STATE_BYTES


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"sums": torch.tensor([1, 2])}, "version of torch"),
        ({"positions": torch.tensor([0, 0, 0, 0, 3001])}, "outside"),
        ({"positions": torch.tensor([0])}, "passes"),
        ({"orders": torch.arange(4)}, "lengths"),
        ({"origins": torch.zeros(1, 3, dtype=torch.uint8)}, "damaged"),
        ({"begun": None}, "damaged"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(damage: dict[str, Any], said: str) -> None:
    shuffles, generator = Shuffles(SIZES), torch.Generator().manual_seed(2)
    drawn(shuffles, generator, [(c, 1) for c in range(5)])
    state = shuffles.state_dict()
    with pytest.raises(FairpruneError, match=said), restoring({"size": 1, "pool": 2}, 1, 2):
        shuffles.load_state_dict({**state, **damage})
    assert all(torch.equal(value, state[name]) for name, value in shuffles.state_dict().items())
