"""Which words name a split."""

from __future__ import annotations

import pytest

from fairprune_cli.data.tables.split_words import split_of, splits_within, without_split


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "train Train TRAINING trn train_set Train-Data train2017 training-images tr"),
        ("val", "val Valid validation VALIDATION_SET dev Dev_Split development"),
        ("test", "test Testing TEST tst test_images holdout hold-out te"),
    ],
)
def test_usual_words(split: str, words: str) -> None:
    assert [split_of(word) for word in words.split()] == [split] * len(words.split())


@pytest.mark.parametrize(
    "word", ["", "0", "cat", "test-dev", "seg_train", "trains", "contest", "latest", "images", "PublicTest"]
)
def test_other_words_name_none(word: str) -> None:
    assert split_of(word) is None


def test_words_within() -> None:
    assert splits_within("PublicTest") == {"test"}
    assert splits_within("train_val") == {"train", "val"}
    assert splits_within("contest") == frozenset()
    assert without_split("labels_train") == without_split("Test-Labels") == "labels"
