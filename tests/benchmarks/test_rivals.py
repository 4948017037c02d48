"""The comparison with rivals: its figures and intervals, its rows, and that tuning reads nothing that is measured."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from fairprune_cli.compare import grid as typing_of_settings
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.fairness import notions
from fairprune_cli.pruning import methods
from fairprune_cli.run.idle import idle
from fairprune_cli.run.options import resolve

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
figures_of = importlib.import_module("_rivals_statistics")
data = importlib.import_module("_rivals_data")
grids = importlib.import_module("_rivals_grids")
runs = importlib.import_module("_rivals_runs")
archives = importlib.import_module("_rivals_archive")
cells = importlib.import_module("_rivals_cells")
documents = importlib.import_module("_rivals_documents")
pages = importlib.import_module("_rivals_page")
tuning = importlib.import_module("_rivals_tuning")
verdicts = importlib.import_module("_rivals_verdicts")
script = importlib.import_module("rivals")
ACCURACY, WORST = figures_of.FIGURES.index("accuracy"), figures_of.FIGURES.index("worst")


def counted(*groups: list[list[int]]) -> np.ndarray:
    """[1, G + 1, K, K] of counts by group, nobody being in none."""
    return np.array([[*groups, np.zeros_like(groups[0])]], dtype=float)


def test_figures_are_those_counted_by_hand() -> None:
    dense = counted([[40, 10], [0, 50]], [[10, 0], [2, 8]])  # .9 of each
    pruned = counted([[40, 10], [10, 40]], [[9, 1], [5, 5]])  # .8 and .7; of all 94 of 120
    found = dict(zip(figures_of.FIGURES, figures_of.figures(pruned, dense)[0], strict=True))
    assert found["accuracy"] == pytest.approx(94 / 120)
    assert found["gap"] == pytest.approx(0.1)
    assert found["odds"] == pytest.approx(0.3)  # recall of the second label: .8 and .5
    assert found["psi"] == pytest.approx((0.9 - 0.7) - (108 / 120 - 94 / 120))
    assert found["worst"] == pytest.approx(0.7)


def test_odds_and_gap_are_those_of_the_tool() -> None:
    counts = np.random.default_rng(0).integers(1, 40, (5, 5, 3, 3)).astype(float)
    found = figures_of.figures(counts, counts)
    for figure, notion in (("odds", "odds"), ("gap", "accuracy")):
        wanted = [notions.get(notion, 3).exact(one[:-1]) for one in counts]
        np.testing.assert_allclose(found[:, figures_of.FIGURES.index(figure)], wanted)
    np.testing.assert_allclose(found[:, ACCURACY], np.einsum("bgyy->b", counts) / counts.sum((1, 2, 3)))


def test_holm_by_hand() -> None:
    assert figures_of.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert figures_of.holm([0.6, 0.7]) == [1.0, 1.0]


def draw_of(right: dict[str, np.ndarray]) -> Any:
    """A draw in which all labels are 0 and a prediction is right where it is told so, [S, n]; two groups by turns."""
    n = next(iter(right.values())).shape[1]
    predicted = {method: np.where(of, 0, 1) for method, of in right.items()}
    return figures_of.DrawRuns(np.zeros(n, dtype=int), np.arange(n) % 2, predicted)


def test_over_images_alone_the_error_is_the_binomial_one_and_pairs_are_kept() -> None:
    n = 1000
    dense = (np.arange(n) % 10 > 0)[None]  # .9
    pruned = dense & (np.arange(n) % 25 != 3)  # another 40 are wrong
    cell = figures_of.Cell([draw_of({"dense": dense, "a": pruned})], 2000)
    assert cell.spread("dense", "accuracy")["se"] == pytest.approx((0.9 * 0.1 / n) ** 0.5, rel=0.06)
    lost = float(np.mean(dense & ~pruned))
    difference = cell.difference("a", "dense", "accuracy")
    assert difference["mean"] == pytest.approx(-lost)
    assert difference["se"] == pytest.approx(((lost - lost**2) / n) ** 0.5, rel=0.06)
    assert difference["high"] < 0
    assert difference["p"] == pytest.approx(2 * stats.norm.sf(lost / difference["se"]))
    same = figures_of.Cell([draw_of({"dense": dense, "a": dense})], 50).difference("a", "dense", "gap")
    assert (same["mean"], same["se"], same["p"]) == (0.0, 0.0, 1.0)


def test_between_seeds_and_between_draws_variance_is_that_of_a_sample() -> None:
    n = 20_000  # so many that images hardly vary

    def shares(*of: float) -> np.ndarray:
        return np.arange(n)[None, :] * 7919 % n < n * np.array(of)[:, None]

    seeds = np.array([0.70, 0.74, 0.81])
    one = figures_of.Cell([draw_of({"dense": shares(1, 1, 1), "a": shares(*seeds)})], 1000)
    record = one.difference("a", "dense", "accuracy")
    assert record["se"] == pytest.approx(seeds.std(ddof=1) / 3**0.5, rel=0.1)
    assert (record["high"] - record["mean"]) / record["se"] == pytest.approx(stats.t.ppf(0.975, 2), rel=0.004)

    draws = np.array([0.6, 0.7, 0.85])
    many = figures_of.Cell([draw_of({"dense": shares(1, 1), "a": shares(x, x)}) for x in draws], 200)
    record = many.difference("a", "dense", "accuracy")
    assert record["mean"] == pytest.approx(draws.mean() - 1)
    assert record["se"] == pytest.approx(draws.std(ddof=1) / 3**0.5, rel=0.02)
    assert (record["high"] - record["mean"]) / record["se"] == pytest.approx(stats.t.ppf(0.975, 2), rel=0.05)
    assert record["over_runs"]["high"] < record["high"]  # runs of one draw are not as many draws


def test_quantiles_are_weighted_by_what_varies_and_p_is_where_the_interval_ends() -> None:
    parts = [(1.0, math.inf), (3.0, 2), (0.0, 1)]
    by_hand = 0.25 * 1.959964 + 0.75 * 4.302653  # of the normal and of Student's distribution with 2 degrees
    assert figures_of.quantile(parts, 0.025) == pytest.approx(by_hand, abs=1e-6)
    assert figures_of.two_sided(parts, by_hand) == pytest.approx(0.05, rel=1e-6)
    assert figures_of.two_sided(parts, 0.0) == 1.0
    assert figures_of.two_sided([(1.0, math.inf)], 3.0) == pytest.approx(2 * stats.norm.sf(3.0))
    assert figures_of.two_sided([(1.0, math.inf)], 1e6) == 0.0


class Drawn(figures_of.Measured):  # type: ignore[misc]
    """Figures as they fall out where draws, seeds and images vary normally, by so much beside the images' 1."""

    def __init__(self, draws: int, seeds: int, of_draws: float, of_seeds: float, chance: np.random.Generator) -> None:
        means = chance.normal(size=draws) + of_draws * chance.normal(size=draws)
        found = means[:, None] + of_seeds * chance.normal(size=(draws, seeds))
        spread = 1 + found.var(axis=1, ddof=1) / seeds  # what the bootstrap of a draw comes to
        self._resampled = np.sqrt(spread)[:, None] * np.array([-1.0, 1.0]) / 2**0.5
        runs_of = np.repeat(found.reshape(-1, 1), 5, 1)
        super().__init__({"a": runs_of, "none": 0 * runs_of}, np.repeat(np.arange(draws), seeds))

    @property
    def resampled(self) -> dict[str, np.ndarray]:
        found = np.repeat(self._resampled[:, :, None], 5, 2)
        return {"a": found, "none": 0 * found}


@pytest.mark.parametrize(
    ("draws", "seeds", "of_draws", "of_seeds"), [(1, 3, 0, 1), (1, 5, 0, 4), (3, 3, 0, 1), (3, 3, 2, 0), (3, 3, 4, 1)]
)
def test_intervals_hold_for_few_seeds_and_draws(draws: int, seeds: int, of_draws: float, of_seeds: float) -> None:
    chance, times = np.random.default_rng(0), 600
    found = [Drawn(draws, seeds, of_draws, of_seeds, chance).difference("a", "none", "gap") for _ in range(times)]
    held = float(np.mean([record["low"] < 0 < record["high"] for record in found]))
    assert held > 0.95 - 3 * (0.95 * 0.05 / times) ** 0.5


def test_no_interval_of_a_gap_goes_below_none_at_all() -> None:
    once = np.arange(200)[None] > 0
    record = figures_of.Cell([draw_of({"dense": once, "a": once})], 300).spread("a", "gap")
    assert record["low"] == 0 < record["mean"] < record["high"] < 0.2


def table_of(rows: list[tuple[str, str, str]]) -> str:
    return "file,person,split\n" + "".join(f"{file},{person},{split}\n" for file, person, split in rows)


@pytest.mark.parametrize("key", ["person", "file"])
def test_carved_data_shares_no_image_and_no_person_with_the_test_split(key: str) -> None:
    splits = [("train", 2000), ("val", 300), ("test", 400)]
    rows = [(f"{split}{i}.jpg", f"{split}-{i // 3}", split) for split, count in splits for i in range(count)]
    carved = list(csv.DictReader(data.carve(table_of(rows), key, 0.25, {row[0] for row in rows}).splitlines()))
    measured = [row for row in rows if row[2] == "test"]
    assert {row["file"] for row in carved} == {row[0] for row in rows} - {row[0] for row in measured}
    assert {row["person"] for row in carved}.isdisjoint(row[1] for row in measured)
    audited = {row[key] for row in carved if row["split"] == "test"}
    assert audited.isdisjoint(row[key] for row in carved if row["split"] != "test")
    assert len([row for row in carved if row["split"] == "test"]) / 2000 == pytest.approx(0.25, abs=0.05)
    assert len([row for row in carved if row["split"] == "val"]) == 300


def test_real_data_for_tuning_has_its_own_table_and_what_is_absent_is_left_out_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "root" / "lfw-smile"
    source.mkdir(parents=True)
    (source / "manifest.yaml").write_text(
        "version: 1\nname: faces\ntable: table.csv\n"
        "columns: {image: file, label: label, split: split, person: person}\n"
        "classes: [no, yes]\nattributes: {gender: {column: gender}}\n"
        "transform: {size: 8, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
    )
    table = ["file,label,gender,person,split"]
    for number, split in enumerate(("train", "train", "val", "test", "train", "val", "test", "train")):
        name = f"{number}.png"
        # The picture of 1, in train, is that of 6, in test.
        Image.new("RGB", (8, 8), (40 * (6 if number == 1 else number), 0, 0)).save(source / name)
        table.append(f"{name},{('no', 'yes')[number % 2]},{('men', 'women')[number // 4]},p{number},{split}")
    (source / "table.csv").write_text("\n".join(table))
    monkeypatch.setenv("FAIRPRUNE_DATA_ROOT", str(tmp_path / "root"))
    task = data.TASKS["lfw-smile"]
    (for_tuning,), _ = data.draws_of(task, tmp_path / "work", 1, True)
    (measured,), _ = data.draws_of(task, tmp_path / "work", 1, False)
    assert for_tuning.images != measured.images
    left = [line.split(",")[0] for line in (for_tuning.manifest.parent / "table.csv").read_text().splitlines()[1:]]
    assert left == ["0.png", "2.png", "4.png", "5.png", "7.png"]
    assert str(source / "table.csv") in measured.manifest.read_text()
    assert "duplicates: drop" in measured.manifest.read_text()
    none, why = data.draws_of(data.TASKS["utkface-gender-by-race"], tmp_path / "work", 1, False)
    assert not none
    assert "left out" in why


def test_bands_of_an_attribute_become_the_label() -> None:
    content = {
        "columns": {"image": "file", "label": "gender"}, "classes": ["male", "female"],
        "attributes": {"age": {"column": "years", "bins": ["0", "10", "20"]}, "race": {"column": "race"}},
    }  # fmt: skip
    text, made = data.with_bands("file,years\na,0\nb,9\nc,10\nd,19\n", content, "age")
    assert [row["band"] for row in csv.DictReader(text.splitlines())] == ["0 to 10"] * 2 + ["10 to 20"] * 2
    assert made["columns"] == {"image": "file", "label": "band"}
    assert made["classes"] == ["0 to 10", "10 to 20"]
    assert list(made["attributes"]) == ["race"]


def test_in_one_cell_of_each_data_set_all_rows_are_measured_and_in_the_others_those_that_are_rivals_everywhere() -> (
    None
):
    args = SimpleNamespace(tune=False, ladder=False, methods=None)
    rows = {name: (row, row.settings({})) for name, row in grids.ROWS.items()}
    for task in data.TASKS.values():
        whole = [cell for cell in task.cells if list(script.in_cell(args, task, cell, "odds", rows)) == list(rows)]
        assert whole == (list(grids.ONE_CELL[task.family]) if task.measures_all else [])
        asked = {cell: script.notions_of(args, task, cell) for cell in task.cells}
        assert {cell for cell, of in asked.items() if of == task.notions} >= set(grids.ONE_CELL[task.family])
        assert all(of[0] == task.notions[0] for of in asked.values())
    families = [task.family for task in data.TASKS.values() if task.measures_all]
    assert sorted(families) == sorted({task.family for task in data.TASKS.values()})
    few = script.in_cell(args, data.TASKS["faces"], "weight:0.9", "accuracy", rows)
    assert {"magnitude", "bip", "balanced", "group-dro", "bifp"} == set(few)


def test_our_other_target_is_measured_where_it_is_not_the_default_already() -> None:
    args = SimpleNamespace(tune=False, ladder=False, methods=None)
    rows = {name: (row, row.settings({})) for name, row in grids.ROWS.items()}
    ours, task = methods.get(grids.OURS), data.TASKS["lfw-smile"]
    for notion in task.notions:
        there = "bifp, absolute" in script.in_cell(args, task, "weight:0.95", notion, rows)
        assert there == ours.to_dense("method", notions.get(notion, 2).compares)


def test_a_row_that_is_tuned_as_another_has_its_grid_and_takes_its_choice(tmp_path: Path) -> None:
    for row in grids.ROWS.values():
        if row.tuned_as:
            assert row.grid == grids.ROWS[row.tuned_as].grid
            assert grids.ROWS[row.tuned_as].tuned
    path = tmp_path / "tuning.json"
    best = dict(grids.ROWS["dfr"].grid[3])
    path.write_text(json.dumps({"rows": {"dfr": {"chosen": best}}}))
    chosen, _ = script.choices(SimpleNamespace(tune=False, ladder=False, tuning=str(path), methods=["dfr"]))
    assert chosen == {"dfr": best, "dfr, magnitude": best}


def test_every_row_reads_its_settings_and_has_a_grid_like_the_others() -> None:
    for row in (*grids.ROWS.values(), *grids.LADDER.values()):
        for number, chosen in enumerate(row.grid):
            given = {key: typing_of_settings.typed(key, value) for key, value in row.settings(chosen).items()}
            settings = resolve({**given, "method": row.method, "data": "m.yaml"}, {}, None).settings
            assert list(idle(given, settings, "prune", (row.method,))) == []
            if not number and chosen:  # the tool's defaults are tried first
                default = resolve({"method": row.method, "data": "m.yaml"}, {}, None).settings
                assert all(getattr(default, key) == given[key] for key in chosen)
        method = methods.get(row.method)
        own = method.dual.notion and "method_notion" not in row.fixed
        assert row.asked == ((method.constrained and not own) or "group_thresholds" in row.fixed)
    assert {len(row.grid) for row in grids.ROWS.values()} == {1, 4}
    assert {row.name for row in grids.ROWS.values() if len(row.grid) == 1} == {
        "bifp",
        "bifp, absolute",
        "bifp, constraint on the weights alone",
        "bifp, constraint on the mask alone",
        "bifp, group thresholds",
        "fairgrape, own budget",
    }


def tried(row: str, setting: int, family: str, worst: float, run: int = 0, cell: str = "c", task: str = "") -> Any:
    figures = np.zeros(5)
    figures[WORST] = worst
    return tuning.Tried(row, setting, (family, task or family, cell, "accuracy"), ("d", run), figures)


def test_tuning_picks_the_best_and_each_data_set_counts_alike() -> None:
    values = {"a": ({"x": "1"}, {"x": "2"}, {"x": "3"})}
    runs_of = [tried("a", 0, "faces", 0.9, cell=cell) for cell in "cdefg"] + [tried("a", 0, "lfw", 0.5)]
    runs_of += [tried("a", 1, "faces", 0.8, cell=cell) for cell in "cdefg"] + [tried("a", 1, "lfw", 0.7)]
    runs_of += [tried("a", 2, "faces", 0.99)]  # the rest has not run
    found = tuning.choose(runs_of, values)["a"]
    assert found["chosen"] == {"x": "2"}
    assert [entry["score"] for entry in found["tried"]] == [pytest.approx(0.7), pytest.approx(0.75), None]
    even = tuning.choose([tried("a", i, "faces", 0.8) for i in range(3)], values)["a"]
    assert even["chosen"] == {"x": "1"}
    assert tuning.score(np.array([0.9, 0.2, 0.3, 0.1, 0.7]), "odds") == pytest.approx(0.6)
    assert tuning.score(np.array([0.9, 0.2, 0.3, 0.1, 0.7]), "accuracy") == pytest.approx(0.7)


def test_choices_of_another_grid_are_refused_and_rows_without_one_are_named(tmp_path: Path) -> None:
    def args(chosen: dict[str, dict[str, str]], rate: str = "") -> Any:
        path = tmp_path / "tuning.json"
        path.write_text(json.dumps({"rows": {row: {"chosen": values} for row, values in chosen.items()}}))
        return SimpleNamespace(tune=False, ladder=False, tuning=str(path), methods=["bip", "dfr"], lr=rate)

    best = dict(grids.ROWS["bip"].grid[2])
    chosen, words = script.choices(args({"bip": best}))
    assert script.rows_of(args({}), chosen)["bip"][1] == best
    assert words.endswith("their defaults: dfr.")
    assert script.rows_of(args({}, "0.02"), chosen)["bip"][1] == {**best, "lr": "0.02"}
    with pytest.raises(FairpruneError, match="tune again"):
        script.choices(args({"bip": {"rho": "7"}}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cells", "bogus"], "GRANULARITY:SPARSITY"), (["--cells", "weight:1.5"], "share below 1"),
        (["--cells", "nosuch:0.9"], "channel, weight, 2:4"), (["--notions", "nosuch"], "accuracy, odds"),
        (["--arch", "nosuch"], "no architecture"), (["--methods", "bifb"], "one of magnitude"),
        (["--seeds", "0"], "1 or more"), (["--data-seeds", "-2"], "1 or more"),
        (["--tuning", "nowhere.json"], "no such file"),
        (["--ladder", "--lr", "0.1"], "rates of their own"), (["--data", "celeba"], "one of faces"),
        (["--data", "utkface"], "none of these data"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.delenv("FAIRPRUNE_DATA_ROOT", raising=False)
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["rivals.py", "--gather", *folders, *words])
    with pytest.raises(FairpruneError, match=said) as refused:
        script.main()
    assert refused.value.code == ExitCode.BAD_INPUT
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_was_cut_is_named_with_its_line(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bifp"], seeds=1)
    path = tmp_path / "runs.jsonl"
    archives.archive(part.jobs(), place, path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FairpruneError, match=r"runs\.jsonl: line 2 is not a run"):
        archives.restore(runs.Place(tmp_path / "other", "net", 1), path)


def place_with_runs(tmp_path: Path, task: str, notion: str, rows: list[str], seeds: int = 3) -> Any:
    """A place in which every row has predicted classes, the later in the list the more errors; (part, place)."""
    chance = np.random.default_rng(0)
    place = runs.Place(tmp_path, "net", 1)
    draw = data.Draw(data.TASKS[task], "images", tmp_path / "manifest.yaml")
    named = {name: (grids.ROWS[name], grids.ROWS[name].settings({})) for name in rows}
    part = cells.Part(data.TASKS[task], [draw], range(seeds), "weight:0.9", notion, named)
    labels, groups = chance.integers(0, 2, 600), chance.integers(0, 2, 600)
    for seed in part.seeds:
        paths = [place.dense_classes(draw, seed), *(part.job(draw, seed, row).classes(place) for row in rows)]
        for number, path in enumerate(paths):
            wrong = chance.random(600) < 0.05 + 0.04 * number * (1 + groups)
            predicted = np.where(wrong, 1 - labels, labels)
            cost = json.dumps({"passes": 100 * number, "seconds": 5.0, "machine": "m"})
            truth = {"labels": labels, "groups": groups, "names": np.array(["men", "women"])}
            runs.write_run(path, {"predicted": predicted, **({"cost": np.array(cost)} if number else truth)})
    return part, place


def test_a_cell_has_all_rows_that_are_complete_and_compares_ours_with_each(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bifp", "bip", "balanced", "magnitude"])
    part.job(part.draws[0], 2, "balanced").classes(place).unlink()
    found = documents.measured([part], place, 200)
    [cell] = found["cells"]
    assert list(cell["methods"]) == ["dense", "bifp", "bip", "magnitude"]
    assert cell["incomplete"] == {"balanced": 2}
    assert {record["rival"] for record in cell["differences"]} == {"bip", "magnitude"}
    assert cell["best"] == {"accuracy": "bip", "gap": "bip", "worst": "bip"}
    assert cell["verdict"]["best"] == {"gap": "bip", "worst": "bip"}
    assert cell["verdict"]["near"]
    facts = {
        "name": "trial", "arch": "net", "dense_epochs": 1, "left_out": ["lfw-smile is left out."], "machines": ["m"],
        "confidence": 0.95, "resamples": 200, "tuning_words": "Nothing was tuned.", "lr": "0.02",
    }  # fmt: skip
    document = json.loads(json.dumps(documents.with_adjusted({**facts, **found}), allow_nan=False))
    assert document["comparisons"] == 6
    assert all(record["holm"] >= record["p"] for record in document["cells"][0]["differences"])
    text = pages.measured_page(document)
    assert "6 comparisons are made" in text
    assert "for 1 epoch, all at a learning rate of 0.02." in text
    assert "balanced is left out: 2 of 3 runs are there." in text
    assert "1 of 1 cells" in text
    assert "| magnitude |" in text


def test_the_mean_over_cells_is_that_of_each_run_and_keeps_them_paired(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bifp", "bip", "balanced"])
    twin = dataclasses.replace(part, cell="channel:0.9")
    for job, other in zip(part.jobs(), twin.jobs(), strict=True):
        if job.row.name != "balanced":  # is in one cell alone
            runs.write_run(other.classes(place), runs.read_run(job.classes(place)))
    found = documents.measured([part, twin], place, 300)
    one = found["cells"][0]
    [mean] = found["means"]
    assert mean["cells"] == ["weight:0.9", "channel:0.9"]
    assert list(mean["methods"]) == ["dense", "bifp", "bip"]
    # Cells of the same runs tell nothing new: the mean of both is that of one, with the same interval.
    assert mean["methods"]["bip"] == one["methods"]["bip"]["figures"]
    assert mean["differences"] == [record for record in one["differences"] if record["rival"] == "bip"]
    # With more errors in one cell of all runs, the mean is half of them away.
    dense = np.ones((2, 100), dtype=bool)
    two = [{"dense": dense, "a": dense & (np.arange(100) >= lost)} for lost in (10, 30)]
    other = figures_of.Average([figures_of.Cell([draw_of(of)], 50) for of in two])
    assert other.spread("a", "accuracy")["mean"] == pytest.approx(0.8)
    part.job(part.draws[0], 2, "bifp").classes(place).unlink()
    assert documents.measured([part, twin], place, 50)["means"] == []  # other runs than the twin's


def test_runs_of_other_arithmetic_have_a_folder_and_an_archive_of_their_own(tmp_path: Path) -> None:
    cpu, cuda = (runs.Place(tmp_path, "net", 1, device=device) for device in ("cpu", "cuda:0"))
    assert cpu.folder == tmp_path / "net-1"
    assert archives.archive_of(tmp_path, cuda) == tmp_path / "rivals-runs-net-1-cuda.jsonl"
    ladder = runs.Place(tmp_path, "net", 1, ladder=True)
    assert archives.archive_of(tmp_path, ladder) == tmp_path / "rivals-runs-net-1-ladder.jsonl"


def test_tables_are_the_same_from_the_runs_that_were_kept(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path / "here", "faces", "accuracy", ["bifp", "bip"])
    path = archives.archive_of(tmp_path / "results", place)
    one, *others = part.jobs()
    archives.archive([one], place, path)
    archives.archive(others, place, path)
    elsewhere = runs.Place(tmp_path / "elsewhere", "net", 1)
    archives.restore(elsewhere, path)
    again = documents.measured([part], elsewhere, 50)
    assert again == documents.measured([part], place, 50)
    assert again["cells"][0]["methods"]["bip"]["passes"] == 200
    # What is removed there afterwards is to be done anew.
    others[0].classes(elsewhere).unlink()
    archives.restore(elsewhere, path)
    assert not others[0].classes(elsewhere).exists()


@pytest.mark.parametrize("same", [True, False])
def test_runs_that_were_kept_stand_beside_others_of_the_same_dense_model_alone(tmp_path: Path, same: bool) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bifp", "bip"], seeds=2)
    draw, left = part.draws[0], part.job(part.draws[0], 0, "bip")
    place.dense_model(draw, 1).touch()
    left.classes(place).unlink()
    dense = runs.read_run(place.dense_classes(draw, 0))

    def trained(draw: Any, seed: int, place: Any) -> None:
        new = tmp_path / "new.npz"
        runs.write_run(new, dense if same else {**dense, "predicted": 1 - dense["predicted"]})
        runs.take_dense(new, draw, seed, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train_dense", trained)
        patch.setattr(runs, "_run", lambda job, place: runs.write_run(job.classes(place), {"predicted": np.zeros(600)}))
        runs.complete([left], place)
    assert [job.classes(place).exists() for job in part.jobs()] == [same, True, True, True]
    assert np.array_equal(runs.read_run(place.dense_classes(draw, 0))["predicted"] == dense["predicted"], [same] * 600)


def test_runs_of_another_dense_model_are_kept_no_longer(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bifp", "bip"], seeds=2)
    path, draw = tmp_path / "runs.jsonl", part.draws[0]
    archives.archive(part.jobs(), place, path)
    again, gone = part.job(draw, 0, "bip"), part.job(draw, 0, "bifp")
    gone.classes(place).unlink()
    archives.archive([again], place, path)
    assert len(path.read_text("utf-8").splitlines()) == 6

    dense = runs.read_run(place.dense_classes(draw, 0))
    runs.write_run(place.dense_classes(draw, 0), {**dense, "predicted": 1 - dense["predicted"]})
    archives.archive([again], place, path)
    names = {json.loads(line)["run"] for line in path.read_text("utf-8").splitlines()}
    left = [job.classes(place) for job in part.jobs() if job.folder(place) != gone.folder(place)]
    dense_files = {place.dense_classes(draw, seed) for seed in (0, 1)}
    assert names == {file.relative_to(place.folder).as_posix().removesuffix(".npz") for file in {*left, *dense_files}}


def test_the_part_that_is_the_default_has_the_defaults() -> None:
    bifp, settings = methods.get("bifp"), resolve({"method": "bifp", "data": "m.yaml"}, {}, None).settings
    row = grids.LADDER[grids.OURS_PART]
    assert row.method == "bifp"
    assert row.fixed == {"multiplier_start": settings.multiplier_start, "operating_point": bifp.operating_point}


def test_pages_become_one_with_titles_one_level_lower() -> None:
    page = pages.results_page(["# A\n\n## B\n\n| # | x |\n", "# C\n"])
    assert [line for line in page.splitlines() if line.startswith("#")] == ["# Results", "## A", "### B", "## C"]
    assert "| # | x |" in page


def test_a_part_of_the_ladder_is_held_against_the_row_before(tmp_path: Path) -> None:
    part, place = place_with_runs(tmp_path, "lfw-smile", "odds", ["magnitude", "bip"])
    cell = documents.ladder_cell(part, place, 100)
    assert [(r["part"], r["before"]) for r in cell["differences"][::2]] == [
        ("magnitude", "dense"),
        ("bip", "magnitude"),
    ]
    document = documents.with_adjusted({
        "name": "trial", "arch": "net", "dense_epochs": 1, "left_out": [], "machines": [], "confidence": 0.95,
        "resamples": 100, "tuning_words": "", "lr": "", "parts": ["magnitude", "bip", "bifp"], "cells": [cell],
    })  # fmt: skip
    page = pages.ladder_page(document)
    assert "| bifp | not measured |" in page
    assert f"Runs in a cell: {part.task.name}, {part.cell}: {len(part.seeds)}." in page


def difference(mean: float, half: float, rival: str = "bip", figure: str = "accuracy") -> dict[str, Any]:
    return {"rival": rival, "figure": figure, "mean": mean, "low": mean - half, "high": mean + half, "se": half / 2}


@pytest.mark.parametrize(
    ("gap", "worst", "accuracy", "yes"),
    [
        ((-0.03, 0.01), (-0.01, 0.02), 0.0, True),  # ahead in the gap
        ((0.01, 0.02), (-0.004, 0.02), 0.0, True),  # near, never behind
        ((0.03, 0.04), (-0.004, 0.02), 0.0, False),  # the gap is more than half as large again
        ((-0.03, 0.01), (-0.02, 0.01), 0.0, False),  # ahead in one, behind in the other
        ((-0.03, 0.01), (0.0, 0.01), -0.006, False),  # accuracy
    ],
)
def test_against_the_best_rival(gap: tuple[float, ...], worst: tuple[float, ...], accuracy: float, yes: bool) -> None:
    figures = {"gap": {"mean": 0.04}, "worst": {"mean": 0.9}}
    cell = {
        "best": {"gap": "balanced", "worst": "balanced"},
        "methods": {"balanced": {"figures": figures}, "bip": {"figures": figures}},
        "differences": [
            difference(*gap, "balanced", "gap"), difference(*worst, "balanced", "worst"), difference(accuracy, 0.02)
        ],
    }  # fmt: skip
    assert verdicts.against_the_best(cell)["yes"] == yes


@pytest.mark.parametrize(
    ("widened", "ours", "to_bip", "yes"),
    [
        (0.02, 0.069, 0.0, True),  # at most .7 of .1
        (0.02, 0.071, 0.0, False),
        (0.009, 0.1, 0.0, True),  # nothing widened, and as bip
        (0.009, 0.1, 0.03, False),  # beyond bip with the interval
    ],
)
def test_against_magnitude(widened: float, ours: float, to_bip: float, yes: bool) -> None:
    means = {"dense": 0.08, "bifp": ours, "magnitude": 0.1, "bip": 0.1}
    cell = {
        "notion": "odds", "widened": difference(widened, 0.02), "best": {},
        "methods": {name: {"figures": {"odds": {"mean": mean}}} for name, mean in means.items()},
        "differences": [difference(to_bip, 0.02, figure="odds"), difference(0.0, 0.01)],
    }  # fmt: skip
    assert verdicts.against_magnitude(cell)["yes"] == yes


def test_a_row_that_no_notion_changes_runs_once_for_all_of_them(tmp_path: Path) -> None:
    draw = data.Draw(data.TASKS["lfw-smile"], "images", tmp_path / "manifest.yaml")
    named = {name: (grids.ROWS[name], grids.ROWS[name].settings({})) for name in ("magnitude", "bifp")}
    parts = [cells.Part(draw.task, [draw], range(2), "weight:0.9", notion, named) for notion in ("odds", "accuracy")]
    jobs = script.in_order(parts)
    assert [job.row.name for job in jobs].count("magnitude") == 2
    assert [job.row.name for job in jobs].count("bifp") == 4
    place = runs.Place(tmp_path, "net", 1)
    words = {job.row.name: job.command(place) for job in jobs}
    assert "--notion" not in words["magnitude"]
    assert words["bifp"][words["bifp"].index("--notion") + 1] == "accuracy"


def test_a_failure_is_kept_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, place = place_with_runs(tmp_path, "faces", "accuracy", ["bip"], seeds=1)
    job = part.job(part.draws[0], 0, "bip")
    job.classes(place).unlink()
    place.dense_model(part.draws[0], 0).touch()
    calls = []

    def fails(command: list[str], **_: Any) -> Any:
        calls.append(command)
        return SimpleNamespace(returncode=2, stderr="no such file")

    monkeypatch.setattr(runs.subprocess, "run", fails)
    for _ in range(2):
        runs.complete([job], place)
    assert len(calls) == 1
    assert "no such file" in job.failure(place).read_text()
