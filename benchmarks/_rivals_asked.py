"""What benchmarks/rivals.py is asked for: refused before the work where it cannot be meant."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from _rivals_cells import TARGET

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.core.settings import check_value
from fairprune_cli.models.architectures import registry
from fairprune_cli.run.options import Settings

NOTHING = "none"  # for --tuning


def refuse(args: argparse.Namespace, rows: Mapping[str, object]) -> None:
    """Check what the arguments name.

    Args:
        rows: those that --methods may name.

    Raises:
        FairpruneError: a cell, notion, row, number, architecture or file of choices that is none.
    """
    for row in args.methods or ():
        if row not in rows:
            raise FairpruneError(f"{row!r} is not known", where="--methods", hint=f"one of {'; '.join(rows)}")
    for cell in args.cells or ():
        kind, colon, share = cell.partition(":")
        try:
            if not colon:
                raise ValueError("it is not GRANULARITY:SPARSITY, such as weight:0.95")
            check_value(Settings, "granularity", kind)
            check_value(Settings, "sparsity", share)
        except ValueError as wrong:
            raise FairpruneError(str(wrong), where=f"--cells {cell}") from None
    for notion in args.notions or ():
        if notion not in TARGET:
            raise FairpruneError(f"{notion!r} is not known", where="--notions", hint=f"one of {', '.join(TARGET)}")
    for flag, number in (("--seeds", args.seeds), ("--data-seeds", args.data_seeds)):
        if number is not None and number < 1:
            raise FairpruneError(f"{number} is no number of them", where=flag, hint="1 or more")
    if not is_import_path(args.arch):
        registry.skeleton(args.arch, 2)
    if args.lr and (args.tune or args.ladder):
        raise FairpruneError(
            "is for measuring alone: the rows of --tune and --ladder have rates of their own", where="--lr"
        )  # fmt: skip
    if not args.tune and args.tuning != NOTHING and not Path(args.tuning).exists():
        raise FairpruneError(
            "there is no such file", where=f"--tuning {args.tuning}", hint=f"make it by --tune, or give {NOTHING}"
        )  # fmt: skip
