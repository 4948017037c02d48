"""Plug-ins that every run or audit needs, whichever it names: looked at before the work instead of after it."""

from __future__ import annotations

from fairprune_cli.core import plugins
from fairprune_cli.fairness import notions


def refuse_broken_plug_ins(*classes: int) -> None:
    """Load what the report is made of: every notion has its gap in it, every section its place.

    Args:
        classes: how many each task of the data has.

    Raises:
        FairpruneError: one of them cannot be loaded; the message names its file.
    """
    for count in set(classes):
        for name in notions.names():
            notions.get(name, count)
    plugins.REPORT_SECTION.load_all()
    plugins.REPORT_WRITER.load_all()
