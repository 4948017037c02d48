"""What the report says of changed predictions."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report.document import Heading, Note, Plot, Table
from fairprune_cli.report.sections import faithfulness
from fairprune_cli.report.view import View


def part(images: int, n: int, low: float, high: float) -> dict[str, Any]:
    return {"value": images / n, "low": low, "high": high, "images": images, "of": n}


def group(n: int, changed: int, p: float, times: float) -> dict[str, Any]:
    return {
        "n": n, "churn": part(changed, n, 0.01, 0.3), "lost": part(changed - 2, n, 0.0, 0.2),
        "gained": part(1, n, 0.0, 0.1), "otherwise": part(1, n, 0.0, 0.1), "among_changed": part(changed, 30, 0.1, 0.9),
        "representation": {"value": times, "low": times - 0.3, "high": times + 0.3},
        "mcnemar": {"p": p / 2, "adjusted": p},
        "shift": {"p": p / 2, "adjusted": p, "statistic": 9.0, "df": 1, "exact": True},
    }  # fmt: skip


def report(*models: str) -> dict[str, Any]:
    none = {"n": 0, "churn": None, "churn_undefined": "no images", "mcnemar": None, "shift": None}
    found = {
        "all": {"churn": part(30, 300, 0.07, 0.14)},
        "attributes": {
            "gender": {
                "groups": {"m": group(200, 10, 1.0, 0.5), "f": group(100, 20, 0.0004, 2.0), "none": none},
                "largest": {"value": 0.2, "low": 0.13, "high": 0.29, "group": "f"}, "small_groups": [],
            }
        },
    }  # fmt: skip
    return {"results": {"dense": {"accuracy": 0.9}, **{name: {"faithfulness": found} for name in models}}}


def bare(cells: list[str]) -> list[str]:
    return [cell.replace("\u00a0", " ") for cell in cells]


def test_each_group_has_its_counts_intervals_and_tests() -> None:
    section = faithfulness.build(View(report("pruned")))
    assert section is not None
    heading, plot, note, counts, tests = section.blocks
    assert heading == Heading("gender")
    assert isinstance(plot, Plot)
    (sentence,) = bare([plot.sentence])
    assert sentence == "10.0 % of all predictions changed; f changed most: 20.0 % (interval 13.0 to 29.0)."
    assert isinstance(note, Note)
    assert note.text == (
        "More often among the changed images than among all: f (2.00 times). "
        "The predicted classes moved, beyond chance, for f."
    )
    assert isinstance(counts, Table)
    assert isinstance(tests, Table)
    rows = {row[0]: bare(list(row[1:])) for row in counts.rows}
    assert rows["f"] == [
        "100", "20; 20.0 (1.0 to 30.0)", "18; 18.0 (0.0 to 20.0)", "1; 1.0 (0.0 to 10.0)", "1; 1.0 (0.0 to 10.0)",
    ]  # fmt: skip
    assert rows["none"][:2] == ["0", "undefined"]
    assert counts.note == "Undefined for none: no images."
    told = {row[0]: bare(list(row[1:])) for row in tests.rows}
    assert told["f"] == ["< 0.001", "< 0.001", "66.7 (10.0 to 90.0)", "2.00 (1.70 to 2.30)"]
    assert told["m"][:2] == ["1.000", "1.000"]
    assert told["none"] == ["–"] * 4


def test_the_plainest_flips_are_named_and_where_all_of_them_are() -> None:
    document = report("pruned")
    image = {
        "file": "a.png",
        "label": "no",
        "dense": "no",
        "predicted": "yes",
        "before": 0.9,
        "after": 0.2,
        "way": "lost",
    }
    document["exemplars"] = {
        "per_group": 10, "table": "changed.csv", "changed": {"pruned": {"gender": {"f": [image] * 5, "m": [image]}}},
    }  # fmt: skip
    section = faithfulness.build(View(document))
    assert section is not None
    table = section.blocks[-1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["f"] * 3 + ["m"]
    assert bare(list(table.rows[0])) == ["f", "a.png", "no", "no → yes", "90 % → 20 %"]
    assert table.note.endswith("changed.csv lists all.")


def test_several_models_stand_under_their_names_and_without_a_dense_one_nothing_does() -> None:
    section = faithfulness.build(View(report("a", "b")))
    assert section is not None
    assert [block.text for block in section.blocks if isinstance(block, Heading)] == ["gender, a", "gender, b"]
    assert faithfulness.build(View(report())) is None


def test_nothing_is_singled_out_that_chance_could_explain() -> None:
    document = report("pruned")
    found = document["results"]["pruned"]["faithfulness"]["attributes"]["gender"]
    found["groups"] = {"m": group(200, 10, 0.06, 1.2), "f": group(100, 5, 0.3, 0.9)}
    found["largest"], found["largest_undefined"] = None, "no group has 30 images"
    section = faithfulness.build(View(document))
    assert section is not None
    assert not [block for block in section.blocks if isinstance(block, Note)]
    plots = [block for block in section.blocks if isinstance(block, Plot)]
    assert plots[0].sentence.endswith("changed. No group has enough images for a figure of its own.")
