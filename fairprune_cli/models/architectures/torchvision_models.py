"""The rest of torchvision's classifiers: built by their names, without a promise that pruning fits."""

from __future__ import annotations

import functools
import warnings

import torchvision
from torch import nn
from torchvision.models import get_model, list_models

AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",), "timm/inception_v3": ("AuxLogits.",)}
"""Architectures whose further heads serve training alone, and how the names of these heads' tensors begin."""


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """Every image classifier of the installed torchvision, quantised ones left out."""
    return tuple(list_models(module=torchvision.models))


def build_torchvision(name: str, num_classes: int) -> nn.Module:
    """A classifier with torchvision's own initial weights, without auxiliary heads; nothing is downloaded."""
    options = {"aux_logits": False} if name in AUXILIARY else {}
    with warnings.catch_warnings():
        # googlenet and inception_v3 warn of a future change of their initial weights.
        warnings.simplefilter("ignore", FutureWarning)
        return get_model(name, weights=None, num_classes=num_classes, **options)
