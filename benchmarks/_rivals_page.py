"""The tables of benchmarks/rivals.py as Markdown: figures in points, intervals in brackets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from _rivals_cells import TARGET
from _rivals_grids import DENSE, OURS, OURS_PART
from _rivals_statistics import FIGURES
from _rivals_tuning import SCORE

from fairprune_cli.report import as_markdown, words
from fairprune_cli.report.document import Column, Table

TITLES = {"accuracy": "accuracy", "gap": "accuracy gap", "odds": "odds gap", "psi": "largest psi", "worst": "worst"}
Record = Mapping[str, Any]


def points(record: Record, signed: bool = False) -> str:
    """Mean and interval of shares, in points."""
    if record["mean"] is None:
        return "undefined"
    form = "+.1f" if signed else ".1f"
    return f"{100 * record['mean']:{form}} [{100 * record['low']:{form}}, {100 * record['high']:{form}}]"


def measured_page(document: Record) -> str:
    """The whole page."""
    lines = [f"# Rivals of {OURS}: {document['name']}", "", *_facts(document), ""]
    lines += [*_verdicts(document), *_overview(document)]
    for cell in document["cells"]:
        lines += [f"## {cell['task']}, {cell['cell']}, asked for {cell['notion']}", "", *_cell(cell)]
    return "\n".join(lines).rstrip() + "\n"


def _facts(document: Record) -> list[str]:
    texts = [
        f"{document['arch']}, dense models trained for {words.plural(document['dense_epochs'], 'epoch')}"
        f"{', all at a learning rate of ' + document['lr'] if document['lr'] else ''}. "
        f"{document['tuning_words']}",
        f"Intervals of {100 * document['confidence']:.0f} % hold over draws of the data (where there are several), "
        f"seeds and test images: hierarchical bootstrap of {document['resamples']} resamples. Beside the differences "
        "stands Student's interval over runs alone. "
        f"{document['comparisons']} comparisons are made on this page; Holm's p is adjusted for all of them.",
        "Largest psi: how much more accuracy than all images the group lost that lost most, against the dense model.",
        "Machines: " + ("; ".join(document["machines"]) or "none") + ".",
        *document["left_out"],
    ]
    return [line for text in texts for line in (as_markdown.escaped(text), "")]


def _overview(document: Record) -> list[str]:
    """Means over the cells of a task and notion, of the methods that all of them have."""
    lines: list[str] = []
    for mean in document["means"]:
        rows = [[name, *(points(of[figure]) for figure in FIGURES)] for name, of in mean["methods"].items()]
        lines += [
            f"## Means over cells: {mean['task']}, asked for {mean['notion']}",
            "",
            f"Over {', '.join(mean['cells'])}; intervals hold for these cells, and over draws, seeds and images.",
            "",
            *_lines(["method", *(TITLES[figure] for figure in FIGURES)], rows),
            "",
            *_differences(mean),
        ]
    return lines


def _cell(cell: Record) -> list[str]:
    runs = ", ".join(f"{draw} {seed}" for draw, seed in cell["runs"])
    alone = ""
    if len({seed for _, seed in cell["runs"]}) == 1:
        alone = " With one seed the intervals hold for these networks alone, and for no others that are trained alike."
    lines = [as_markdown.escaped(f"{words.plural(len(cell['runs']), 'run')} (draw, seed): {runs}.{alone}"), ""]
    for row, count in cell["incomplete"].items():
        lines += [as_markdown.escaped(f"{row} is left out: {count} of {len(cell['runs'])} runs are there."), ""]
    titles = ["method", *(TITLES[figure] for figure in FIGURES), "groups", "passes"]
    rows = [
        [name, *(points(of["figures"][figure]) for figure in FIGURES),
         ", ".join(f"{group} {100 * value:.1f}" for group, value in of["groups"].items()),
         f"{of['passes']:.0f}" if of.get("passes") else ""]
        for name, of in cell["methods"].items()
    ]  # fmt: skip
    return [*lines, *_lines(titles, rows), "", *_differences(cell)]


def _differences(of: Record) -> list[str]:
    """Ours minus each rival, of a cell or of the mean of several."""
    titles = [f"{OURS} minus", "in", "difference", "over runs alone", "p", "Holm's p"]
    rows = [
        [record["rival"] + _best(of, record), TITLES[record["figure"]], points(record, True), _over_runs(record),
         f"{record['p']:.3g}", f"{record['holm']:.3g}"]
        for record in of["differences"]
    ]  # fmt: skip
    return [*_lines(titles, rows), ""]


def _best(of: Record, record: Record) -> str:
    return " (best)" if of.get("best", {}).get(record["figure"]) == record["rival"] else ""


def _over_runs(record: Record) -> str:
    low, high = record["over_runs"]["low"], record["over_runs"]["high"]
    return "" if low is None else f"[{100 * low:+.1f}, {100 * high:+.1f}]"


def _verdicts(document: Record) -> list[str]:
    lines: list[str] = []
    judged = [cell for cell in document["cells"] if cell.get("verdict")]
    faces = [cell for cell in judged if "best" in cell["verdict"]]
    if faces:
        titles = ["cell", "yes", "best in worst group", "difference", "best in gap", "difference", "ahead", "near",
                  "behind", "accuracy to bip"]  # fmt: skip
        rows = [_faces_row(cell) for cell in faces]
        asked = (
            "Ahead in worst group or gap with the interval, or near (half a point of worst group, half the rival's gap "
            f"or half a point) and never behind; accuracy at most half a point below bip's: {_count(faces)}."
        )
        lines += ["## Drawn faces: against the best rival of this page", "", as_markdown.escaped(asked), ""]
        lines += [*_lines(titles, rows), ""]
    real = [cell for cell in judged if "widened" in cell["verdict"]]
    if real:
        titles = ["cell", "yes", "dense", "magnitude", OURS, "ratio", "widened by", "to bip", "accuracy to bip"]
        rows = [_real_row(cell) for cell in real]
        asked = (
            "Where magnitude widened the gap by more than a standard error: at most .7 of its gap; elsewhere within "
            f"noise of bip; accuracy at most half a point below bip's: {_count(real)}."
        )
        lines += ["## Real faces: against magnitude and bip", "", as_markdown.escaped(asked), ""]
        lines += [*_lines(titles, rows), ""]
    return lines


def _faces_row(cell: Record) -> list[str]:
    verdict = cell["verdict"]
    texts = [_place(cell), _yes(verdict["yes"])]
    for figure in ("worst", "gap"):
        texts += [verdict["best"][figure], points(verdict["differences"][figure], True)]
    texts += [_yes(verdict[key]) for key in ("ahead", "near", "behind")]
    return [*texts, _accuracy(verdict)]


def _real_row(cell: Record) -> list[str]:
    verdict = cell["verdict"]
    ratio = "" if verdict["ratio"] is None else f"{verdict['ratio']:.2f}"
    by = verdict["widened_by"]
    return [
        f"{_place(cell)}, {TITLES[verdict['figure']]}", _yes(verdict["yes"]),
        *(f"{100 * verdict[key]:.1f}" for key in ("dense", "magnitude", "ours")), ratio,
        f"{100 * by['mean']:+.1f} (error {100 * by['se']:.1f}): {_yes(verdict['widened'])}",
        points(verdict["to_bip"][verdict["figure"]], True), _accuracy(verdict),
    ]  # fmt: skip


def _accuracy(verdict: Record) -> str:
    if verdict["accuracy"] is None:
        return "not measured"
    return f"{points(verdict['accuracy'], True)}: {_yes(verdict['accuracy_kept'])}"


def _place(cell: Record) -> str:
    return f"{cell['task']}, {cell['cell']}"


def _count(cells: Sequence[Record]) -> str:
    return f"{sum(cell['verdict']['yes'] for cell in cells)} of {len(cells)} cells"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def ladder_page(document: Record) -> str:
    """One table: a part a row, a cell a column with accuracy and target, and the difference to the row before."""
    cells = document["cells"]
    titles = ["part", *(f"{_place(cell)}, {cell['notion']}: accuracy / {TITLES[TARGET[cell['notion']]]}"
                        for cell in cells)]  # fmt: skip
    rows = []
    for part in (DENSE, *document["parts"]):
        rows.append([part, *(_part(cell, part) for cell in cells)])
    runs = "; ".join(f"{_place(cell)}: {len(cell['runs'])}" for cell in cells)
    notes = [
        "In brackets the difference to the row before, with its interval; each row has all parts before it. "
        f"{OURS} as it is by default has those down to `{OURS_PART}`.",
        f"Runs in a cell: {runs}.",
    ]
    return "\n".join(
        [f"# The parts of {OURS}, one by one: {document['name']}", "", *_facts(document), "", *_lines(titles, rows),
         *(line for note in notes for line in ("", note))]
    ) + "\n"  # fmt: skip


def _part(cell: Record, part: str) -> str:
    if part not in cell["methods"]:
        return "not measured"
    texts = []
    for figure in ("accuracy", TARGET[cell["notion"]]):
        step = next((r for r in cell["differences"] if r["part"] == part and r["figure"] == figure), None)
        mean = cell["methods"][part]["figures"][figure]["mean"]
        texts.append(f"{100 * mean:.1f}" + (f" ({points(step, True)})" if step else ""))
    return " / ".join(texts)


def tuning_page(document: Record) -> str:
    """What was tried for each row, and what was chosen."""
    rows = [
        [row, _settings(entry["settings"]), str(entry["runs"]),
         "incomplete" if entry["score"] is None else f"{100 * entry['score']:.2f}",
         "chosen" if entry["settings"] == of["chosen"] else ""]
        for row, of in document["rows"].items() for entry in of["tried"]
    ]  # fmt: skip
    titles = ["row", "settings", "runs", "score", ""]
    cells = "; ".join(" ".join(cell) for cell in document["cells"])
    facts = [f"Score: {SCORE}. No test image of the measurement is read.", f"Cells: {cells}.", *document["left_out"]]
    lines = [line for text in facts for line in (as_markdown.escaped(text), "")]
    return "\n".join(["# Tuning", "", *lines, *_lines(titles, rows)]) + "\n"


def results_page(pages: Iterable[str]) -> str:
    """One page of several, their titles one level lower."""
    lines = [
        "# Results",
        "",
        f"Written by benchmarks/rivals.py: {OURS} beside its rivals, which get the same dense models, data and number "
        "of passes (a forward pass alone counts a third), and four settings each to choose from, under Tuning at the "
        f"end; {OURS} has its defaults. The JSON with every run is in benchmarks/results/.",
    ]
    for page in pages:
        text = page.rstrip().replace("(tuning.md)", "(Tuning, at the end)")
        lines += ["", *(f"#{line}" if line.startswith("#") else line for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def _settings(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "defaults"


def _lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    columns = [Column(title, "number" if number else "text") for number, title in enumerate(titles)]
    return as_markdown.table_lines(Table("", columns, list(rows)))
