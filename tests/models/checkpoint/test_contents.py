"""What is meant by one flag where several files are given."""

from __future__ import annotations

from pathlib import Path

import torch

from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.contents import weights_of_each
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
