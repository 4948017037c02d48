"""Prints the tables of fingerprints.py for the installed torchvision."""

from __future__ import annotations

from fairprune_cli.models.architectures.fingerprints import digest, names_digest
from fairprune_cli.models.architectures.signatures import signature
from fairprune_cli.models.architectures.torchvision_models import torchvision_names


def _print() -> None:
    kinds: dict[tuple[str, ...], None] = {}
    alike: dict[str, list[str]] = {}
    parts: dict[tuple[str, ...], None] = {}
    for name in torchvision_names():
        one = signature(name)
        heads = tuple(sorted({head.rpartition(".")[0] for head in one.heads}))
        kinds[heads] = None
        parts[tuple(sorted({key.partition(".")[0] for key in one.shapes}))] = None
        alike.setdefault(names_digest(one.shapes), []).append(name)
        print(f'    "{digest(one.shapes, heads)}": "{name}",', flush=True)
    print(sorted(kinds))
    for key, names in alike.items():
        print(f'    "{key}": {tuple(names)},')
    print(sorted(parts))


if __name__ == "__main__":
    _print()
