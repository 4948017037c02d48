"""Tensors that stand beside a network's own in a checkpoint: which may be left out, and which are part of it after all.

A loss, metrics, counters of other tools and a second network say nothing about what the first one computes. A layer
that stands where the network's own layers stand does, and so does one that takes its outputs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from torch import Tensor

COUNTERS = frozenset(("total_ops", "total_params", "n_averaged", "num_updates", "steps", "decay", "_metadata"))
"""What thop and averaging leave beside a module's tensors."""

_ASIDE = frozenset((
    "criterion", "loss", "losses", "metric", "metrics", "acc", "accuracy", "auc", "auroc", "confmat", "teacher", "ema",
    "swa", "averaged", "optimizer", "optim", "exp", "momentum", "scaler",
))  # fmt: skip
_LAYER = re.compile(r"\.(weight|bias|running_mean|running_var)$")


def words_of_key(key: str) -> set[str]:
    """`model_EMA`, `modelEma` and `model-ema` are the same words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)}


def part_of_it(
    beside: Iterable[str], state: Mapping[str, Tensor], prefix: str, parts: Collection[str], classes: int | None
) -> list[str]:
    """Those of the tensors beside a network's own that cannot be left out without changing what it computes.

    Args:
        beside: names in the file.
        state: the file's tensors.
        prefix: what stands before the network's own names there.
        parts: names of the network's direct children.
        classes: its number of outputs.
    """
    return [name for name in beside if _is_part(name, state[name], prefix, parts, classes)]


def normalisation(beside: Sequence[str], state: Mapping[str, Tensor]) -> list[str]:
    """Those that look like the mean and standard deviation of images, which a network applies by itself."""
    named = [
        name for name in beside if name.rpartition(".")[2].strip("_") in ("mean", "std", "image_mean", "image_std")
    ]
    return [name for name in named if state[name].numel() in (1, 3)]


def _is_part(name: str, tensor: Tensor, prefix: str, parts: Collection[str], classes: int | None) -> bool:
    if name.rpartition(".")[2] in COUNTERS:
        return False
    aside = any(words_of_key(part) & _ASIDE for part in name.split(".")[:-1])
    if not name.startswith(prefix):
        takes_outputs = (tensor.ndim >= 2 and tensor.shape[1] == classes) or name.endswith("running_mean")
        return not aside and bool(_LAYER.search(name)) and takes_outputs and classes in tensor.shape[:2]
    inner = name[len(prefix) :]
    if inner.partition(".")[0] in parts:
        return True
    return not aside and bool(_LAYER.search(inner))
