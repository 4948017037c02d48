"""Settings that were given by flags and change nothing: what each needs is declared beside it, and by the method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fairprune_cli.audit.options import AuditOptions, FigureOptions
from fairprune_cli.core.settings import Need, fields_of, flag_of
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.options import DataOptions
from fairprune_cli.export.options import ExportOptions
from fairprune_cli.run.options import FIELDS, Settings
from fairprune_cli.training.options import DenseOptions

CODE = "no-effect"
_MACHINE = {"device", "threads"}
_TRAINS = {*fields_of(DenseOptions), "data", "arch", *_MACHINE}
_AUDITS = {
    *fields_of(AuditOptions), *fields_of(FigureOptions), *fields_of(DataOptions), "arch", "weights", "classes_from",
    "batch_size", "track", *_MACHINE,
}  # fmt: skip
# Keys of the settings that a command reads.
READ_BY = {
    "prune": {*FIELDS} - {*fields_of(ExportOptions)},
    "compare": {*FIELDS} - {*fields_of(ExportOptions), "show_examples"},
    "audit": _AUDITS,
    "train": _TRAINS,
}


def warn_of_idle(
    given: Iterable[str], settings: Settings, command: str, terminal: Terminal, methods: Sequence[str] = (),
    spelled: Callable[[str], str] = flag_of,
) -> None:  # fmt: skip
    """Warn of every setting that was given and has no effect.

    Args:
        given: keys of settings that flags gave.
        command: that they were given to, one of READ_BY.
        methods: that are worked by, where they are not the settings' own.
        spelled: what messages call a key that was given.
    """
    for text in idle(given, settings, command, methods or (settings.method,), spelled):
        terminal.warn(text, code=CODE)


def idle(
    given: Iterable[str], settings: Settings, command: str, methods: Sequence[str],
    spelled: Callable[[str], str] = flag_of,
) -> Iterator[str]:  # fmt: skip
    """A sentence for each key that was given and has no effect."""
    for key in given:
        meta = FIELDS[key].metadata
        if key not in READ_BY[command]:
            yield f"{spelled(key)} changes nothing: fairprune {command} does not read it"
        elif any(need.met(settings) for need in meta["besides"]):
            continue
        elif meta["by_method"] and command in ("prune", "compare") and not _reads(methods, key):
            verb = "does" if len(methods) == 1 else "do"
            yield f"{spelled(key)} changes nothing: {', '.join(methods)} {verb} not read it"
        elif meta["needs"] and not any(need.met(settings) for need in meta["needs"]):
            yield f"{spelled(key)} changes nothing without {_wanted(meta['needs'])}"


def _reads(methods: Sequence[str], key: str) -> bool:
    """Whether any of the methods reads a setting; one that does not say what it reads may."""
    from fairprune_cli.pruning import methods as pruning

    known = [pruning.get(name).settings_read() for name in methods]
    return any(keys is None or key in keys for keys in known)


def _wanted(needs: Sequence[Need]) -> str:
    return " or ".join(f"{flag_of(need.key)} {' or '.join(need.values)}".rstrip() for need in needs)
