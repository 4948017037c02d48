"""What compare.html opens with: a sentence per pair, and the front of accuracy against gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.compare import page, picture
from fairprune_cli.compare.gather import gather
from fairprune_cli.compare.picture import pareto_front
from fairprune_cli.report.as_html import html_of
from fairprune_cli.report.as_markdown import markdown_of
from fairprune_cli.report.document import Note, Point, Scatter
from tests.support.browser import laid_out, needs_chromium
from tests.support.comparisons import drawn, finish, layout

SPARSITIES = (0.5, 0.9)


def compared(folder: Path, seeds: int = 4, **settings: object) -> dict[str, object]:
    plan = layout(folder, ("magnitude", "bifp"), [("channel", s) for s in SPARSITIES], seeds, **settings)  # type: ignore[arg-type]
    for cell in plan.cells:
        gap = {"magnitude": 0.10, "bifp": 0.03}[cell.row.method] * (0.5 + cell.row.sparsity)
        accuracy = {"magnitude": 0.97, "bifp": 0.95}[cell.row.method] - 0.05 * cell.row.sparsity
        finish(plan, cell, drawn(cell, accuracy, gap))
    return gather(plan)


def test_it_opens_with_a_sentence_per_pair_and_target_with_its_intervals(tmp_path: Path) -> None:
    document = compared(tmp_path)
    first = page.build_page(document).sections[0]
    assert first.title == "Who is better"
    texts = [block.text.replace("\u00a0", " ") for block in first.blocks if isinstance(block, Note)]
    assert [text.split(":")[0] for text in texts] == [
        f"bifp against magnitude, channel {sparsity:g}" for sparsity in SPARSITIES
    ]
    made = document["comparisons"][0]["attributes"]["gender"]["notion_gap"]  # type: ignore[index]
    low, high = (f"{-100 * made[key]:.1f}" for key in ("high", "low"))
    assert f"gap by gender {-100 * made['mean']:.1f} points smaller ({low} to {high}); accuracy" in texts[0]
    assert "accuracy 1." in texts[0]
    assert "points lower (" in texts[0]


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    text = markdown_of(page.build_page(compared(tmp_path, 1), pictures=False)).replace("\u00a0", " ")
    assert "bifp against magnitude, channel 0.5: gap by gender not decided (one seed), −" in text


def test_rates_say_which_class_is_positive(tmp_path: Path) -> None:
    document = compared(tmp_path, notion="odds")
    document["data"]["classes"] = ["neutral", "smiling"]  # type: ignore[index]
    assert "smiling counts as positive." in page.build_page(document).sections[0].lead


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    dense = Point(0, 0.0, 0.99, None, None, "", "dense")
    places = [(0.05, 0.94), (0.02, 0.90), (0.03, 0.95), (0.03, 0.94), (0.08, 0.96), (0.02, 0.89)]
    points = [dense, *(Point(1, x, y, None, None, "", "") for x, y in places)]
    front = pareto_front(points)
    assert [(points[at].x, points[at].y) for at in front] == [(0.02, 0.90), (0.03, 0.95), (0.08, 0.96)]
    others = [i for i, point in enumerate(points) if point.series and i not in front]
    for i in others:
        assert any(points[j].x <= points[i].x and points[j].y >= points[i].y for j in front)


def test_points_of_the_front_are_named_and_joined_in_page_and_picture(tmp_path: Path) -> None:
    document = compared(tmp_path)
    figure = picture.comparison_figure(document, "gender")
    assert isinstance(figure, Scatter)
    names = [figure.points[at].text for at in figure.front]
    assert names[0].startswith("bifp, channel")
    assert len(names) > 1
    drawing = picture.stand_alone(figure, "t")
    assert 'class="front"' in drawing
    assert all(f">{name}</text>" in drawing for name in names)
    assert "On the front, where no other row is" in html_of(page.build_page(document))


@needs_chromium
def test_the_page_fits_screens_and_phones(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    text = html_of(page.build_page(compared(tmp_path / "runs")))
    found, console = laid_out(tmp_path, {"compare": text}, (1280, 390))
    assert console == []
    for seen in found:
        assert seen["open"]["scroll"] <= seen["width"]
        assert seen["open"]["beyond"] == seen["open"]["broken"] == []


def test_the_mean_of_a_share_has_an_interval_within_the_possible(tmp_path: Path) -> None:
    plan = layout(tmp_path, ("bifp",), seeds=3)
    for cell, gap in zip(plan.cells, (0.001, 0.03, 0.002), strict=True):
        report = drawn(cell, 0.9, 0.05)
        report["results"]["pruned"]["attributes"]["gender"]["gap"] = gap
        finish(plan, cell, report)
    figures = gather(plan)["rows"][0]["figures"]["attributes"]["gender"]
    assert figures["gap"]["mean"] == pytest.approx(0.011)
    assert 0 < figures["gap"]["low"] < figures["gap"]["high"] < 1
    assert figures["gap"] == figures["notion_gap"]
