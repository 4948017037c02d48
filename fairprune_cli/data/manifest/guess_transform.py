"""The input transform of a first manifest: a size out of the images, mean and deviation out of a checkpoint's name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fairprune_cli.data.manifest.image_shape import Size
from fairprune_cli.data.tables.image_names import image_formats

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".pt2", ".onnx", ".tar")
# How the names of torchvision's and timm's classifiers begin, where a digit, a sign or the end follows.
_FAMILIES = (
    "aimv", "alexnet", "beit", "beitv", "botnet", "caformer", "cait", "coat", "coatnet", "convformer", "convit",
    "convmixer", "convnext", "convnextv", "cpubone", "crossvit", "cspdarknet", "cspnext", "cspresnet",
    "cspresnext", "darknet", "davit", "deit", "densenet", "dla", "dpn", "ecaresnet", "ecaresnext", "edgenext",
    "efficientformer", "efficientformerv", "efficientnet", "efficientnetv", "efficientvim", "efficientvit", "eva",
    "fasternet", "fastvit", "fbnetc", "fbnetv", "flexivit", "focalnet", "gcresnet", "gcresnext", "gcvit",
    "gernet", "ghostnet", "ghostnetv", "gmixer", "gmlp", "googlenet", "halonet", "hardcorenas", "hgnet", "hgnetv",
    "hiera", "hrnet", "iformer", "inception", "lcnet", "lcnetv", "levit", "lowformer", "mambaout", "maxvit",
    "maxxvit", "maxxvitv", "mixer", "mixnet", "mnasnet", "mobilenet", "mobilenetv", "mobileone", "mobilevit",
    "mobilevitv", "mvit", "mvitv", "naflexvit", "nasnetalarge", "nextvit", "nfnet", "pit", "pnasnet",
    "poolformer", "poolformerv", "pvt", "rdnet", "regnet", "regnetv", "regnetx", "regnety", "regnetz",
    "repghostnet", "repvgg", "repvit", "resmlp", "resnest", "resnet", "resnetaa", "resnetblur", "resnetrs",
    "resnetv", "resnext", "rexnet", "rexnetr", "samvit", "selecsls", "semnasnet", "senet", "sequencer",
    "seresnet", "seresnext", "seresnextaa", "shufflenet", "shvit", "skresnet", "skresnext", "spnasnet",
    "squeezenet", "starnet", "swiftformer", "swin", "swinv", "tinynet", "tresnet", "twins", "vgg", "visformer",
    "vit", "vitamin", "volo", "vovnet", "wide_resnet", "xception", "xcit",
)  # fmt: skip
_NAME = re.compile(rf"(?:^|[^a-z])((?:{'|'.join(_FAMILIES)})(?:[\d_.-][a-z0-9_]*)?)(?![a-z])")
# fairprune's own small network, trained from nothing by the manifest beside it.
_OWN = re.compile(r"resnet10(?![t\d])")
_IMAGENET = ("[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]")
_PLAIN = ("[0.5, 0.5, 0.5]", "[0.25, 0.25, 0.25]")


def known_architecture(stem: str) -> str:
    """The name of a torchvision or timm classifier in a file's stem, "" for none."""
    stem = stem.lower()
    found = _NAME.search(stem)
    return found.group(1).rstrip("_.-") if found and not _OWN.search(stem) else ""


def guess_transform(base: Path, sample: Sequence[Path], asked: Size | None) -> tuple[list[str], list[str]]:
    """The lines of the section `transform`, and what is guessed in them, to be told.

    Args:
        base: folder of the manifest, in which a checkpoint may lie.
        sample: a few of the images.
        asked: the size, where it was given.
    """
    notes = []
    if asked is not None:
        size = str(asked) if isinstance(asked, int) else f"[{asked[0]}, {asked[1]}]"
    else:
        size, why = _size(sample)
        notes.append(f"guess: size {size} ({why})")
        size += f"  # guess: {why}"
    checkpoint, name = _checkpoint(base)
    mean, std = _IMAGENET if name else _PLAIN
    why = f"ImageNet's, as {checkpoint} beside it seems to be a {name}" if name else "no checkpoint says them"
    notes.append(f"guess: mean {mean}, std {std} ({why})")
    head = "transform:  # must be what the model was trained with"
    return [head, f"  size: {size}", f"  mean: {mean}  # guess: {why}", f"  std: {std}"], notes


def _size(sample: Sequence[Path]) -> tuple[str, str]:
    sides = []
    for image in sample[:20]:
        with contextlib.suppress(Exception), Image.open(image, formats=image_formats()) as opened:
            sides.append(min(opened.size))
    if not sides:
        return "64", "no image could be looked at"
    middle = float(np.median(sides))
    return str(min(max(8 * round(middle / 8), 32), 224)), f"the shorter side of the images is {middle:g} at the median"


def _checkpoint(base: Path) -> tuple[str, str]:
    """The first checkpoint in a folder whose name is that of a known classifier, and this name."""
    with contextlib.suppress(OSError):
        for path in sorted(base.iterdir()):
            if path.suffix.lower() in _CHECKPOINTS and (name := known_architecture(path.stem)):
                return path.name, name
    return "", ""
