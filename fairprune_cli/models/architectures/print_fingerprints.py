"""Prints the table of fingerprints.py for the installed torchvision."""

from __future__ import annotations

from fairprune_cli.models.architectures.fingerprints import digest
from fairprune_cli.models.architectures.signatures import signature
from fairprune_cli.models.architectures.torchvision_models import torchvision_names


def _print() -> None:
    kinds: dict[tuple[str, ...], None] = {}
    for name in torchvision_names():
        one = signature(name)
        heads = tuple(sorted({head.rpartition(".")[0] for head in one.heads}))
        kinds[heads] = None
        print(f'    "{digest(one.shapes, heads)}": "{name}",', flush=True)
    print(sorted(kinds))


if __name__ == "__main__":
    _print()
