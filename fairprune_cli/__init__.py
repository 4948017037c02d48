"""Prune image classifiers without making them unfairer.

Importing this package is cheap: torch is imported on first use of `load`.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__version__ = "0.2.0"
__all__ = ["__version__", "load"]


def load(path: str | PathLike[str]) -> nn.Module:
    """Load a model that fairprune wrote, in float32 and eval mode on the CPU, whatever the file stores.

    Args:
        path: a `model.safetensors` written by fairprune, or the run folder that holds it.

    Raises:
        FairpruneError: the file is missing, damaged or not one of fairprune's.
    """
    from pathlib import Path

    from fairprune_cli.exports.codec import load as load_file

    return load_file(Path(path)).float()
