"""Two hundred of the mutations of data_fuzz.py."""

from __future__ import annotations

from pathlib import Path

from tests.support import data_fuzz


def test_mutations_give_no_traceback_and_no_silent_change(tmp_path: Path) -> None:
    outcome = data_fuzz.run(200, 1, tmp_path)
    assert outcome.faults == []
    results = sum((counts for counts in outcome.counts.values()), start=type(next(iter(outcome.counts.values())))())
    # Both sides of the judgement occur, or it would prove nothing.
    assert results["error"] > 60
    assert results["same"] > 10


def test_a_lost_image_would_be_noticed(tmp_path: Path) -> None:
    data_fuzz.make("table", tmp_path)
    from fairprune_cli.core.errors import Problems
    from fairprune_cli.data.manifest.load import examine_manifest

    plain = examine_manifest(tmp_path, Problems(""))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join(lines[:-1]) + "\n")
    changed = examine_manifest(tmp_path, Problems(""))
    assert plain is not None
    assert changed is not None
    assert data_fuzz.moved(plain, changed) > 36
