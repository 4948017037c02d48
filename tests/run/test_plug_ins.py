"""Broken plug-ins are named before any work, and those that nobody asked for stand in nobody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.guess import guess
from fairprune_cli.fairness import notions
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins
from tests.support.plugins import plugged_in

NOTION = """
    import numpy as np
    from fairprune_cli.fairness.notion import Notion

    def build(classes):
        return Notion("made-up", np.eye(classes{kind})[None], np.ones((1, {labels}){kind}), np.ones(1, dtype=int))
"""


def test_sound_ones_pass() -> None:
    refuse_broken_plug_ins(2)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (plugins.NOTION, "def build(:\n", "SyntaxError"),
        (plugins.NOTION, NOTION.format(kind=", dtype=bool", labels="classes + 1"), "of shapes"),
        (plugins.NOTION, NOTION.format(kind="", labels="classes"), "not of type bool"),
        (plugins.REPORT_SECTION, "ORDER = 1\n", "does not define build"),
        (plugins.REPORT_WRITER, "import no_such_module_xyz\n", "ModuleNotFoundError"),
    ],
)
def test_what_every_report_needs_is_looked_at_first(kind: plugins.Kind, text: str, said: str, tmp_path: Path) -> None:
    with plugged_in(kind, tmp_path / "folder", made_up=text):
        with pytest.raises(FairpruneError) as caught:
            refuse_broken_plug_ins(2)
        assert caught.value.where == str(tmp_path / "folder" / "made_up.py")
        assert said in caught.value.what
        assert caught.value.code == 2


def test_a_report_with_a_notion_whose_file_is_broken_can_be_shown(tmp_path: Path) -> None:
    with plugged_in(plugins.NOTION, tmp_path / "folder", made_up="def build(:\n"):
        assert notions.heading("made-up") == ("Made up", 100)


def test_a_method_without_scores_is_refused(tmp_path: Path) -> None:
    text = "from fairprune_cli.pruning import method\nclass Method(method.Method):\n    pass\n"
    with plugged_in(plugins.METHOD, tmp_path / "folder", made_up=text):
        with pytest.raises(FairpruneError, match="does not define scores") as caught:
            methods.get("made-up")
        assert caught.value.where == str(tmp_path / "folder" / "made_up.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ARCHITECTURES = ['made-up']\n", "must say by name"),
        ("ARCHITECTURES = {'resnet10': lambda k: None}\n", "the architecture resnet10 is in"),
    ],
)
def test_a_faulty_table_of_a_family_disturbs_no_known_network(text: str, said: str, tmp_path: Path) -> None:
    with plugged_in(plugins.ARCHITECTURE, tmp_path / "folder", zz_made_up=text):
        assert architectures.is_supported("resnet10")
        assert architectures.build("resnet10", 2)
        with pytest.raises(FairpruneError, match=said) as caught:
            architectures.names()
        assert caught.value.where == str(tmp_path / "folder" / "zz_made_up.py")


def test_a_faulty_dataset_format_is_named_only_where_no_other_fits(tmp_path: Path) -> None:
    known = tmp_path / "utkface"
    known.mkdir()
    (known / "39_1_1_20170116174525125.jpg").write_bytes(b"not looked at")
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    with plugged_in(plugins.DATASET_FORMAT, tmp_path / "folder", aa_made_up="import no_such_module_xyz\n"):
        assert "format: utkface" in guess(known, None).lines
        with pytest.raises(FairpruneError, match="aa-made-up cannot be loaded"):
            guess(unknown, None)
