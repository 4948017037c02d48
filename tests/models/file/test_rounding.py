"""Number formats in which weights are stored; those that a source has, most of all."""

from __future__ import annotations

import torch

from fairprune_cli.models.file.rounding import rounded, shorter_formats

STATE = {
    "weight": torch.full((2, 2), 1.0001), "bias": torch.full((2,), 1.0001), "double": torch.full((2,), 1.0001),
    "new": torch.full((2,), 1.0001), "counter": torch.tensor(3),
}  # fmt: skip
DTYPES = {
    "weight": torch.float16, "bias": torch.bfloat16, "double": torch.float64, "counter": torch.float16,
    "gone": torch.float16,
}  # fmt: skip


def test_each_tensor_keeps_the_16_bits_that_it_had() -> None:
    found = rounded(STATE, "source", DTYPES)
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "weight": torch.float16, "bias": torch.bfloat16, "double": torch.float32, "new": torch.float32,
        "counter": torch.int64,
    }  # fmt: skip
    assert found["weight"].tolist() == [[1.0] * 2] * 2
    assert all(found[name] is STATE[name] for name in ("double", "new", "counter"))
    assert all(found is STATE[name] for name, found in rounded(STATE, "source").items())


def test_a_format_that_is_asked_for_overrules_the_source() -> None:
    assert all(found is STATE[name] for name, found in rounded(STATE, "fp32", DTYPES).items())
    assert rounded(STATE, "bf16", DTYPES)["weight"].dtype == torch.bfloat16


def test_what_outgrew_its_format_stays_in_32_bits() -> None:
    state = {"large": torch.tensor([1e5, 1.0]), "fits": torch.tensor([6e4, 1.0])}
    found = rounded(state, "source", dict.fromkeys(state, torch.float16))
    assert found["large"] is state["large"]
    assert found["fits"].dtype == torch.float16
    assert rounded(state, "source", {"large": torch.bfloat16})["large"].dtype == torch.bfloat16


def test_formats_in_words() -> None:
    assert shorter_formats("source", {}) == shorter_formats("source", {"a": torch.float64, "b": torch.int64}) == ""
    assert shorter_formats("source", DTYPES) == "bf16 and fp16"
    assert shorter_formats("fp32", DTYPES) == ""
    assert shorter_formats("fp16", {}) == "fp16"
