"""What an audit refuses before it reads anything, and what it would do; torch is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fairprune_cli.audit.policy import Policy
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.locks import holds_nothing, refuse_in_use, written_alone
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Settings


def refuse_out(out: Path | None, force: bool, settings: Settings) -> None:
    """Refuse a folder that the report cannot be written into, and a table beside it where there is no folder."""
    if out is None:
        if settings.list_changed:
            raise FairpruneError("changed.csv lies beside the report, which has no folder", where="--list-changed",
                                 hint="give it with --out DIR")  # fmt: skip
        return
    refuse_in_use(out, folder=True)
    if out.exists() and not force and not (out.is_dir() and holds_nothing(out) and any(out.iterdir())):
        raise FairpruneError("already exists", where=str(out), hint="--force overwrites it")
    if out.exists() and not out.is_dir():
        raise FairpruneError("is not a folder", where=str(out), hint="give another --out")
    refuse_no_room(out)


@contextmanager
def report_place(out: Path | None, force: bool, settings: Settings, dry_run: bool = False) -> Iterator[None]:
    """A block that writes its report into a folder, alone; without one, or for a dry run, nothing is made.

    Raises:
        FairpruneError: as `refuse_out`, or another process writes into it.
    """
    refuse_out(out, force, settings)
    with nullcontext() if out is None or dry_run else written_alone(out, folder=True):
        yield


def refuse_without_dense(settings: Settings, policy: Policy, classes: int, how: str) -> None:
    """Refuse what needs a dense model, where none is given.

    Args:
        classes: how many the data has; how: the flag that would give it, for the hint.
    """
    needs = [
        flag for flag, asked in (
            ("--max-degradation", settings.max_degradation is not None),
            ("--max-churn", settings.max_churn is not None),
            ("--notion", fairness.get(settings.notion, classes).relative),
            ("--show-examples", settings.show_examples > 0), ("--list-changed", settings.list_changed),
            ("--policy", policy.needs_dense(classes)),
        ) if asked
    ]  # fmt: skip
    if needs:
        others = {"--show-examples": "what pruning lost", "--max-churn": "churn", "--list-changed": "what changed"}
        what = others.get(needs[0], "degradation")
        raise FairpruneError(f"{what} needs the dense model", where=needs[0], hint=f"give it with {how}")


def plan_of(models: Mapping[str, str], data: Data, settings: Settings, policy: Policy) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "dry_run": True, "models": dict(models), "split": settings.split, "images": len(data.rows(settings.split)),
        "attributes": {g.name: list(g.groups) for g in data.groupings},
        "gates": sum(len(rule.attributes or data.attributes) for rule in policy.rules),
    }  # fmt: skip


def unknown_sizes(keys: Iterable[str], why: str) -> dict[str, Any]:
    """Keys of the report's block of sizes that have no value, and why."""
    return {name: value for key in keys for name, value in ((key, None), (f"{key}_undefined", why))}
