"""Prune and audit as they are called from Python: the commands' settings and checks, a report instead of an exit code.

Nothing is printed unless progress is asked for, warnings are Python's, and torch is afterwards as it was.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor, nn

from fairprune_cli.core.device import torch_as_it_was
from fairprune_cli.core.errors import FairpruneError, FairpruneWarning, nearest
from fairprune_cli.core.launch import is_first
from fairprune_cli.core.machine_faults import fault_of_machine
from fairprune_cli.core.printable import one_line
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.models.checkpoint.in_memory import InMemory, name_in_memory
from fairprune_cli.run import audit as auditing
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.audit_sources import AuditRequest
from fairprune_cli.run.folder import RunFolder, default_folder
from fairprune_cli.run.options import FIELDS, Resolved, settled
from fairprune_cli.run.predictions_in_memory import are_predictions, audit_in_memory
from fairprune_cli.run.report_handle import Report

Model = str | PathLike[str] | nn.Module | Callable[[Tensor], Any] | Mapping[str, Any]
Place = str | PathLike[str]
_PACKAGE = "fairprune_cli"


class SilentTerminal(Terminal):
    """No line is written but progress, where it is asked for; warnings are Python's and kept for the report."""

    def __init__(self, progress: bool) -> None:
        super().__init__(sys.stderr, sys.stderr, quiet=not progress or not is_first())

    def warn(self, text: str, code: str = "warning") -> None:
        self.warnings.append({"code": code, "text": text})
        if is_first():
            warnings.warn(one_line(text), FairpruneWarning, stacklevel=_callers_level())


def prune_for(
    model: Place | nn.Module | None, settings: Mapping[str, Any], *, out: Place | None = None, force: bool = False,
    resume: Place | None = None, config: Place | None = None, trust: bool = False, progress: bool = False,
) -> Report:  # fmt: skip
    """`fairprune_cli.prune`, which says what its arguments are."""
    terminal, network = SilentTerminal(progress), model if isinstance(model, nn.Module) else None
    given = _known(settings, "fairprune_cli.prune", ("out", "force", "resume", "config", "trust_checkpoint"))
    if network is None and model is not None:
        _refuse_no_path(model, "model")
    if resume is not None:
        _refuse_beside_resume(model=model if network is None else None, out=out, config=config, force=force)
        folder = Path(resume)
        with _told_in_words(folder):
            outcome = pipeline.resume(folder, given, terminal, trust, network)
        return Report(outcome.report, outcome.folder, network)
    if model is None:
        raise FairpruneError("no model was given", where="fairprune_cli.prune", hint="give a path or a network")
    resolved = settled(given, _path(config), str)
    path = Path(name_in_memory(network)) if network is not None else Path(fspath(model))  # type: ignore[arg-type]
    if network is not None:
        _refuse_for_networks(resolved, trust)
    folder = _path(out) or default_folder(path, resolved.settings)
    name = Path(f"{path} (in memory)") if network is not None else path
    request = pipeline.PruneRequest(name, resolved, folder, force, trust, network=network)
    with _told_in_words(folder):
        outcome = pipeline.prune(request, terminal)
    return Report(outcome.report, outcome.folder, network)


def audit_for(
    models: Model | Sequence[Model], settings: Mapping[str, Any], *, against: Model | None = None,
    out: Place | None = None, force: bool = False, config: Place | None = None, trust: bool = False,
    progress: bool = False,
) -> Report:  # fmt: skip
    """`fairprune_cli.audit`, which says what its arguments are."""
    given = _known(settings, "fairprune_cli.audit", ("against", "out", "force", "config", "trust_checkpoint"))
    listed = list(models) if isinstance(models, list | tuple) else [models]
    if not listed:
        raise FairpruneError("no model was given", where="fairprune_cli.audit", hint="give a path or a network")
    resolved, in_memory = settled(given, _path(config), str), dict[Path, InMemory]()
    if any(map(are_predictions, [*listed, against])):
        if len(listed) > 1 or trust or not are_predictions(listed[0]):
            raise FairpruneError(
                "predictions are audited alone, or against predictions", where="fairprune_cli.audit",
                hint="give one table of them, and no model beside it",
            )  # fmt: skip
        terminal = SilentTerminal(progress)
        outcome = audit_in_memory(listed[0], against, resolved, _path(out), force, terminal)
        return Report(outcome.report, outcome.folder)
    paths = [_as_path(model, in_memory) for model in listed]
    dense = None if against is None else _as_path(against, in_memory)
    if in_memory and len(in_memory) == len(paths) + (dense is not None):
        _refuse_for_networks(resolved, trust)
    request = AuditRequest(tuple(paths), resolved, dense, _path(out), force, trust, in_memory=in_memory)
    with _told_in_words(None):
        outcome = auditing.audit(request, SilentTerminal(progress))
    return Report(outcome.report, outcome.folder)


def _as_path(model: Any, in_memory: dict[Path, InMemory]) -> Path:
    """The path of a model; of one in memory a name that stands for it, under which it is added to `in_memory`."""
    if not isinstance(model, nn.Module) and (isinstance(model, type) or not callable(model)):
        _refuse_no_path(model, "model")
        return Path(fspath(model))
    name = name_in_memory(model)
    number = sum(str(path).startswith((f"{name} (", f"{name}, ")) for path in in_memory) + 1
    path = Path(f"{name} (in memory)" if number == 1 else f"{name}, {number} (in memory)")
    in_memory[path] = model
    return path


def _refuse_no_path(value: Any, what: str) -> None:
    if isinstance(value, str | PurePath) or (isinstance(value, PathLike) and isinstance(fspath(value), str)):
        return
    hint = f"give the network itself, {value.__name__}(...)" if isinstance(value, type) else "give a path or a network"
    kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    raise FairpruneError(f"is {kind}, neither a path nor a network", where=what, hint=hint)


def _refuse_beside_resume(**given: Any) -> None:
    if refused := [name for name, value in given.items() if value is not None and value is not False]:
        raise FairpruneError(f"{', '.join(refused)} cannot go with it", where="resume", hint="leave them out")


def _refuse_for_networks(resolved: Resolved, trust: bool) -> None:
    """Refuse what only says how a file is read: it would have no effect."""
    named = [key for key in ("arch", "weights") if resolved.sources[key] == "flag"] + ["trust_checkpoint"] * trust
    if named:
        raise FairpruneError(
            f"{' and '.join(named)} says how a file is read, and the network was given in memory",
            where=named[0], hint="leave it out",
        )  # fmt: skip


def _known(settings: Mapping[str, Any], where: str, own: Sequence[str]) -> dict[str, Any]:
    """The settings that were given, as the layers take them: paths as text, one name or several, numbers of any kind.

    Raises:
        FairpruneError: a keyword that is none; the message names the nearest.
    """
    for key in settings:
        if key not in FIELDS:
            raise FairpruneError(f"unknown key {key!r}", where=where, hint=nearest(key, [*FIELDS, *own]))
    return {key: _plain(value) for key, value in settings.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy and torch
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def _path(value: Place | None) -> Path | None:
    return None if value is None else Path(value)


@contextmanager
def _told_in_words(folder: Path | None) -> Iterator[None]:
    """Torch as it was afterwards; what the machine refuses in our words; an interruption says what is left to go on."""
    try:
        with torch_as_it_was():
            yield
    except KeyboardInterrupt as error:
        if folder is not None and RunFolder(folder).state.exists():
            error.add_note(f"the state of the run is saved; continue with fairprune_cli.prune(resume={str(folder)!r})")
        raise
    except FairpruneError:
        raise
    except Exception as error:
        told = fault_of_machine(error)
        if told is None:
            raise
        raise told from error


def _callers_level() -> int:
    """Frames up to the first that is none of this package's: warnings are about the call that the user wrote."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level
