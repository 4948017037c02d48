"""Tensors as they come out of a file of torch.save."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.checkpoint.contents import read_contents


def test_a_depthwise_weight_lies_in_memory_as_torch_would_lay_it(tmp_path: Path) -> None:
    """Steps along a size of one are free, and some make torch take a tensor for channels-last: other last bits."""
    torch.save({"conv.weight": torch.randn(16, 1, 3, 3), "fc.weight": torch.randn(1, 5)}, tmp_path / "c.pt")
    state = read_contents(tmp_path / "c.pt", trust=False).state
    assert state["conv.weight"].stride() == (9, 9, 3, 1)
    assert state["fc.weight"].stride() == (5, 1)


@pytest.mark.parametrize("name", ["said.csv", "said.PARQUET"])
def test_a_table_given_for_a_model_is_told_where_it_belongs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("file,predicted\na.png,cat\n")
    with pytest.raises(FairpruneError, match="a table, not a model") as caught:
        read_contents(tmp_path / name, trust=False)
    assert "--predictions" in (caught.value.hint or "")
