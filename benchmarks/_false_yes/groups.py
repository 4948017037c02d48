"""Groups that vanish before a gate sees them."""

from __future__ import annotations

from _false_yes.scene import BAD, GAP, Row, Scene, attempt
from tests.support.commands import Ran

KIND = "groups"


def blank(row: Row, word: str = "") -> Row:
    return row | {"skin": word} if row["skin"] == BAD else row


@attempt(KIND, "29 images of the bad group", 4, says="dark (29 images)")
def few(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    return scene.audit(*GAP)


@attempt(KIND, "one image of the bad group", 4, says="dark (1 image)")
def one(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=1))
    return scene.audit(*GAP)


@attempt(KIND, "29 images, and a gate on the worst group", 4, says="dark (29 images)")
def few_worst(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    return scene.audit("--policy", scene.policy("rules: [{attribute: skin, min_accuracy: 0.7}]\n"))


@attempt(KIND, "29 images, judged by the bare figure", 4, says="dark (29 images)")
def few_bare(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    return scene.audit(*GAP, "--point-estimate")


@attempt(KIND, "29 images, and a gap of the others that fails", 1)
def few_and_failing(scene: Scene) -> Ran:
    scene.write([*scene.rows(bad=60), *(row | {"skin": "tan"} for row in scene.stage.rows[700:729])])
    return scene.audit(*GAP)


@attempt(KIND, "29 images left out by --allow-small-groups, which every format names", 0, says="dark (29 images)")
def allowed(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    ran = scene.audit(*GAP, "--allow-small-groups", env={"GITHUB_ACTIONS": "true"})
    shown = [ran.out, ran.err]
    shown += [
        scene.fairprune("report", "out", "--to", to).out for to in ("md", "html", "json", "junit", "github", "card")
    ]
    named = all("dark" in text and "29" in text for text in shown)
    return Ran(ran.code, ran.out if named else "a format forgets it", ran.err)


@attempt(KIND, "too few smiling images of the bad group, by opportunity", 4, says="images labelled smiling")
def positives(scene: Scene) -> Ran:
    bad = [row for row in scene.rows(bad=200) if row["skin"] == BAD]
    smiling = [row for row in bad if row["expression"] == "smiling"][:20]
    scene.write([*scene.rows(bad=0), *smiling, *(row for row in bad if row["expression"] == "neutral")])
    return scene.audit(*GAP, "--notion", "opportunity")


@attempt(KIND, "the bad group's cells left blank", 4, says="60 images in no group of skin")
def blanked(scene: Scene) -> Ran:
    scene.write([blank(row) for row in scene.rows()])
    return scene.audit(*GAP)


@attempt(KIND, "the bad group's cells set to NA", 4, says="60 images in no group of skin")
def not_available(scene: Scene) -> Ran:
    scene.write([blank(row, "NA") for row in scene.rows()])
    return scene.audit(*GAP)


@attempt(KIND, "blank cells that the manifest says are dropped, which is told", 0, says="60 images in no group of skin")
def dropped(scene: Scene) -> Ran:
    scene.write([blank(row) for row in scene.rows()], "skin: {column: skin, missing: drop}")
    return scene.audit(*GAP)


@attempt(KIND, "blank cells as a group of their own", 1)
def unknown(scene: Scene) -> Ran:
    scene.write([blank(row) for row in scene.rows()], "skin: {column: skin, missing: unknown}")
    return scene.audit(*GAP)


@attempt(KIND, "29 blank cells as a group of their own", 4, says="unknown (29 images)")
def few_unknown(scene: Scene) -> Ran:
    scene.write([blank(row) for row in scene.rows(bad=29)], "skin: {column: skin, missing: unknown}")
    return scene.audit(*GAP)


@attempt(KIND, "every cell of the attribute blank", 2)
def all_blank(scene: Scene) -> Ran:
    scene.write([row | {"skin": ""} for row in scene.rows()])
    return scene.audit(*GAP)


@attempt(KIND, "the bad group not among `values`", 2)
def not_listed(scene: Scene) -> Ran:
    scene.write(scene.rows(), "skin: {column: skin, values: [light, medium]}")
    return scene.audit(*GAP)


@attempt(KIND, "the bad group outside the `bins`", 2)
def outside(scene: Scene) -> Ran:
    years = {"light": "20", "medium": "40", "dark": "90"}
    scene.write([row | {"age": years[row["skin"]]} for row in scene.rows()], "age: {column: age, bins: [0, 30, 60]}")
    return scene.audit(*GAP)


@attempt(KIND, "a listed group without an image", 2)
def listed_and_absent(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0), "skin: {column: skin, values: [light, medium, dark]}")
    return scene.audit(*GAP)


@attempt(KIND, "a table cut before the bad group, which the manifest lists", 2)
def cut(scene: Scene) -> Ran:
    scene.write(scene.rows(), "skin: {column: skin, values: [light, medium, dark]}")
    text = (scene.folder / "table.csv").read_text()
    (scene.folder / "table.csv").write_text("".join(text.splitlines(keepends=True)[:500]))
    return scene.audit(*GAP)


@attempt(KIND, "a table cut in the middle of a row", 2)
def cut_in_a_row(scene: Scene) -> Ran:
    scene.write(scene.rows())
    text = (scene.folder / "table.csv").read_text().splitlines(keepends=True)
    (scene.folder / "table.csv").write_text("".join(text[:500]) + text[500][:9])
    return scene.audit(*GAP)


@attempt(KIND, "a split in which the bad group has no image", 4, says="dark (0 images)")
def other_split(scene: Scene) -> Ran:
    rows = [row | {"split": "val"} if i < 300 else row for i, row in enumerate(scene.rows())]
    scene.write(rows)
    return scene.audit(*GAP, "--split", "val")


@attempt(KIND, "only one group left", 2)
def alone(scene: Scene) -> Ran:
    scene.write([row for row in scene.rows() if row["skin"] == "light"])
    return scene.audit(*GAP)


@attempt(KIND, "no attribute in the manifest", 2)
def no_attributes(scene: Scene) -> Ran:
    scene.write(scene.rows(), "")
    return scene.audit(*GAP)


@attempt(KIND, "an intersection of which the bad part is small", 4, says="dark*")
def intersection(scene: Scene) -> Ran:
    scene.write(
        [row | {"gender": "male" if i % 2 else "female"} if row["skin"] != BAD or i % 6 else row | {"gender": "male"}
         for i, row in enumerate(scene.rows(bad=40))],
        "skin: {column: skin}, gender: {column: gender}",
    )  # fmt: skip
    return scene.audit(*GAP, "--attr", "skin*gender")


@attempt(KIND, "an intersection of which a combination is nowhere", 4, says="tan*male (0 images)")
def absent_combination(scene: Scene) -> Ran:
    rows = scene.rows(bad=0)
    rows = [row | {"gender": "female", "skin": "tan"} if i < 80 else row for i, row in enumerate(rows)]
    rows = [row | {"gender": "male" if i % 2 else "female"} if i >= 80 else row for i, row in enumerate(rows)]
    scene.write(rows, "skin: {column: skin}, gender: {column: gender}")
    return scene.audit("--max-gap", "0.5", "--attr", "skin*gender")


@attempt(KIND, "five test images, all right", 4, says="only 5 images")
def five(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0)[:5], "")
    return scene.audit("--min-accuracy", "0.3")


@attempt(KIND, "two attributes in one word", 2)
def joined(scene: Scene) -> Ran:
    return scene.plain(*GAP, "--attr", "skin+gender")


@attempt(KIND, "groups of one image or more, which is told beside the verdict", 0, says="groups of 1 or more images")
def tiny(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.audit(*GAP, "--min-group", "1")
