"""What a command prints of a report."""

from __future__ import annotations

import io

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.console import print_report
from tests.support import reports as fixture


def test_a_line_for_each_attribute_says_how_much_changed() -> None:
    out = io.StringIO()
    print_report(fixture.full(), Terminal(out, io.StringIO(), {}), None)
    lines = [line for line in out.getvalue().splitlines() if "not the dense model's" in line]
    found = fixture.full()["results"]["pruned"]["faithfulness"]
    assert [line.split(":")[0] for line in lines] == list(found["attributes"])
    largest = found["attributes"]["gender"]["largest"]
    assert f"most for {largest['group']}: {100 * largest['value']:.1f} [{100 * largest['low']:.1f}, " in lines[0]
    times = found["attributes"]["gender"]["groups"][largest["group"]]["representation"]["value"]
    assert lines[0].endswith(f"{times:.1f} times its share of the images")
