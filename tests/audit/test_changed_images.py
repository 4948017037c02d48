"""The images whose prediction changed: which, in what order, and the table of them."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from fairprune_cli.audit.changed_images import ChangedImages, changed_csv, exemplars, way
from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.logits import Seen


class Groups(NamedTuple):
    name: str
    groups: tuple[str, ...]


GENDER, AGE = Groups("gender", ("m", "f")), Groups("age", ("young", "old"))
N, FIRST = 200, 1000
generator = torch.Generator().manual_seed(0)
LABELS = torch.randint(3, (N,), generator=generator)
LOGITS = {name: torch.randn(N, 3, generator=generator) for name in ("other", "dense")}
OF = np.full((FIRST + N, 2), -1)
OF[FIRST:] = torch.randint(-1, 2, (N, 2), generator=generator).numpy()
IMAGES = SimpleNamespace(groups=OF, manifest=SimpleNamespace(files=[f"{i}, x.png" for i in range(FIRST + N)], root="/"))


def looked(size: int, start: int = 0, stop: int = N) -> ChangesWatch:
    changed = ChangesWatch()
    for first in range(start, stop, size):
        part = slice(first, min(first + size, stop))
        rows = FIRST + torch.arange(N)[part]
        changed(Seen(LABELS[part], torch.zeros(len(rows), 0), rows), {name: t[part] for name, t in LOGITS.items()})
    return changed


def truth() -> list[tuple[float, int, str]]:
    """(drop, row, way) of every image that changed, by a loop over all of them."""
    found = []
    shares = {name: table.softmax(1) for name, table in LOGITS.items()}
    for i in range(N):
        before, now = (int(LOGITS[name][i].argmax()) for name in ("dense", "other"))
        if before != now:
            label = int(LABELS[i])
            told = "lost" if before == label else "gained" if now == label else "otherwise"
            found.append((float(shares["dense"][i, before] - shares["other"][i, before]), FIRST + i, told))
    return sorted(found, reverse=True)


def test_the_plainest_come_first_and_each_says_how_it_changed() -> None:
    found = looked(32).of("other")
    assert [(int(image["row"]), way(image)) for image in found] == [(row, told) for _, row, told in truth()]
    np.testing.assert_allclose(found["before"] - found["after"], [drop for drop, _, _ in truth()], atol=1e-6)


def test_batches_and_processes_make_no_difference() -> None:
    whole, parts = looked(200), looked(7, 100)
    parts.merge([looked(9, 0, 100).found])
    np.testing.assert_array_equal(whole.of("other"), parts.of("other"))
    assert len(whole.of("unknown")) == 0


def test_the_report_names_the_plainest_of_each_group() -> None:
    found = exemplars(looked(32), [GENDER], IMAGES, ("a", "b", "c")).changed
    for g, group in enumerate(GENDER.groups):
        expected = [(f"{row}, x.png", told) for _, row, told in truth() if OF[row, 0] == g]
        assert [(image.file, image.way) for image in found["other", "gender", group]] == expected[:10]


@pytest.mark.parametrize("lost", [False, True])
def test_groups_have_their_own_and_no_more_than_asked_for(lost: bool) -> None:
    found = {
        (a, g): images["row"].tolist() for a, g, images in looked(32).by_group("other", [GENDER, AGE], OF, 3, lost)
    }
    for column, grouping in enumerate((GENDER, AGE)):
        for g, name in enumerate(grouping.groups):
            expected = [row for _, row, told in truth() if OF[row, column] == g and (told == "lost" or not lost)]
            assert found[grouping.name, name] == expected[:3]


def test_the_table_holds_every_image_that_changed() -> None:
    text = changed_csv({"": (looked(32), ("a", "b", "c"))}, [GENDER, AGE], IMAGES)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["image"], line["way"]) for line in lines] == [(f"{row}, x.png", told) for _, row, told in truth()]
    for line in lines:
        i = int(line["image"].split(",")[0]) - FIRST
        assert line["label"] == "abc"[int(LABELS[i])]
        assert line["dense"] == "abc"[int(LOGITS["dense"][i].argmax())]
        assert line["predicted"] == "abc"[int(LOGITS["other"][i].argmax())]
        assert line["attribute: gender"] == ("m", "f", "")[OF[FIRST + i, 0]]
        assert float(line["before"]) > float(line["after"])


def test_without_rows_or_a_dense_model_nothing_is_remembered() -> None:
    changed = ChangesWatch()
    changed(Seen(LABELS, torch.zeros(N, 0), None), LOGITS)
    changed(Seen(LABELS, torch.zeros(N, 0), torch.arange(N)), {"other": LOGITS["other"]})
    assert changed.found == {}


def test_probabilities_that_nobody_told_stay_open() -> None:
    changed = ChangedImages()
    rows = np.array([FIRST + 3, FIRST + 1])
    changed.add("other", rows, np.array([0, 1]), np.array([0, 2]), np.array([1, 1]))
    text = changed_csv({"": (changed, ("a", "b", "c"))}, [GENDER, AGE], IMAGES)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["image"], line["before"], line["way"]) for line in lines] == [
        (f"{FIRST + 1}, x.png", "", "gained"), (f"{FIRST + 3}, x.png", "", "lost"),
    ]  # fmt: skip
    everywhere = SimpleNamespace(groups=np.zeros_like(OF), manifest=IMAGES.manifest)
    named = exemplars(changed, [GENDER], everywhere, ("a", "b", "c")).changed["other", "gender", "m"]
    assert [(image.before, image.after) for image in named] == [(None, None)] * 2
