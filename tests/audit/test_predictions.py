"""Tables of predictions: what they say, and everything about them that is refused."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.audit.predictions import Predicted, read_predictions
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.task import Head, Task
from fairprune_cli.data.tables.columnar import Utf8
from fairprune_cli.data.tables.path_keys import KeyTable, path_keys

FILES = ["train/a.png", "test/b.png", "test/c.png", "test/d.png", "test/é.png"]
PLACE = np.array([-1, 0, 1, 2, 3], np.int32)
CLASSES = ("cat", "dog", "owl")
TASK = Task("", CLASSES, np.zeros(5, np.int64))


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """As CSV, or as Parquet where the path says so."""
    if path.suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = zip(*rows, strict=True)
        parquet.write_table(arrow.table(dict(zip(header, map(list, columns), strict=True))), path)
        return path
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def read(path: Path, tasks: Sequence[Task] = (TASK,)) -> Predicted:
    return read_predictions(path, "file", KeyTable(path_keys(Utf8.of(FILES))), PLACE, 4, tasks)


NAMED = [("test/c.png", "owl"), ("test/b.png", "dog"), ("test/é.png", "cat"), ("train/a.png", "cat"),
         ("test/d.png", "dog")]  # fmt: skip


@pytest.fixture(params=["csv", "parquet", "python"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By Arrow from CSV and Parquet, and by Python's own reader where Arrow is not installed."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        real = __import__("importlib.util").util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else real(name))
        return "csv"
    pytest.importorskip("pyarrow")
    return str(request.param)


def test_names_of_classes(kind: str, tmp_path: Path) -> None:
    found = read(table(tmp_path / f"p.{kind}", ("file", "predicted"), NAMED))
    assert found.classes[0].tolist() == [1, 2, 1, 0]
    assert (found.confidence, found.others, found.missing.tolist()) == ([None], 1, [])


@pytest.mark.parametrize("probabilities", [True, False])
def test_scores(kind: str, probabilities: bool, tmp_path: Path) -> None:
    logits = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 1.5], [0.0, 0.0, 4.0], [1.0, 2.0, 0.5]])
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scores = (chances if probabilities else logits).tolist()
    rows = [(file, *line) for file, line in zip(FILES[1:], scores, strict=True)]
    found = read(table(tmp_path / f"p.{kind}", ("file", *CLASSES), rows))
    assert found.classes[0].tolist() == [1, 0, 2, 1]
    assert found.confidence[0] is not None
    np.testing.assert_allclose(found.confidence[0], chances.max(1), rtol=1e-6)


@pytest.mark.parametrize("spelling", ["./test/b.png", " test/b.png ", "test\\b.png", "test//b.png", "test/./b.png"])
def test_spellings_of_paths(kind: str, spelling: str, tmp_path: Path) -> None:
    rows = [(spelling if file == "test/b.png" else file, name) for file, name in NAMED]
    rows = [("test/e\u0301.png" if file == "test/é.png" else file, name) for file, name in rows]
    assert read(table(tmp_path / f"p.{kind}", ("file", "predicted"), rows)).classes[0].tolist() == [1, 2, 1, 0]


def test_an_image_without_a_row_is_known(kind: str, tmp_path: Path) -> None:
    assert read(table(tmp_path / f"p.{kind}", ("file", "predicted"), NAMED[1:])).missing.tolist() == [1]


SCORES = [(file, 0.2, 0.7, 0.1) for file in FILES[1:]]
FAULTS: dict[str, tuple[Sequence[str], Sequence[Sequence[object]], str]] = {
    "an image twice": (("file", "predicted"), [*NAMED, ("test/b.png", "cat")], "row 7: the image stands in an earlier"),
    "twice in two spellings": (("file", "predicted"), [*NAMED, ("./test/b.png", "dog")], "row 7: .*earlier row"),
    "an unknown image": (("file", "predicted"), [*NAMED, ("test/z.png", "cat")], "row 7: no such image.*'test/z.png'"),
    "an unknown class": (("file", "predicted"), [("test/b.png", "cats")], "row 2: no class 'cats'.*did you mean 'cat'"),
    "no class": (("file", "predicted"), [("test/b.png", "")], "row 2: no class is predicted"),
    "no column of images": (("path", "predicted"), NAMED, "no column 'file'"),
    "no predictions": (("file", "guess"), NAMED, "no column 'predicted'.*'cat', 'dog', 'owl'"),
    "scores of some classes": (("file", "cat", "dog"), [("test/b.png", 1.0, 2.0)], "none for 'owl'"),
    "a score that is none": (("file", *CLASSES), [("test/b.png", 1.0, float("nan"), 2.0)], "missing or not finite"),
    "an infinite score": (("file", *CLASSES), [("test/b.png", 1.0, float("inf"), 2.0)], "missing or not finite"),
    "probabilities and others": (("file", *CLASSES), [*SCORES[:2], ("test/d.png", 3.0, 1.0, 0.5)],
                                 "row 4: the scores are no probabilities"),
    "names against scores": (("file", "predicted", *CLASSES), [("test/b.png", "cat", 0.1, 0.8, 0.1)],
                             "'cat' is predicted, and the scores say 'dog'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_refused(fault: str, tmp_path: Path) -> None:
    header, rows, said = FAULTS[fault]
    with pytest.raises(FairpruneError, match=said):
        read(table(tmp_path / "p.csv", header, rows))


def test_a_ragged_row_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.skip("has no such rows")
    path = table(tmp_path / "p.csv", ("file", "predicted"), NAMED[:2])
    path.write_text(path.read_text() + "test/d.png\n")
    with pytest.raises(FairpruneError, match=r"row|rows"):
        read(path)


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="twice"):
        read(table(tmp_path / "p.csv", ("file", "predicted", "predicted"), [("test/b.png", "cat", "dog")]))


def test_a_threshold_is_that_of_the_second_class(tmp_path: Path) -> None:
    task = Task("", ("no", "yes"), np.zeros(5, np.int64), Head(threshold=0.8))
    rows = [(file, 1 - p, p) for file, p in zip(FILES[1:], (0.9, 0.7, 0.81, 0.2), strict=True)]
    found = read(table(tmp_path / "p.csv", ("file", "no", "yes"), rows), [task])
    assert found.classes[0].tolist() == [1, 0, 1, 0]
    assert found.confidence[0] is not None
    np.testing.assert_allclose(found.confidence[0], [0.9, 0.3, 0.81, 0.8])


def test_several_tasks_have_columns_of_their_own(tmp_path: Path) -> None:
    tasks = [Task("animal", CLASSES, np.zeros(5, np.int64)), Task("wild", ("no", "yes"), np.zeros(5, np.int64))]
    rows = [(file, "owl", 0.25, 0.75) for file in FILES[1:]]
    found = read(table(tmp_path / "p.csv", ("file", "predicted:animal", "wild:no", "wild:yes"), rows), tasks)
    assert [one.tolist() for one in found.classes] == [[2] * 4, [1] * 4]
    with pytest.raises(FairpruneError, match="no column 'predicted:wild'"):
        read(table(tmp_path / "q.csv", ("file", "predicted:animal"), [("test/b.png", "owl")]), tasks)


def test_whole_numbers_that_parquet_keeps_as_floats_are_classes(tmp_path: Path) -> None:
    task = Task("", ("0", "1"), np.zeros(5, np.int64))
    rows = [(file, 1.0) for file in FILES[1:]]
    assert read(table(tmp_path / "p.parquet", ("file", "predicted"), rows), [task]).classes[0].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "p.csv: is empty"), (b"file,file,predicted\n", "p.csv: column names stand twice"),
        (b"x" * 200_000, "p.csv: row 1: not valid CSV"), (bytes(200_000), "p.csv: row 1: not valid CSV"),
        (",".join(f"c{i}" for i in range(50_000)).encode() + b"\n", "p.csv: has 50,000 table columns"),
    ],
    ids=["empty", "doubled", "long", "zeros", "wide"],
)  # fmt: skip
def test_a_header_at_fault_is_one_sentence_that_names_the_file_once(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(FairpruneError) as caught:
        read(tmp_path / "p.csv")
    assert expected in str(caught.value)
    assert str(caught.value).count("p.csv") == 1


def test_a_page_of_parquet_predictions_that_unfolds_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    path = table(tmp_path / "p.parquet", ("file", "predicted"), [("x" * (2 << 20), "cat")])
    monkeypatch.setenv("FAIRPRUNE_LIMITS", f"parquet_page_bytes={1 << 20}")
    with pytest.raises(FairpruneError, match=r"unfolds to 2 MiB; at most 1 are read: .*FAIRPRUNE_LIMITS"):
        read(path)


def test_bytes_that_are_no_text_in_parquet_predictions_are_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = table(tmp_path / "p.parquet", ("file", "predicted"), [("zzzz", "cat"), *NAMED])
    path.write_bytes(path.read_bytes().replace(b"zzzz", b"z\xffzz"))
    with pytest.raises(FairpruneError):
        read(path)
