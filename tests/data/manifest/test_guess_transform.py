"""The transform of a first manifest: ImageNet's statistics beside a checkpoint with a known name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.data.manifest.guess_transform import guess_transform, known_architecture


def test_every_classifier_of_torchvision_has_a_known_name() -> None:
    models = pytest.importorskip("torchvision.models")
    names = models.list_models(module=models)
    assert [name for name in names if not known_architecture(f"{name}-0123abcd")] == []


def test_most_classifiers_of_timm_have_a_known_name() -> None:
    timm = pytest.importorskip("timm")
    names = timm.list_models()
    assert sum(bool(known_architecture(name)) for name in names) > 0.9 * len(names)


@pytest.mark.parametrize(
    "stem",
    ["model", "best", "checkpoint-0012", "resnet10", "resnet10-w16", "smile_cnn", "fitness", "my_network", "pruned"],
)
def test_other_names_are_none(stem: str) -> None:
    assert known_architecture(stem) == ""


def test_imagenet_is_offered_where_the_checkpoint_beside_has_such_a_name(tmp_path: Path) -> None:
    lines, _ = guess_transform(tmp_path, (), None)
    assert "  mean: [0.5, 0.5, 0.5]  # guess: no checkpoint says them" in lines
    (tmp_path / "best_resnet50.pth").write_bytes(b"")
    lines, notes = guess_transform(tmp_path, (), (48, 96))
    assert "  size: [48, 96]" in lines
    assert "  std: [0.229, 0.224, 0.225]" in lines
    assert any("mean [0.485, 0.456, 0.406]" in note and "resnet50" in note for note in notes)
