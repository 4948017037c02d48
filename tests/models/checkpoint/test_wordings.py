"""What is said of checkpoints that are nearly what can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import load_model


def _said(path: Path, content: object, arch: str | None = None) -> str:
    torch.save(content, path / "net.pt")
    with pytest.raises(FairpruneError) as caught:
        load_model(path / "net.pt", arch)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "hint"),
    [("vit_tiny_patch16_224", 64, "img_size=64"), ("deit_tiny_patch16_224", 384, "img_size=384")],
)
def test_a_transformer_for_other_images_is_told_by_both_sizes(tmp_path: Path, name: str, size: int, hint: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    other = timm.create_model(name, num_classes=2, img_size=size)
    said = _said(tmp_path, other.state_dict(), f"timm/{name}")
    assert f"for images of {size}x{size} pixels, and timm/{name} is built for 224x224" in said
    assert hint in said


def test_the_same_where_no_name_is_given(tmp_path: Path) -> None:
    state = architectures.build("vit-tiny", 2).state_dict()
    state["encoder.pos_embedding"] = torch.zeros(1, 17, 96)
    said = _said(tmp_path, state)
    assert "for images of 32x32 pixels, and vit-tiny is built for 64x64" in said
    assert "narrower" not in said


def test_a_first_layer_for_grey_images_is_not_taken_for_pruning(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.save(timm.create_model("resnet18", num_classes=2, in_chans=1).state_dict(), tmp_path / "grey.pt")
    loaded = load_model(tmp_path / "grey.pt", "timm/resnet18")
    said = [warning["text"] for warning in loaded.warnings]
    assert said == ["its first layer takes images of 1 channel, that of timm/resnet18 3"]


def test_complex_numbers_are_named_and_the_file_is_not_called_damaged(tmp_path: Path) -> None:
    state = {key: tensor.to(torch.complex64) for key, tensor in nn.Conv2d(3, 4, 3).state_dict().items()}
    said = _said(tmp_path, state)
    assert "it holds complex numbers" in said
    assert "not a readable checkpoint" not in said


@pytest.mark.parametrize(("content", "kind"), [(3, "int"), ([1, 2], "list")])
def test_what_is_no_checkpoint_at_all_is_named_by_its_type(tmp_path: Path, content: object, kind: str) -> None:
    assert f"it holds no weights of a network, but an object of type {kind}\n" in _said(tmp_path, content)


def test_a_factory_that_changes_the_default_dtype_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\ntorch.set_default_dtype(torch.float64)\ndef net():\n    return torch.nn.Linear(2, 2)\n"
    (tmp_path / "wide_default.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    try:
        with pytest.raises(FairpruneError, match="default is float64 where its code has run"):
            architectures.build("wide_default:net", 2)
    finally:
        torch.set_default_dtype(torch.float32)
