"""Networks on trial: which images they take, and what is said where they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models import measure
from fairprune_cli.models.inference import blank_images, refuse_other_channels, wanted_channels

GREY, COLOUR = ImageShape(1, 12, 20), ImageShape(3, 12, 20)


class Grey(nn.Module):
    """Its first layer stands last."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(4, 3, 3)
        self.head = nn.Linear(3, 2)
        self.first = nn.Conv2d(1, 4, 3)
        self.ran = 0

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        self.ran += 1
        return self.head(self.second(features).mean((2, 3)))


class Tripling(nn.Module):
    """Takes grey images and makes colour ones of them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] != 1:
            raise ValueError("grey images, please")
        return self.head(self.first(images.expand(-1, 3, -1, -1)).mean((2, 3)))


def test_blank_images() -> None:
    model = Grey().double()
    assert blank_images(model, 2, GREY).shape == (2, 1, 12, 20)
    assert blank_images(model, 5, 9).shape == (5, 3, 9, 9)
    assert blank_images(model, 1, GREY).dtype == torch.float64


def test_the_first_layer_is_the_first_to_be_called_and_nothing_behind_it_is_computed() -> None:
    model = Grey().train()
    assert wanted_channels(model, COLOUR) == 1
    assert wanted_channels(model, GREY) is None
    assert model.ran == 0
    assert model.training
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_a_network_that_changes_the_channels_itself_is_not_judged() -> None:
    assert wanted_channels(Tripling(), GREY) is None
    assert wanted_channels(Tripling(), COLOUR) is None
    assert wanted_channels(nn.Sequential(nn.Flatten(), nn.Linear(240, 2)), COLOUR) is None


def test_other_channels_are_one_sentence_with_what_to_write() -> None:
    with pytest.raises(FairpruneError, match="takes images of 1 channel, the input transform gives 3") as caught:
        refuse_other_channels(Grey(), COLOUR, "manifest.yaml")
    assert caught.value.where == "manifest.yaml"
    assert "`mean: [0.5], std: [0.5]`" in caught.value.hint
    with pytest.raises(FairpruneError, match="takes images of 3 channels, the input transform gives 1") as caught:
        measure.macs(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), GREY)
    assert "`mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]`" in caught.value.hint
    refuse_other_channels(Grey(), GREY)
