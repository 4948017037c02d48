"""What is meant by one flag where several files are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.contents import weights_of_each
from fairprune_cli.models.checkpoint.state_dict import converted
from fairprune_cli.models.file.codec import ModelHeader, save_model


def test_weights_is_said_of_the_files_that_may_hold_several(tmp_path: Path) -> None:
    net = architectures.build("resnet10-w16", 2)
    run, raw = tmp_path / "run", tmp_path / "raw.pt"
    run.mkdir()
    header = ModelHeader("resnet10-w16", ("a", "b"), {}, "dense", {})
    save_model(run / "model.safetensors", net, header=header)
    torch.save(net.state_dict(), raw)
    assert weights_of_each([run, raw], "ema") == {run: None, raw: "ema"}
    assert weights_of_each([run], "ema") == {run: "ema"}  # which is then told that it says nothing
    assert weights_of_each([raw], "raw") == {raw: "raw"}


def test_counters_of_eight_bits_are_looked_at_like_any_other_number() -> None:
    counter = torch.ones(2, 3).to(torch.float8_e5m2)
    assert converted({"bn.num_batches_tracked": counter})[0]["bn.num_batches_tracked"].dtype == torch.float32
    with pytest.raises(FairpruneError, match="6 of 6 numbers that are NaN"):
        converted({"bn.num_batches_tracked": (counter.float() * float("nan")).to(torch.float8_e5m2)})
