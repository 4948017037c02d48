"""What `data init` is told, so that it need not guess it, and how it asks for what it cannot guess."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import yaml

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.yaml_text import yaml_nodes
from fairprune_cli.data.manifest.image_shape import Size
from fairprune_cli.data.manifest.split_spec import SplitSpec, read_splits
from fairprune_cli.data.manifest.yaml_section import YamlSection

SHARES = "{train: 0.7, val: 0.15, test: 0.15, seed: 0}"


@dataclass(frozen=True)
class Asked:
    """Choices for a first manifest; what is empty or None is guessed.

    Attributes:
        label: column that is to be predicted.
        attributes: columns of the groups.
        size: of the transform.
        images: folder that the image paths are relative to.
        split_column: column that names the splits.
        splits: text of the manifest's section `splits`, as `{names: {val: test}, val: from-train}`.
    """

    label: str = ""
    attributes: tuple[str, ...] = ()
    size: Size | None = None
    images: Path | None = None
    split_column: str = ""
    splits: str = ""

    def split_spec(self) -> SplitSpec | None:
        """What `splits` says; None where it says nothing.

        Raises:
            FairpruneError: it is no such section.
        """
        if not self.splits:
            return None
        problems = Problems("--splits")
        try:
            node = yaml_nodes(f"splits: {self.splits}")
        except yaml.YAMLError as error:
            raise FairpruneError(f"not valid YAML: {self.splits[:60]!r}", where="--splits", hint=SHARES) from error
        top = YamlSection(node, "", problems)
        # Whether there is such a column, and whether persons are known, the whole manifest will show.
        spec = read_splits(top, "folder", {}, True)
        problems.raise_if_any(f"for example --splits '{SHARES}'")
        return spec


def stop(what: str, where: Path | str, *choices: str) -> NoReturn:
    """Ask instead of guessing: an error that says which choice to write."""
    raise FairpruneError(what, where=str(where), hint=f"write {', or '.join(choices)}")


def with_splits(text: str, then: str = "") -> str:
    """A choice: the flag that writes a section `splits`, and what follows from it."""
    return f"--splits '{text}'" + (f" ({then})" if then else "")


def names_text(names: Mapping[str, str], extra: str = "") -> str:
    """A section `splits` with names for words."""
    pairs = ", ".join(f"{quoted(word)}: {split}" for word, split in names.items())
    return f"{{names: {{{pairs}}}{extra}}}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, the first few."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def quoted(text: str) -> str:
    """`text` as a YAML scalar, in quotes unless it is a plain word or number."""
    if text.lower() != "null" and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*|\.", text):
        return text
    quoted_text = json.dumps(text, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else f"\\U{ord(mark):08x}" for mark in quoted_text)
