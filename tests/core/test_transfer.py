"""Arrays on their way to a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core.transfer import sent_together

TYPES = [np.int64, np.float32, np.uint8, np.bool_, np.float64]
ARRAYS = st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 5), min_size=1, max_size=3), st.booleans())


@given(st.lists(ARRAYS, max_size=6), st.integers(0, 99))
def test_arrays_that_are_sent_together_arrive_as_they_were(described: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 200, shape).astype(dtype) for dtype, shape, _ in described]
    arrays = [array.T if turned else array for array, (_, _, turned) in zip(arrays, described, strict=True)]
    there = sent_together(arrays, torch.device("cpu"))
    assert len(there) == len(arrays)
    for array, tensor in zip(arrays, there, strict=True):
        assert tensor.numpy().dtype == array.dtype
        assert np.array_equal(tensor.numpy(), array)
        assert tensor.is_contiguous()
        assert tensor.data_ptr() % tensor.element_size() == 0


def test_they_take_one_copy() -> None:
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    arrays = [np.arange(3), np.ones((2, 2), dtype=np.float32)]
    sent_together(arrays, torch.device("cpu"))
    with Names():
        sent_together(arrays, torch.device("meta"))
    assert names.count("aten._to_copy.default") == 1
    assert {name.split(".")[1] for name in names} <= {"empty", "_to_copy", "slice", "view", "detach"}
