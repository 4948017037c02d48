from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models import measure
from fairprune_cli.pruning.masks import prunable_weights
from tests.support.networks import NETWORKS, network


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.grouped(self.norm(self.first(images)))).flatten(1))


def test_parameters_and_bytes_by_hand() -> None:
    model = Small()
    assert measure.count_parameters(model) == (8 * 27 + 8) + 16 + 12 * 2 * 9 + (60 + 5)
    assert measure.prunable_parameters(model) == 8 * 27 + 12 * 2 * 9 + 60
    assert set(prunable_weights(model)) == {"first.weight", "grouped.weight", "head.weight"}
    # The state dict also has running mean and variance, and a counter of 8 bytes.
    assert measure.dense_bytes(model) == 4 * (measure.count_parameters(model) + 16) + 8


def test_macs_by_hand_and_the_modes_stay() -> None:
    model = Small()
    model.norm.eval()
    assert measure.macs(model, 16) == 8 * 8 * 8 * 27 + 6 * 6 * 12 * 2 * 9 + 60
    assert model.training
    assert not model.norm.training
    assert model.norm.num_batches_tracked == 0
    assert not any(module._forward_hooks for module in model.modules())


def by_hooks(model: nn.Module, size: int) -> int:
    """Every output element of a convolution or linear layer is a sum over one filter."""
    found: list[int] = []

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        found.append(output.numel() * module.weight[0].numel())

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return sum(found)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("vit", "vit-tiny", "swin")])
def test_macs_of_convolutional_networks_are_those_of_their_layers(name: str) -> None:
    model = network(name)
    assert measure.macs(model, 32) == by_hooks(model, 32)


def test_macs_of_transposed_and_called_functions_by_hand() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 6, 2, stride=2, groups=3)
            self.matrix = nn.Parameter(torch.ones(6, 4))

        def forward(self, images: Tensor) -> Tensor:
            return torch.einsum("bchw,ck->bk", self.up(images), self.matrix)

    # Every input pixel goes into 2 x 2 places of 2 outputs.
    assert measure.macs(Functions(), 8) == 8 * 8 * 3 * 4 * 2 + 6 * 4


def test_macs_of_window_attention_by_hand() -> None:
    from torchvision.models.swin_transformer import SwinTransformer

    patch, width, heads, window = 4, 16, 2, 2
    model = SwinTransformer([patch] * 2, width, [2], [heads], [window] * 2, mlp_ratio=2.0, num_classes=3)
    tokens = (16 // patch) ** 2
    embedding = tokens * 3 * patch**2 * width
    projections = tokens * width * (3 * width + width)
    mixing = 2 * tokens * window**2 * width  # each token meets those of its window: scores, and the sum of values
    mlp = 2 * tokens * width * 2 * width
    assert measure.macs(model, 16) == embedding + 2 * (projections + mixing + mlp) + 3 * width


def test_macs_of_torchs_own_encoder_despite_its_fast_path() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images[:, :, :2, :6].flatten(2))

    before = torch.backends.mha.get_fastpath_enabled()
    tokens, width = 3, 12
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    assert measure.macs(Encoder(), 8) == attention + 2 * tokens * width * 24
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("by_name", [True, False])
def test_macs_of_attention_by_hand(batch_first: bool, by_name: bool) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=batch_first)

        def forward(self, images: Tensor) -> Tensor:
            tokens = images[:, :, :2, :6].flatten(2)  # [1, 3, 12]
            tokens = tokens if batch_first else tokens.transpose(0, 1)
            if by_name:
                return self.attention(query=tokens, key=tokens, value=tokens)[0]
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    tokens, width = 3, 12
    assert measure.macs(Attention(), 8) == 4 * tokens * width * width + 2 * tokens * tokens * width


def test_macs_of_a_vision_transformer() -> None:
    from torchvision.models import VisionTransformer

    size, patch, layers, width, mlp = 32, 8, 2, 24, 48
    model = VisionTransformer(size, patch, layers, 3, width, mlp, num_classes=2)
    tokens = (size // patch) ** 2 + 1
    per_layer = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * mlp
    assert measure.macs(model, size) == (tokens - 1) * 3 * patch**2 * width + layers * per_layer + 2 * width


def test_layers_count_masks_zeros_and_removed_channels() -> None:
    model = Small()
    model.grouped.weight.data[:3] = 0
    masks = {"first.weight": torch.zeros(8, 3, 3, 3, dtype=torch.bool)}
    masks["first.weight"][0] = True
    first, grouped, head = measure.layer_sparsity(model, {"head.weight": [5, 24]}, masks)
    assert (first["kept"], first["total"], first["sparsity"]) == (27, 216, 1 - 27 / 216)
    assert (grouped["kept"], grouped["total"]) == (9 * 18, 12 * 18)
    assert (head["shape"], head["dense_shape"], head["total"]) == ([5, 12], [5, 24], 120)
    assert head["sparsity"] == pytest.approx(0.5)
    assert measure.layer_sparsity(model, Small()) == measure.layer_sparsity(model)
    assert measure.nonzero_parameters(model) == measure.count_parameters(model) - 3 * 18 - 8


def test_latency_takes_turns_and_reports_each_batch() -> None:
    calls: list[tuple[str, int]] = []

    class Recorder(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name, self.weight = name, nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            calls.append((self.name, len(images)))
            return images.mean((1, 2, 3)) * self.weight

    models = {"dense": Recorder("dense"), "pruned": Recorder("pruned")}
    result = measure.latency(models, 8, batches=(1, 4), repeats=6)
    assert set(result) == {"dense", "pruned", "threads", "device"}
    assert result["threads"] == torch.get_num_threads()
    for name in models:
        assert set(result[name]["batch"]) == {"1", "4"}
        for times in result[name]["batch"].values():
            assert 0 < times["low_ms"] <= times["median_ms"] <= times["high_ms"]
            assert times["repeats"] == 6
    json.dumps(result, allow_nan=False)
    timed = [name for name, batch in calls if batch == 1][2 * measure.WARM_UPS :]
    assert timed == ["dense", "pruned", "pruned", "dense"] * 3  # nobody is always first
    assert models["dense"].training


def test_latency_keeps_to_its_budget() -> None:
    result = measure.latency({"only": Small()}, 32, batches=(1,), repeats=100_000, seconds=0.2)
    assert measure.LEAST_ROUNDS <= result["only"]["batch"]["1"]["repeats"] < 100_000
    rushed = measure.latency({"only": Small()}, 32, batches=(1,), repeats=100, seconds=0.0)
    assert rushed["only"]["batch"]["1"]["repeats"] == measure.LEAST_ROUNDS


def test_inspect_is_a_json_document() -> None:
    model = Small().eval()
    model.head.weight.data[0] = 0
    document = measure.inspection(
        model,
        architecture="small",
        shape=16,
        file_bytes=123,
        removed={"head.weight": {"shape": [5, 12], "kept": 48}},
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["architecture"] == "small"
    assert document["parameters"] - document["nonzero"] == 12 + 8  # and the bias of the norm starts at zero
    assert document["macs"] == measure.macs(model, 16)
    assert document["bytes"] == {"dense": measure.dense_bytes(model), "file": 123}
    assert document["sparsity"]["total"] - document["sparsity"]["kept"] == 12
    assert [layer["name"] for layer in document["layers"]] == [
        "first.weight",
        "grouped.weight",
        "head.weight",
    ]


def test_macs_and_bytes_follow_shape_and_number_formats() -> None:
    model = Small()
    # 24 x 48 pixels are 12 x 24 after the first layer and 10 x 22 after the second.
    assert measure.macs(model, ImageShape(3, 24, 48)) == 12 * 24 * 8 * 27 + 10 * 22 * 12 * 18 + 60
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert measure.macs(grey, ImageShape(1, 10, 12)) == 8 * 10 * 4 * 9 + 8
    shaped = measure.inspection(grey, architecture="grey", shape=ImageShape(1, 10, 12))
    assert (shaped["input_size"], shaped["input_channels"]) == ((10, 12), 1)
    halves = {"0.weight": torch.float16, "3.weight": torch.float64, "absent": torch.float64}
    assert measure.dense_bytes(grey, halves) == 2 * 36 + 4 * 4 + 8 * 8 + 4 * 2


def test_the_images_of_a_model_are_its_own_else_those_given_else_of_the_channels_it_takes() -> None:
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    own = {"size": [10, 12], "mean": [0.5], "std": [0.25]}
    other = Transform(16, (0.5,), (0.25,))
    assert measure.images_of(grey, own, other) == ImageShape(1, 10, 12)
    assert measure.images_of(grey, {}, other) == ImageShape(1, 16, 16)
    assert measure.images_of(grey, None, (20, 30)) == ImageShape(1, 20, 30)
    assert measure.images_of(grey, None) == ImageShape(1, measure.DEFAULT_SIZE, measure.DEFAULT_SIZE)
    assert measure.images_of(Small(), None, 20) == ImageShape(3, 20, 20)


def test_images_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(FairpruneError, match="2x2"):
        measure.macs(Small(), 2)
    with pytest.raises(FairpruneError, match="2x2"):
        measure.latency({"small": Small()}, 2)


@pytest.mark.parametrize("text", ["CUDA out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"])
def test_too_little_memory_is_no_fault_of_the_images(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    model = Small()

    def starved(_: Tensor) -> Tensor:
        raise RuntimeError(text)

    monkeypatch.setattr(model, "forward", starved)
    with pytest.raises(FairpruneError, match="out of memory on a batch of 1 images") as caught:
        measure.latency({"small": model}, 32)
    assert caught.value.code == ExitCode.RUNTIME
