"""Which words name a split: those of columns, folders and file names, in any case."""

from __future__ import annotations

import re

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trainset", "trainingset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset", "validationset"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "devset"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "te", "testset", "holdout"), "test"),
}
# They say what a split consists of, not which it is.
_BESIDE = frozenset(
    ("set", "split", "data", "dataset", "image", "images", "img", "imgs", "pic", "pics", "photos", "part", "partition",
     "subset", "sample", "samples")
)  # fmt: skip


def split_of(word: str) -> str | None:
    """The split (train, val or test) that a word names, None where it names none.

    One of the usual words, in any case, beside which only words such as `set` or `images`, digits and signs stand:
    `Training`, `dev`, `TEST_SET`, `train2017`; not `test-dev` or `seg_train`, which may mean several things.
    """
    tokens = [token for token in _tokens(word) if token not in _BESIDE]
    return _WORDS.get(tokens[0]) if len(tokens) == 1 else None


def splits_within(word: str) -> frozenset[str]:
    """The splits that some word within `word` names: {"test"} for `PublicTest`, {"val", "test"} for `test-dev`."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", word)
    return frozenset(_WORDS[token] for token in _tokens(spaced) if token in _WORDS)


def without_split(word: str) -> str:
    """What is left of a file's stem beside the word for a split: `labels` of `labels_train` and `test-labels`."""
    return " ".join(token for token in _tokens(word) if token not in _WORDS and token not in _BESIDE)


def _tokens(word: str) -> list[str]:
    joined = re.sub(r"(?i)\bhold[ _-]+out\b", "holdout", word)
    return re.findall(r"[^\W\d_]+", joined.casefold())
