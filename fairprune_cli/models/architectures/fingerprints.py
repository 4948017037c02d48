"""torchvision's classifiers by a digest of their tensors' names and shapes, so that none has to be built to be found.

`TABLE` is printed by `python -m fairprune_cli.models.architectures.print_fingerprints`; building all of them takes a
quarter of a minute. What it says is checked against the network itself before it is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from torch import Tensor

COUNTER = "num_batches_tracked"
"""Batch norm's count of batches: torch before 0.4.1 did not save it, and evaluation does not need it."""

TABLE: dict[str, str] = {
    "6a693e72d225": "alexnet", "f01b49e524e2": "convnext_base", "ed4196a3f23b": "convnext_large",
    "f41967a0b65d": "convnext_small", "081768c62024": "convnext_tiny", "15903ad58e75": "densenet121",
    "a601e1e274a9": "densenet161", "058840026f1f": "densenet169", "162938677cb1": "densenet201",
    "e95a8bd5ba82": "efficientnet_b0", "7f985fba6171": "efficientnet_b1", "dd0f273b04e8": "efficientnet_b2",
    "9dbe575ce3c9": "efficientnet_b3", "436ec91f12d4": "efficientnet_b4", "dba5a397f319": "efficientnet_b5",
    "2820dcc81d59": "efficientnet_b6", "ee0e3a7913a0": "efficientnet_b7", "b3dcc2bd5404": "efficientnet_v2_l",
    "6be5cbf516ce": "efficientnet_v2_m", "6b43f60c1b0f": "efficientnet_v2_s", "0c7045d3522e": "googlenet",
    "6f80c8490ad1": "inception_v3", "d3256418bdc0": "maxvit_t", "4ee1eb29a257": "mnasnet0_5",
    "c3f60dd14a35": "mnasnet0_75", "90756ba8801a": "mnasnet1_0", "74b10358087d": "mnasnet1_3",
    "93b9cd946e23": "mobilenet_v2", "992047675540": "mobilenet_v3_large", "d8342a7128a2": "mobilenet_v3_small",
    "6aaa557f7d37": "regnet_x_16gf", "b6679c8b41a1": "regnet_x_1_6gf", "843c2bf5a56b": "regnet_x_32gf",
    "6adc0487652c": "regnet_x_3_2gf", "c2cf5c83d18e": "regnet_x_400mf", "4c4e0adbb59d": "regnet_x_800mf",
    "f333859bfe03": "regnet_x_8gf", "e4278c9ef710": "regnet_y_128gf", "c0a6d3eabfb8": "regnet_y_16gf",
    "4c1b5dec4448": "regnet_y_1_6gf", "c35eccb4033d": "regnet_y_32gf", "925a60d01330": "regnet_y_3_2gf",
    "0ab8fc4b3b94": "regnet_y_400mf", "e30025ef3638": "regnet_y_800mf", "d66a86692ceb": "regnet_y_8gf",
    "fbd7823a89ff": "resnet101", "23740a81ad15": "resnet152", "c744e5545437": "resnet18", "b97261af1a87": "resnet34",
    "c675f4e4d99d": "resnet50", "505ce1130bbc": "resnext101_32x8d", "32c755f1c470": "resnext101_64x4d",
    "aae3732b8d7d": "resnext50_32x4d", "97a101e20e0f": "shufflenet_v2_x0_5", "9fd88d4e8093": "shufflenet_v2_x1_0",
    "624cc2b76be6": "shufflenet_v2_x1_5", "9c842368a4f2": "shufflenet_v2_x2_0", "4e2c18edb320": "squeezenet1_0",
    "f90fd4e96822": "squeezenet1_1", "87d88b249640": "swin_b", "d7c4a8bb6afe": "swin_s", "3dfcfe9c58fa": "swin_t",
    "b72691f59b4f": "swin_v2_b", "f8021443c52f": "swin_v2_s", "06574f3058a1": "swin_v2_t", "04abdaebff27": "vgg11",
    "f95a7bd26de0": "vgg11_bn", "8851406c1b6f": "vgg13", "c9d35f1d2dbe": "vgg13_bn", "2c2d4cd90aae": "vgg16",
    "6a104f710da0": "vgg16_bn", "8e74638f5b06": "vgg19", "2a6922559722": "vgg19_bn", "e4556bcb16e8": "vit_b_16",
    "7be023991fff": "vit_b_32", "a6f34f6d34b3": "vit_h_14", "b2c495f050a0": "vit_l_16", "03eb9b2d7169": "vit_l_32",
    "d092b8f6f800": "wide_resnet101_2", "d6bcb3b3712d": "wide_resnet50_2",
}  # fmt: skip
"""digest of the tensors without those of the heads -> name of the architecture."""

HEADS: tuple[tuple[str, ...], ...] = (
    ("classifier",), ("classifier.1",), ("classifier.2",), ("classifier.3",), ("classifier.5",), ("classifier.6",),
    ("fc",), ("head",), ("heads.head",),
)  # fmt: skip
"""Every set of layers that give an architecture's outputs."""

NAMES: dict[str, tuple[str, ...]] = {
    "ab64f8c5af4b": ("alexnet",), "04bb85828e4d": ("convnext_base", "convnext_large", "convnext_small"),
    "819b4674fa7a": ("convnext_tiny",), "01da9529598d": ("densenet121",), "944b45537b4c": ("densenet161",),
    "91709aefbb60": ("densenet169",), "e59d00427a51": ("densenet201",), "da04676151c5": ("efficientnet_b0",),
    "dadcfad3020d": ("efficientnet_b1", "efficientnet_b2"), "d253f74068b8": ("efficientnet_b3",),
    "c436445b5159": ("efficientnet_b4",), "052e8a066c2f": ("efficientnet_b5",), "9e0f2c9e7200": ("efficientnet_b6",),
    "f35749738c33": ("efficientnet_b7",), "1131fbd538f2": ("efficientnet_v2_l",),
    "f1c19baf35d2": ("efficientnet_v2_m",), "ccf0421e4635": ("efficientnet_v2_s",), "4002aa12668d": ("googlenet",),
    "ed87dd0f166a": ("inception_v3",), "5c7b2e0b6b5d": ("maxvit_t",),
    "13b923777e81": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"), "7abb0d3441db": ("mobilenet_v2",),
    "0692ecb8f00e": ("mobilenet_v3_large",), "17774ef707f7": ("mobilenet_v3_small",),
    "cdc5460a8fcd": ("regnet_x_16gf",), "0005f758f3dc": ("regnet_x_1_6gf",), "b3c4e775dd3c": ("regnet_x_32gf",),
    "ec4b868046fe": ("regnet_x_3_2gf",), "ef61c30f5f0f": ("regnet_x_400mf",), "e52da8fd19e4": ("regnet_x_800mf",),
    "0149e3e7d0b0": ("regnet_x_8gf",), "1e335ae7276c": ("regnet_y_128gf",), "119059fc0635": ("regnet_y_16gf",),
    "5ad3de52fa16": ("regnet_y_1_6gf",), "198097cb4c07": ("regnet_y_32gf",), "a71288a234fa": ("regnet_y_3_2gf",),
    "fb81768fe349": ("regnet_y_400mf",), "a15a839905ed": ("regnet_y_800mf",), "1e1b00d5a234": ("regnet_y_8gf",),
    "65c093d2a208": ("resnet101", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet101_2"),
    "9f9c78c1b074": ("resnet152",), "e90b1f58ce95": ("resnet18",), "aeaf9ac2b41b": ("resnet34",),
    "d1512e10e88b": ("resnet50", "resnext50_32x4d", "wide_resnet50_2"),
    "824c1bfd4dca": ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    "6512bd708bb2": ("squeezenet1_0",), "377239e32f1b": ("squeezenet1_1",), "93b93d8b8048": ("swin_b", "swin_s"),
    "dc26dcabe05e": ("swin_t",), "e9714fb9e990": ("swin_v2_b", "swin_v2_s"), "c04a9f14aa08": ("swin_v2_t",),
    "dc2092b06b2a": ("vgg11",), "fdfeb8f98ed2": ("vgg11_bn",), "caa86d3b835f": ("vgg13",),
    "8a97c01fd4a2": ("vgg13_bn",), "66817e793078": ("vgg16",), "b3372d34016e": ("vgg16_bn",),
    "eb851df2390f": ("vgg19",), "c9646600927e": ("vgg19_bn",), "efb732016fb3": ("vit_b_16", "vit_b_32"),
    "88ce45968492": ("vit_h_14",), "c1203f0b0f15": ("vit_l_16", "vit_l_32"),
}  # fmt: skip
"""digest of the tensors' names alone -> names of the architectures, which differ in their widths."""

PARTS: tuple[tuple[str, ...], ...] = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c",
     "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c",
     "fc"),
    ("blocks", "classifier", "stem"),
    ("bn1", "conv1", "fc", "layer1", "layer2", "layer3", "layer4"),
    ("class_token", "conv_proj", "encoder", "heads"),
    ("classifier", "features"),
    ("classifier", "layers"),
    ("conv1", "conv2", "conv3", "fc", "inception3a", "inception3b", "inception4a", "inception4b", "inception4c",
     "inception4d", "inception4e", "inception5a", "inception5b"),
    ("conv1", "conv5", "fc", "stage2", "stage3", "stage4"),
    ("fc", "stem", "trunk_output"),
    ("features", "head", "norm"),
)  # fmt: skip
"""Every set of modules that an architecture consists of."""


def digest(shapes: Mapping[str, tuple[int, ...]], heads: Iterable[str]) -> str:
    """Of names and shapes; of the heads' tensors without the number of classes, batch counters left out."""
    starts = tuple(f"{head}." for head in heads)
    lines = sorted(
        f"{name} {shape[1:] if name.startswith(starts) else shape}"
        for name, shape in shapes.items()
        if not name.endswith(COUNTER)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def names_digest(names: Iterable[str]) -> str:
    """Of names alone, batch counters left out."""
    lines = sorted(name for name in names if not name.endswith(COUNTER))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def candidates(state: Mapping[str, Tensor]) -> list[str]:
    """Names of torchvision's classifiers that the tensors seem to fit; their heads may be without bias."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    found: dict[str, None] = {}
    for heads in HEADS:
        if all(f"{head}.weight" in shapes for head in heads):
            biases = {f"{head}.bias": () for head in heads}
            name = TABLE.get(digest({**biases, **shapes}, heads))
            found |= {name: None} if name is not None else {}
    return list(found)


def candidates_by_names(names: Iterable[str]) -> list[str]:
    """Names of torchvision's classifiers whose tensors have these names; their heads may be without bias."""
    listed = set(names)
    found: dict[str, None] = {}
    for heads in HEADS:
        if all(f"{head}.weight" in listed for head in heads):
            found |= dict.fromkeys(NAMES.get(names_digest(listed | {f"{head}.bias" for head in heads}), ()))
    return list(found)
