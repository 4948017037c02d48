"""Images that the model sees otherwise than it was trained on."""

from __future__ import annotations

from _false_yes.scene import GAP, Scene, attempt
from tests.support.commands import Ran

KIND = "transforms"


def bare(scene: Scene) -> str:
    """The model's weights without what its file says of classes and transform, so that the manifest's count."""
    import torch

    path = scene.folder / "weights.pt"
    content = torch.load(scene.model, weights_only=True)
    torch.save(content["state_dict"], path)
    return str(path)


def audited(scene: Scene, transform: str) -> Ran:
    scene.write(scene.rows(bad=0), more=f"transform: {transform}\n")
    return scene.fairprune("audit", bare(scene), "--data", "manifest.yaml", *GAP)


@attempt(KIND, "numbers from 0 to 255 where 0 to 1 was meant", 2, 4)
def bytes_for_shares(scene: Scene) -> Ran:
    return audited(scene, "{size: 40, mean: [0.0, 0.0, 0.0], std: [0.004, 0.004, 0.004]}")


@attempt(KIND, "a mean so far off that all images look alike", 2, 4)
def far_mean(scene: Scene) -> Ran:
    return audited(scene, "{size: 40, mean: [5.0, 5.0, 5.0], std: [0.25, 0.25, 0.25]}")


@attempt(KIND, "images of an eighth of the size", 2, 4)
def tiny_images(scene: Scene) -> Ran:
    return audited(scene, "{size: 8, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}")
