"""Networks by name: build one, recognise one from its tensors, shrink one to the tensors of a file.

A file in families/ with a table `ARCHITECTURES` (name -> function of the number of classes) adds its names
to the supported ones: those that are recognised by themselves and that the tests go through.
"""

from __future__ import annotations

from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.computed_weights import make_plain, materialise, refuse_lazy
from fairprune_cli.models.architectures.fingerprints import COUNTER
from fairprune_cli.models.architectures.fitting import (
    Account,
    account_of,
    fit_to_state,
    load_plain,
    load_strictly,
    shapes_before,
    shapes_of,
)
from fairprune_cli.models.architectures.foreign import normalisation, words_of_key
from fairprune_cli.models.architectures.heads import settle_heads
from fairprune_cli.models.architectures.image_size import OtherImageSize, own_size, refuse_other_image_size
from fairprune_cli.models.architectures.placement import (
    Placement,
    complete_places,
    differences_at,
    identify,
    narrowed,
    not_recognised,
    only_one,
    parts_beside,
    placed,
    placements,
)
from fairprune_cli.models.architectures.registry import (
    build,
    default_lr,
    is_supported,
    names,
    other_names,
    refuse_code,
    skeleton,
)
from fairprune_cli.models.architectures.signatures import Signature, shortened, signature

__all__ = [
    "COUNTER",
    "Account",
    "OtherImageSize",
    "Placement",
    "Signature",
    "account_of",
    "build",
    "complete_places",
    "default_lr",
    "differences_at",
    "fit_to_state",
    "identify",
    "is_import_path",
    "is_supported",
    "load_plain",
    "load_strictly",
    "make_plain",
    "materialise",
    "names",
    "narrowed",
    "normalisation",
    "not_recognised",
    "only_one",
    "other_names",
    "own_size",
    "parts_beside",
    "placed",
    "placements",
    "refuse_code",
    "refuse_lazy",
    "refuse_other_image_size",
    "settle_heads",
    "shapes_before",
    "shapes_of",
    "shortened",
    "signature",
    "skeleton",
    "words_of_key",
]
