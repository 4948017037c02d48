"""What a manifest says of its splits: the section `splits`, which keeps those of the data or asks for shares."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairprune_cli.data.manifest.columns import read_names
from fairprune_cli.data.manifest.yaml_section import YamlSection
from fairprune_cli.data.tables.coded_cells import distinct
from fairprune_cli.data.tables.split_words import split_of
from fairprune_cli.data.tables.table import SPLITS

DROP = "drop"
FROM_TRAIN = "from-train"
PATH, NAME = "path", "name"
VAL_SHARE = 0.1  # of train, where a val split is cut from it
_KEPT = ("names", "from", "seed", "val")


@dataclass(frozen=True)
class SplitSpec:
    """Where the splits come from.

    Attributes:
        fractions: shares of train, val and test to be drawn; None where the data names its splits.
        seed: of what is drawn.
        by_person: whether a drawing by shares keeps persons whole.
        names: word of the data -> split, or `drop` for images that are left out; beside the usual words.
        source: "path" or "name" where folders or the beginning of a file's name say the split; "" otherwise.
        val_share: share of train that becomes val, 0 for none.
    """

    fractions: tuple[float, float, float] | None = None
    seed: int = 0
    by_person: bool = False
    names: Mapping[str, str] | None = None
    source: str = ""
    val_share: float = 0.0

    def split_of(self, word: str) -> str | None:
        """The split that a word of the data means, `drop`, or None for an unknown one."""
        wanted = word.lower()
        named = next((split for one, split in (self.names or {}).items() if one.lower() == wanted), None)
        return named or split_of(word)


def read_splits(top: YamlSection, kind: str, columns: Mapping[str, str], knows_persons: bool) -> SplitSpec:
    """The section `splits` of a manifest; faults are noted, and faulty keys count as absent.

    Args:
        kind: the manifest's format.
        columns: its section `columns`.
        knows_persons: whether persons can be told apart.
    """
    if not top.has("splits"):
        return SplitSpec()
    section = top.section("splits")
    whole = section.number("seed", 0)
    if not whole.is_integer():
        section.fault("seed", "expected a whole number")
        whole = 0
    seed = int(whole)
    is_word = section.has("val") and not section.is_list("val") and not section.is_mapping("val")
    word = section.text("val") if is_word else ""
    if section.has("names") or section.has("from") or word == FROM_TRAIN:
        return _kept(section, kind, columns, top.is_mapping("table"), seed, word)
    if "split" in columns:
        top.fault("splits", "a split column is named as well: remove one of the two")
    if top.is_mapping("table"):
        top.fault("splits", "the tables name the splits already: remove the shares, or give one table")
    section.only(*SPLITS, "seed", "by", "names", "from")
    by = section.text("by", "")
    if by and by != "person":
        section.fault("by", f"only `person` is known, found {by!r}")
    elif by and not knows_persons:
        section.fault("by", "needs the column that tells persons apart, as in columns: {person: person_id}")
    train, val, test = (section.number(name, 0) for name in SPLITS)
    shares = (train, val, test)
    if any(math.isnan(share) for share in shares):
        return SplitSpec((1.0, 0.0, 0.0), seed)
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        top.fault("splits", f"train, val and test must be shares that sum to 1, found {sum(shares):g}")
        return SplitSpec((1.0, 0.0, 0.0), seed)
    return SplitSpec(shares, seed, by == "person" and knows_persons)


def _kept(
    section: YamlSection, kind: str, columns: Mapping[str, str], several: bool, seed: int, val: str
) -> SplitSpec:  # fmt: skip
    """The splits that the data has, by their words; `val` is the text of that key, "" where there is none."""
    section.only(*_KEPT)
    names = read_names(section) if section.has("names") else {}
    if wrong := sorted(set(names.values()) - {*SPLITS, DROP}):
        section.fault("names", f"{wrong[0]!r} is no split: train, val or test, or drop to leave images out")
    source = section.text("from") if section.has("from") else ""
    if source not in ("", PATH, NAME):
        section.fault("from", f"expected path (folders name the split) or name (files begin with it), found {source!r}")
        source = ""
    if kind == "table" and not (source or several or "split" in columns):
        section.fault("names" if names else "val", "needs a split column, as in columns: {split: partition}")
    if source and "split" in columns:
        section.fault("from", "a split column is named as well: remove one of the two")
    if source and several:
        section.fault("from", "the tables name the splits already: remove one of the two")
    if section.has("val") and val != FROM_TRAIN:
        section.fault("val", f"beside `names` or `from` only {FROM_TRAIN} is known, found {val or 'no word'!r}")
    return SplitSpec(None, seed, False, names, source, VAL_SHARE if val == FROM_TRAIN else 0.0)


def words_of_paths(spec: SplitSpec, files: Sequence[str]) -> list[str]:
    """The word of each path that names its split: the outermost such folder, or the beginning of the file's name.

    "" where a path has none.
    """
    known: dict[str, str] = {}

    def word(path: str) -> str:
        folder, name = posixpath.split(path)
        if spec.source == NAME:
            return first_word(name)
        if folder not in known:
            parts = folder.split("/")
            known[folder] = next((part for part in parts if spec.split_of(part) is not None), "")
        return known[folder]

    return [word(path) for path in files]


def first_word(name: str) -> str:
    """The letters with which a file's name begins: "train" of `train_0001.png`."""
    found = re.match(r"[^\W\d_]+", name)
    return found.group() if found else ""


def left_out(spec: SplitSpec, splits: Sequence[str]) -> list[int]:
    """Positions of the images that `names` drops."""
    dropped = {cell for cell in distinct(splits) if spec.split_of(cell) == DROP}
    return [i for i, cell in enumerate(splits) if cell in dropped] if dropped else []
