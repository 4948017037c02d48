"""Networks by name: build one, recognise one from its tensors, shrink one to the tensors of a file.

A file in families/ with a table `ARCHITECTURES` (name -> function of the number of classes) adds its names
to the supported ones: those that are recognised by themselves and that the tests go through.
"""

from __future__ import annotations

from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.computed_weights import make_plain, materialise, refuse_lazy
from fairprune_cli.models.architectures.fitting import (
    Account,
    account_of,
    fit_to_state,
    load_plain,
    load_strictly,
    shapes_before,
    shapes_of,
)
from fairprune_cli.models.architectures.registry import build, default_lr, is_supported, names, other_names, skeleton
from fairprune_cli.models.architectures.signatures import Signature, identify, signature

__all__ = [
    "Account",
    "Signature",
    "account_of",
    "build",
    "default_lr",
    "fit_to_state",
    "identify",
    "is_import_path",
    "is_supported",
    "load_plain",
    "load_strictly",
    "make_plain",
    "materialise",
    "names",
    "other_names",
    "refuse_lazy",
    "shapes_before",
    "shapes_of",
    "signature",
    "skeleton",
]
