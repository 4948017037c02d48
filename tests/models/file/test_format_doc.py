from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.models.file import encodings
from fairprune_cli.models.file.codec import ModelHeader, read_header, read_masks, read_model, save_model
from fairprune_cli.models.file.group_points import GroupPoints

PAGE = (Path(__file__).parents[3] / "docs" / "format.md").read_text(encoding="utf-8")
HEADER = ModelHeader("resnet18", ("no", "yes"), {}, "weight", {})


@pytest.fixture(scope="module")
def reader() -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]:
    """`read_model` of the page."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code.splitlines()) <= 30
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {"json", "struct", "numpy"}
    namespace: dict[str, Any] = {}
    exec(compile(code, "docs/format.md", "exec"), namespace)
    return namespace["read_model"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dense", [False, True])
def test_the_reader_of_the_page_reads_every_encoding(
    reader: Callable, tmp_path: Path, dtype: torch.dtype, dense: bool
) -> None:
    path = tmp_path / "model.safetensors"
    generator = torch.Generator().manual_seed(0)
    state, masks = {}, {}
    for name, density in {"half": 0.5, "few": 0.004, "none": 0.0, "all": 1.0}.items():
        masks[name] = torch.rand((23, 17, 3), generator=generator) < density
        state[name] = (torch.randn((23, 17, 3), generator=generator) * masks[name]).to(dtype)
    state |= {"bias": torch.randn(5).to(dtype), "counter": torch.tensor(3), "flag": torch.tensor([True])}
    save_model(path, state, header=HEADER, masks=masks, dense=dense)

    tensors, metadata = reader(path)
    expected, _ = read_model(path)
    assert tensors.keys() == expected.keys() == state.keys()
    for name, tensor in state.items():
        wanted = tensor.float() if dtype == torch.bfloat16 and tensor.is_floating_point() else tensor
        assert tensors[name].dtype == wanted.numpy().dtype
        assert np.array_equal(tensors[name], wanted.numpy())
        assert torch.equal(expected[name], tensor)
    assert metadata["architecture"] == read_header(path).architecture
    used = set(re.findall(r'"encoding":"(\w+)"', metadata["encodings"]))
    assert used == ({"dense"} if dense else {"dense", "bitmask", "gaps"})
    assert set(read_masks(path)) == set(masks)


POINTS = GroupPoints("", ("no", "yes"), "gender", "odds", 0.02, {"f": (0.0, 0.5)}, {"f": 60}, 0.4)


def test_the_page_names_all_metadata(tmp_path: Path, reader: Callable) -> None:
    path = tmp_path / "model.safetensors"
    tied = torch.ones(2)
    tasks = ({"name": "", "classes": ["no", "yes"], "outputs": [3]},)
    header = replace(HEADER, outputs=40, tasks=tasks, group_thresholds=(POINTS,))
    save_model(path, {"a": tied, "b": tied}, header=header)
    assert np.array_equal(reader(path)[0]["b"], np.ones(2, np.float32))
    table = PAGE.split("## Metadata")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(reader(path)[1])
    told = POINTS.to_dict()
    assert all(f'"{key}":' in PAGE for key in (*told, *told["groups"][0]))


def test_the_examples_of_gaps_are_right() -> None:
    rows = re.findall(r"^\| (\d+) \| (none|[\d, ]+) \| (\(no byte\)|`[\d ]+`) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for total, kept, packed in rows:
        mask = np.zeros(int(total), dtype=bool)
        if kept != "none":
            mask[[int(number) for number in kept.split(", ")]] = True
        wanted = [int(number) for number in packed.strip("`").split()] if "`" in packed else []
        assert encodings.pack_gaps(mask).tolist() == wanted
        assert np.array_equal(encodings.unpack_gaps(encodings.pack_gaps(mask), mask.size), np.flatnonzero(mask))


def test_the_page_says_what_zeros_do_not_give() -> None:
    assert "**bytes, not time**" in PAGE
    assert "zip of the dense file" in PAGE
