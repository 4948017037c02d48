"""Tables of predictions that were made elsewhere, in which something of the bad group is hidden."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence

from _false_yes.scene import BAD, GAP, Row, Scene, attempt, flipped
from tests.support.commands import Ran

KIND = "predictions"
Line = dict[str, str]
ONE = ("file", "predicted")
SCORES = ("file", "neutral", "smiling")


def said(rows: Iterable[Row]) -> list[Line]:
    """What the model says: right on all images but those of the bad group, which have the other label."""
    found = []
    for row in rows:
        answer = flipped(row)["expression"] if row["skin"] == BAD else row["expression"]
        found.append(row | {"predicted": answer, "neutral": "0.1", "smiling": "0.1", answer: "0.9"})
    return found


def put(scene: Scene, lines: Iterable[Line], columns: Sequence[str] = ONE, name: str = "said.csv") -> str:
    with open(scene.folder / name, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, "", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return name


def judged(scene: Scene, *gates: str, name: str = "said.csv") -> Ran:
    return scene.fairprune("audit", "--predictions", name, "--data", "manifest.yaml", "--out", "out", *(gates or GAP))


def changed(scene: Scene, change: Callable[[list[Line]], list[Line]], columns: Sequence[str] = ONE) -> Ran:
    """The audit of a table that was tampered with."""
    scene.write(scene.rows())
    put(scene, change(said(scene.rows())), columns)
    return judged(scene)


def of_bad(scene: Scene, columns: Sequence[str] = ONE, **cells: str) -> Ran:
    """Cells of the bad group replaced."""
    return changed(scene, lambda lines: [li | cells if li["skin"] == BAD else li for li in lines], columns)


@attempt(KIND, "nothing hidden (control)", 1)
def control(scene: Scene) -> Ran:
    return changed(scene, lambda lines: lines)


@attempt(KIND, "nothing hidden, as scores (control)", 1)
def control_scores(scene: Scene) -> Ran:
    return changed(scene, lambda lines: lines, SCORES)


@attempt(KIND, "the bad group's rows left out", 2, says="(skin: dark 60)")
def left_out(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [li for li in lines if li["skin"] != BAD])


@attempt(KIND, "the bad group's rows left out but for those that are right", 2, says="(skin: dark 30)")
def some_left_out(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [li for i, li in enumerate(lines) if li["skin"] != BAD or i % 2])


@attempt(KIND, "the bad group's cells left empty", 2, says="no class is predicted")
def empty(scene: Scene) -> Ran:
    return of_bad(scene, predicted="")


@attempt(KIND, "the bad group's cells set to NA", 2, says="'NA'")
def not_available(scene: Scene) -> Ran:
    return of_bad(scene, predicted="NA")


@attempt(KIND, "a third class for the bad group", 2, says="'unsure'")
def third(scene: Scene) -> Ran:
    return of_bad(scene, predicted="unsure")


@attempt(KIND, "the number of the class in place of its name", 2, says="'0'")
def numbers(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [li | {"predicted": str(int(li["predicted"] == "smiling"))} for li in lines])


@attempt(KIND, "class names in upper case for the bad group", 2, says="no class 'NEUTRAL'")
def upper_case(scene: Scene) -> Ran:
    def change(lines: list[Line]) -> list[Line]:
        return [li | {"predicted": li["predicted"].upper()} if li["skin"] == BAD else li for li in lines]

    return changed(scene, change)


def again(lines: list[Line], spelling: str = "{}") -> list[Line]:
    """The bad group's images once more, with the right answer."""
    return [
        li | {"predicted": li["expression"], "file": spelling.format(li["file"])} for li in lines if li["skin"] == BAD
    ]


@attempt(KIND, "the bad group's images twice, first with right answers", 2, says="stands in an earlier row")
def twice_first(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [*again(lines), *lines])


@attempt(KIND, "the bad group's images twice, last with right answers", 2, says="stands in an earlier row")
def twice_last(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [*lines, *again(lines)])


SPELLINGS = {"./": "./{}", "a folder and back": "x/../{}", "two slashes": ".//{}", "white space": " {} "}


def _spelt(words: str, spelling: str) -> None:
    @attempt(KIND, f"right answers under the same path by another spelling, {words}", 2)
    def run(scene: Scene) -> Ran:
        return changed(scene, lambda lines: [*lines, *again(lines, spelling)])


for _words, _spelling in SPELLINGS.items():
    _spelt(_words, _spelling)


@attempt(KIND, "the bad group's rows under paths that are no image", 2, says="no such image")
def unknown_paths(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [li | {"file": f"x{li['file']}"} if li["skin"] == BAD else li for li in lines])


@attempt(KIND, "the images of train alone", 2, says="have no prediction")
def other_split(scene: Scene) -> Ran:
    train = [row | {"skin": "light"} for row in scene.stage.all_rows if row["split"] == "train"]
    scene.write([*train, *scene.rows()])
    put(scene, said(train))
    return judged(scene)


@attempt(KIND, "a header alone", 2, says="have no prediction")
def header(scene: Scene) -> Ran:
    return changed(scene, lambda lines: [])


@attempt(KIND, "an empty file", 2, says="is empty")
def nothing(scene: Scene) -> Ran:
    scene.write(scene.rows())
    (scene.folder / "said.csv").write_bytes(b"")
    return judged(scene)


@attempt(KIND, "a table cut in the middle of a row", 2)
def cut(scene: Scene) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    content = (scene.folder / "said.csv").read_bytes()
    (scene.folder / "said.csv").write_bytes(content[:-5])
    return judged(scene)


@attempt(KIND, "a quote that swallows the rows of the bad group", 2)
def quote(scene: Scene) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    rows = (scene.folder / "said.csv").read_text().splitlines()
    name, answer = rows[601].split(",")
    rows[601] = f'{name},"{answer}'
    (scene.folder / "said.csv").write_text("\n".join(rows) + '"\n')
    return judged(scene)


@attempt(KIND, "scores of the bad group that are no number", 2, says="not finite")
def nan_scores(scene: Scene) -> Ran:
    return of_bad(scene, SCORES, neutral="nan", smiling="nan")


@attempt(KIND, "infinite scores of the bad group", 2, says="not finite")
def infinite(scene: Scene) -> Ran:
    return of_bad(scene, SCORES, neutral="inf", smiling="inf")


@attempt(KIND, "empty scores of the bad group", 2, says="a score is missing")
def empty_scores(scene: Scene) -> Ran:
    return of_bad(scene, SCORES, neutral="", smiling="")


@attempt(KIND, "scores of one class of two", 2, says="none for 'smiling'")
def one_score(scene: Scene) -> Ran:
    return changed(scene, lambda lines: lines, SCORES[:2])


@attempt(KIND, "`predicted` right where the scores are wrong", 2, says="the scores say")
def disagreeing(scene: Scene) -> Ran:
    def change(lines: list[Line]) -> list[Line]:
        return [li | {"predicted": li["expression"]} for li in lines]

    return changed(scene, change, ("file", "predicted", "neutral", "smiling"))


@attempt(KIND, "the columns of scores with each other's names", 4, says="With the classes in reverse")
def swapped(scene: Scene) -> Ran:
    def change(lines: list[Line]) -> list[Line]:
        return [li | {"neutral": li["smiling"], "smiling": li["neutral"]} for li in lines]

    scene.write(scene.rows(bad=0))
    put(scene, change(said(scene.rows(bad=0))), SCORES)
    return judged(scene)


@attempt(KIND, "the columns of scores in another order, with their names", 1)
def other_order(scene: Scene) -> Ran:
    return changed(scene, lambda lines: lines, ("file", "smiling", "neutral"))


@attempt(KIND, "`predicted` twice in the header", 2, says="stand twice in the header")
def two_columns(scene: Scene) -> Ran:
    scene.write(scene.rows())
    lines = [f"{li['file']},{li['predicted']},{li['expression']}" for li in said(scene.rows())]
    (scene.folder / "said.csv").write_text("\n".join(["file,predicted,predicted", *lines]) + "\n")
    return judged(scene)


@attempt(KIND, "one class for all images", 4, says="not better than always answering")
def constant(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    put(scene, [li | {"predicted": "neutral"} for li in said(scene.rows(bad=0))])
    return judged(scene, "--max-gap", "0.3")


@attempt(KIND, "29 images of the bad group", 4, says="dark (29 images)")
def few(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    put(scene, said(scene.rows(bad=29)))
    return judged(scene)


@attempt(KIND, "blank groups of the bad images", 4, says="60 images in no group of skin")
def blank(scene: Scene) -> Ran:
    scene.write([row | {"skin": ""} if row["skin"] == BAD else row for row in scene.rows()])
    put(scene, said(scene.rows()))
    return judged(scene)


def against(scene: Scene, other: str, *gates: str) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    (scene.folder / "copy.csv").write_bytes((scene.folder / "said.csv").read_bytes())
    return judged(scene, "--against-predictions", other, *gates)


@attempt(KIND, "a table held against itself, by losses", 2, says="given twice")
def itself(scene: Scene) -> Ran:
    return against(scene, "said.csv", "--max-degradation", "0.01")


@attempt(KIND, "a table held against a copy of itself, by losses", 2, says="the same bytes")
def copy(scene: Scene) -> Ran:
    return against(scene, "copy.csv", "--max-degradation", "0.01")


@attempt(KIND, "a table held against a copy of itself, by churn", 2, says="the same bytes")
def copy_churn(scene: Scene) -> Ran:
    return against(scene, "copy.csv", "--max-churn", "0.01")


@attempt(KIND, "losses without the dense model's table", 2, says="--against-predictions")
def no_dense(scene: Scene) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    return judged(scene, "--max-degradation", "0.01")


@attempt(KIND, "a table beside a model", 2)
def and_a_model(scene: Scene) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    return scene.audit("--predictions", "said.csv", *GAP)


@attempt(KIND, "a dense model's table without the bad group, by losses", 2, says="(skin: dark 60)")
def dense_left_out(scene: Scene) -> Ran:
    scene.write(scene.rows())
    put(scene, said(scene.rows()))
    put(scene, [li for li in said(scene.rows()) if li["skin"] != BAD], name="dense.csv")
    return judged(scene, "--against-predictions", "dense.csv", "--max-degradation", "0.01")


@attempt(KIND, "Parquet with nulls for the bad group", 2)
def nulls(scene: Scene) -> Ran:
    import pyarrow
    from pyarrow import parquet

    scene.write(scene.rows())
    lines = said(scene.rows())
    answers = [None if li["skin"] == BAD else li["predicted"] for li in lines]
    columns = {"file": [li["file"] for li in lines], "predicted": answers}
    parquet.write_table(pyarrow.table(columns), scene.folder / "said.parquet")
    return judged(scene, name="said.parquet")


def of_two_tasks(scene: Scene) -> list[Line]:
    """Right for the first task, and for the second on all images but the bad group's."""
    rows = [flipped(row) if row["skin"] == BAD else row for row in scene.rows()]
    scene.write(rows)
    manifest = scene.folder / "manifest.yaml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith(("columns", "classes"))]
    lines += [
        "columns: {image: file, split: split}", "tasks:",
        "  face: {label: expression, classes: [neutral, smiling]}", "  sex: {label: gender, classes: [female, male]}",
    ]  # fmt: skip
    manifest.write_text("\n".join(lines) + "\n")
    other = {"female": "male", "male": "female"}
    return [
        {"file": row["file"], "predicted:face": row["expression"],
         "predicted:sex": other[row["gender"]] if row["skin"] == BAD else row["gender"]}
        for row in rows
    ]  # fmt: skip


@attempt(KIND, "the second of two tasks fails", 1, says="sex")
def second_task(scene: Scene) -> Ran:
    tasks = of_two_tasks(scene)
    put(scene, tasks, ("file", "predicted:face", "predicted:sex"))
    return judged(scene)


@attempt(KIND, "a task without predictions", 2, says="sex")
def missing_task(scene: Scene) -> Ran:
    put(scene, of_two_tasks(scene), ("file", "predicted:face"))
    return judged(scene)
