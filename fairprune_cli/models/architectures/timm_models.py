"""Networks of the library timm, under the names timm/NAME; needs the extra `timm`. Nothing is downloaded."""

from __future__ import annotations

from torch import nn

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.models.architecture_names import TIMM


def is_timm(name: str) -> bool:
    """Whether the name asks for a network of timm."""
    return name.startswith(TIMM)


def build_timm(name: str, num_classes: int) -> nn.Module:
    """A classifier with timm's own initial weights.

    Raises:
        FairpruneError: timm is not installed, or knows no such network.
    """
    try:
        import timm
    except ImportError as error:
        raise FairpruneError(
            "this architecture needs the library timm", where=f"--arch {name}", hint="pip install timm"
        ) from error
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        hint = nearest(short, timm.list_models())
        if hint.startswith("known"):
            hint = "timm.list_models() lists them"
        raise FairpruneError(f"timm has no network {short!r}", where=f"--arch {name}", hint=hint)
    made: nn.Module = timm.create_model(short, pretrained=False, num_classes=num_classes)
    return made
