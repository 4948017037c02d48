"""Networks on trial: which images they take, and whether a training pass runs, without a trace left on them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models import measure
from fairprune_cli.models.inference import blank_images, fault_of_training, refuse_other_channels, wanted_channels

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


# --- training -----------------------------------------------------------------------------------------------------


class Viewing(nn.Module):
    """A view of a feature map in another shape, as is common: it is none where channels lie last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Linear(8 * 7 * 7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).view(x.size(0), -1))


class Adding(nn.Module):
    """What it adds up, it expects in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(x).mean((2, 3))
        return self.fc(torch.zeros(len(x), 8).index_add(0, torch.arange(len(x)), pooled))


def test_the_layout_decides_whether_a_view_runs() -> None:
    model = Viewing().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not fault_of_training(model, 16)
    assert fault_of_training(model, 16, channels_last=True).startswith("RuntimeError: view size is not compatible")
    assert fault_of_training(model, 20)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_format_decides_whether_code_that_expects_float32_runs() -> None:
    assert not fault_of_training(Adding(), 16)
    assert fault_of_training(Adding(), 16, bf16=True)


def test_no_random_number_of_the_run_is_drawn_and_outputs_of_any_form_are_taken() -> None:
    class Several(Viewing):
        def forward(self, x: Tensor) -> dict[str, object]:  # type: ignore[override]
            return {"logits": super().forward(torch.dropout(x, 0.5, True)), "name": "x", "more": (x, [x])}

    model = Several()
    state = torch.get_rng_state()
    assert not fault_of_training(model, 16)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_with_nothing_to_train_runs() -> None:
    assert not fault_of_training(Viewing().requires_grad_(False), 16)
