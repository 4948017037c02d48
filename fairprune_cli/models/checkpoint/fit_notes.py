"""What is said of a file's tensors beside the architecture that they were taken for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fairprune_cli.models import architectures
from fairprune_cli.models.architectures import Placement

_USUAL = ("module", "_orig_mod", "model", "backbone")
"""Prefixes of DataParallel, torch.compile and training frameworks, about which nothing is said."""


def notes_on_narrower(names: Sequence[str], sig: architectures.Signature, inner: dict[str, Tensor]) -> list[str]:
    """What is said of tensors smaller than the architecture's; one is also that of a first layer for grey images."""
    first = next((name for name, shape in sig.shapes.items() if len(shape) == 4), "")
    grey = first in names and inner[first].shape == (sig.shapes[first][0], 1, *sig.shapes[first][2:])
    notes = [f"its first layer takes images of 1 channel, that of {sig.name} {sig.shapes[first][1]}"] if grey else []
    left = [name for name in names if not (grey and name == first)]
    if fewer := _fewer_outputs(left, sig, inner):
        notes.append(fewer)
    elif left:
        are = "tensor is" if len(left) == 1 else "tensors are"
        notes.append(f"{len(left)} {are} narrower than {sig.name}'s: it was pruned by another tool")
    return notes


def _fewer_outputs(names: Sequence[str], sig: architectures.Signature, inner: dict[str, Tensor]) -> str:
    """What is said where the last layer alone has fewer rows, which no pruning takes; else nothing."""
    last = list(sig.shapes)[-1].rpartition(".")[0]
    shapes = [(tuple(inner[name].shape), sig.shapes[name]) for name in names if name.rpartition(".")[0] == last]
    if not shapes or len(shapes) < len(names) or any(here[1:] != there[1:] for here, there in shapes):
        return ""
    here, there = shapes[0][0][0], shapes[0][1][0]
    return f"the file has {here} of the {there} outputs of {sig.name}'s last layer, {last}: the file's are taken"


def notes_on(place: Placement, state: dict[str, Tensor], inner: dict[str, Tensor]) -> list[str]:
    """What is said about the place: an unusual prefix, what was left out, a head without bias.

    Args:
        state: the file's tensors; inner: those of them that are the network's, by its own names.
    """
    notes = []
    if any(part not in _USUAL for part in place.prefix.split(".")[:-1]):
        notes.append(f"the network's names stand behind {place.prefix!r}")
    if auxiliary := place.auxiliary:
        notes.append(f"{len(auxiliary)} tensors of auxiliary heads, which serve training alone, were left out")
    left = [name for name in place.beside if name not in auxiliary and not name.endswith("n_averaged")]
    if left:
        text = f"left out, as no part of {place.signature.name}: {architectures.shortened(left, 6)}"
        if architectures.normalisation(left, state):
            text += "; if the network normalised its images with them, the manifest's transform must do so"
        notes.append(text)
    for bias in sorted(place.signature.absent_biases(inner)):
        notes.append(f"the head has no bias: {bias} is not in the file")
    return notes
