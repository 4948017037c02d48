from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from tests.support import heads

NAMES = architectures.names()


def shapes_only(name: str, classes: int) -> dict[str, torch.Tensor]:
    return dict(architectures.skeleton(name, classes).state_dict())


def test_supported_names_are_those_promised() -> None:
    assert set(NAMES) == {
        "resnet10", "resnet10-w16", "resnet18", "resnet34", "resnet50", "wide_resnet50_2", "resnext50_32x4d",
        "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "densenet121", "vgg11_bn",
        "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x0_5", "vit_b_16", "vit-tiny", "swin_t",
    }  # fmt: skip
    assert "vgg11" in architectures.other_names()
    assert not set(NAMES) & set(architectures.other_names())


@pytest.mark.parametrize("name", ["resnet10", "resnet10-w16", "mobilenet_v2", "mobilenet_v3_small", "vit-tiny"])
def test_build_gives_the_asked_number_of_outputs(name: str) -> None:
    model = architectures.build(name, 3, seed=0).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_resnet10_w16_is_small_and_shares_torchvisions_names() -> None:
    small, large = architectures.build("resnet10-w16", 2), architectures.build("resnet10", 2)
    assert list(small.state_dict()) == list(large.state_dict())
    assert 280_000 < sum(p.numel() for p in small.parameters()) < 330_000
    assert small.conv1.weight.shape == (16, 3, 3, 3)
    # Half the resolution reaches the first stage: no pooling in the stem.
    stem = small.maxpool(small.bn1(small.conv1(torch.zeros(1, 3, 64, 64))))
    assert stem.shape == (1, 16, 32, 32)


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (architectures.build("resnet10-w16", 2, seed=seed) for seed in (1, 1))
    other = architectures.build("resnet10-w16", 2, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("classes", [1, 2, 10, 64, 1000])
@pytest.mark.parametrize("name", ["resnet10-w16", "resnet18", "mobilenet_v2", "vit-tiny"])
def test_identify_does_not_mind_the_number_of_classes(name: str, classes: int) -> None:
    assert architectures.identify(shapes_only(name, classes)) == (name, classes)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "convnext_small", "resnext101_32x8d"])
def test_identify_finds_torchvisions_other_classifiers(name: str) -> None:
    assert architectures.identify(shapes_only(name, 5)) == (name, 5)


def test_every_classifier_of_torchvision_has_a_fingerprint_of_its_own() -> None:
    from fairprune_cli.models.architectures.fingerprints import TABLE
    from fairprune_cli.models.architectures.torchvision_models import torchvision_names

    assert len(set(TABLE.values())) == len(TABLE) >= 80
    assert {"vit_b_16", "swin_t", "inception_v3", "densenet121"} <= set(TABLE.values()) <= set(torchvision_names())


def test_identify_does_not_need_batch_counters() -> None:
    state = {k: v for k, v in shapes_only("resnet18", 7).items() if not k.endswith("num_batches_tracked")}
    assert architectures.identify(state) == ("resnet18", 7)


def test_identify_names_the_closest_and_the_first_difference() -> None:
    state = shapes_only("resnet18", 2)
    state["layer2.0.conv1.weight"] = torch.empty(100, 64, 3, 3, device="meta")
    with pytest.raises(FairpruneError, match=r"closest is resnet18.*layer2\.0\.conv1\.weight is 128x64x3x3"):
        architectures.identify(state)


@pytest.mark.parametrize("spoil", ["missing", "extra", "head"])
def test_identify_refuses_whatever_would_not_load_strictly(spoil: str) -> None:
    state = shapes_only("resnet10", 2)
    if spoil == "missing":
        del state["layer3.0.bn2.bias"]
    elif spoil == "extra":
        state["projection.weight"] = torch.empty(3, device="meta")
    else:
        state["fc.bias"] = torch.empty(3, device="meta")
    with pytest.raises(FairpruneError, match="closest is resnet10") as caught:
        architectures.identify(state)
    assert "--arch" in caught.value.hint


def test_identify_of_something_else_says_so() -> None:
    with pytest.raises(FairpruneError, match=r"none of .*resnet10.* is near"):
        architectures.identify({"encoder.weight": torch.empty(4, 4, device="meta")})


def test_identify_names_both_where_two_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairprune_cli.models.architectures import registry, signatures

    table = {**registry._supported(), "twin": registry._supported()["resnet10"]}
    monkeypatch.setattr(registry, "_supported", lambda: table)
    with pytest.raises(FairpruneError, match="resnet10 and twin"):
        architectures.identify(shapes_only("resnet10", 2))
    signatures.signature.cache_clear()


def test_other_torchvision_names_build_and_unknown_ones_suggest_a_near_one() -> None:
    assert architectures.skeleton("vgg11", 4).classifier[6].weight.shape[0] == 4
    with pytest.raises(FairpruneError, match="no architecture 'resnet19'") as caught:
        architectures.build("resnet19", 2)
    assert "resnet1" in caught.value.hint


def test_skeleton_of_a_network_that_meta_cannot_build() -> None:
    model = architectures.skeleton("regnet_y_400mf", 3)
    assert model.fc.weight.shape[0] == 3


# --- fit_to_state -------------------------------------------------------------------------------------------


def halved(name: str, classes: int) -> nn.Module:
    """A network of the same build with half of every width, made without our fitting."""
    torch.manual_seed(0)
    if name == "mobilenet_v2":
        from torchvision.models import MobileNetV2

        return MobileNetV2(num_classes=classes, width_mult=0.5)
    from fairprune_cli.models.architectures.families.resnet import SmallImageResNet

    return SmallImageResNet((1, 1, 1, 1), 8, classes)


@pytest.mark.parametrize("name", ["resnet10-w16", "mobilenet_v2"])
def test_fit_takes_the_widths_and_the_tensors_without_copying(name: str) -> None:
    source = halved(name, 5).eval()
    state = source.state_dict()
    fitted = architectures.fit_to_state(architectures.skeleton(name, 5), state).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(fitted(images), source(images))
    assert all(t.data_ptr() == state[k].data_ptr() for k, t in fitted.state_dict().items())
    for module in fitted.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        if isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.running_mean)
    assert all(p.requires_grad for p in fitted.parameters())


def test_fit_of_a_dense_state_changes_nothing() -> None:
    source = architectures.build("resnet10-w16", 2, seed=3)
    fitted = architectures.fit_to_state(architectures.build("resnet10-w16", 2, seed=4), source.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fitted.parameters(), source.parameters(), strict=True))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("conv1.weight", (16, 3, 5, 5)),
        ("conv1.weight", (16, 3, 3)),
        ("conv1.weight", (0, 3, 3, 3)),
        ("conv1.weight", (17, 3, 3, 3)),
        ("fc.weight", (2, 129)),
        ("layer1.0.bn1.weight", (20,)),
        ("layer1.0.bn1.running_var", (3,)),
        ("fc.bias", (1,)),
    ],
)
def test_fit_names_a_tensor_of_impossible_shape(key: str, shape: tuple[int, ...]) -> None:
    state = dict(architectures.build("resnet10-w16", 2, seed=0).state_dict())
    state[key] = torch.ones(shape)
    with pytest.raises(FairpruneError, match=key.replace(".", r"\.")):
        architectures.fit_to_state(architectures.skeleton("resnet10-w16", 2), state)


def test_fit_refuses_a_depthwise_convolution_with_more_than_one_input() -> None:
    state = dict(architectures.build("mobilenet_v2", 2, seed=0).state_dict())
    key = "features.2.conv.1.0.weight"
    state[key] = torch.ones(state[key].shape[0], 2, 3, 3)
    with pytest.raises(FairpruneError, match=f"{key}.*depthwise"):
        architectures.fit_to_state(architectures.skeleton("mobilenet_v2", 2), state)


def test_fit_refuses_widths_that_do_not_fit_together() -> None:
    state = dict(architectures.build("resnet10-w16", 2, seed=0).state_dict())
    state["layer2.0.conv2.weight"] = torch.ones(32, 20, 3, 3)
    with pytest.raises(FairpruneError, match="do not fit together"):
        architectures.fit_to_state(architectures.skeleton("resnet10-w16", 2), state)


def test_a_network_that_asks_for_the_version_of_what_it_loads() -> None:
    source = architectures.build("mnasnet0_5", 2, seed=0).eval()
    state = {key: tensor.clone() for key, tensor in source.state_dict().items()}
    fitted = architectures.fit_to_state(architectures.skeleton("mnasnet0_5", 2), state).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(fitted(images), source(images))


def test_strict_loading_lists_everything_at_once() -> None:
    state = dict(architectures.build("resnet10-w16", 2, seed=0).state_dict())
    state["spare"] = torch.ones(1)
    state["fc.bias"] = torch.ones(3)
    state["bn1.bias"] = torch.ones(16, dtype=torch.long)
    del state["bn1.weight"]
    with pytest.raises(FairpruneError) as caught:
        architectures.load_strictly(architectures.skeleton("resnet10-w16", 2), state, "file.pt")
    message = str(caught.value)
    assert "4 problems" in message
    assert "bn1.bias holds torch.int64 numbers" in message
    for part in (
        "bn1.weight is missing",
        "spare is unexpected",
        "fc.bias has shape (3,), not (2,)",
        "file.pt",
    ):
        assert part in message


def test_loading_refuses_a_network_with_tensors_outside_its_state() -> None:
    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(1), persistent=False)

    with torch.device("meta"):
        model = Loose()
    with pytest.raises(FairpruneError, match="scale"):
        architectures.load_strictly(model, {})


# --- package.module:factory ---------------------------------------------------------------------------------


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = """
    from torch import nn
    number = 3
    def plain(num_classes): return nn.Linear(3, num_classes)
    def fixed(): return nn.Linear(3, 5)
    def wrong(): return "net"
    def by_place(num_classes, /): return nn.Linear(3, num_classes)
    def with_more(width): return nn.Linear(3, width)
    def fails(): raise RuntimeError("no such\\nluck")
    made = nn.Linear(3, 2)
    """
    (tmp_path / "own_nets_xyz.py").write_text(textwrap.dedent(text))
    (tmp_path / "own_broken_xyz.py").write_text("import sys\nsys.exit('bye')\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("own_nets_xyz", "own_broken_xyz"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own_code")
def test_factory_from_the_working_directory_with_and_without_classes() -> None:
    path = list(sys.path)
    assert architectures.build("own_nets_xyz:plain", 7).weight.shape == (7, 3)
    assert architectures.build("own_nets_xyz:fixed", 7).weight.shape == (5, 3)
    assert architectures.build("own_nets_xyz:by_place", 7).weight.shape == (7, 3)
    assert sys.path == path


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_nets_xyz:", "not of the form"),
        ("own nets:make", "not of the form"),
        ("no_such_module_xyz:make", "no module 'no_such_module_xyz'"),
        ("own_nets_xyz:plan", "has no 'plan'(.|\n)*did you mean 'plain'"),
        ("own_nets_xyz:number", "is int, not callable"),
        ("own_nets_xyz:made", "it is a network(.|\n)*name its class"),
        ("own_nets_xyz:with_more", "'width'(.|\n)*name a function that gives the rest"),
        ("own_nets_xyz:wrong", "returned str, not a torch.nn.Module"),
        ("own_nets_xyz:fails", "failed with RuntimeError: no such luck"),
        ("own_broken_xyz:any", "failed with SystemExit: bye"),
    ],
)
def test_faulty_factories_are_explained(name: str, message: str) -> None:
    with pytest.raises(FairpruneError, match=message) as caught:
        architectures.build(name, 2)
    assert name in caught.value.where


@pytest.mark.usefixtures("own_code")
def test_skeleton_never_imports_for_a_file() -> None:
    with pytest.raises(FairpruneError, match="no reason to import code"):
        architectures.skeleton("own_nets_xyz:plain", 2)
    assert "own_nets_xyz" not in sys.modules


@pytest.mark.parametrize(("name", "classes"), [("Trunk", 5), ("Transposed", 5), ("Pairs", 5), ("HeadFirst", None)])
def test_a_head_is_known_by_how_it_grows_with_the_classes(name: str, classes: int | None) -> None:
    kind = getattr(heads, name)
    state = (kind(5) if classes else kind()).state_dict()
    known = architectures.signature(f"tests.support.heads:{name}")
    assert known.classes_of(state) == classes
    assert known.differences(state) == []
    if name == "Pairs":  # 2 outputs per class: an odd number is that of no class count
        assert known.classes_of({**state, "fc.bias": state["fc.bias"][:9]}) is None
