"""The folder of a run: its name, its settings, its events, and the state that `--resume` continues."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_path, atomic_write_text, file_name, refuse_no_room, remove_leftovers
from fairprune_cli.core.locks import holds_nothing
from fairprune_cli.core.plugins import is_pickled_network, own_code, short_name
from fairprune_cli.core.settings import values_of
from fairprune_cli.models.options import GROUP_TABLE
from fairprune_cli.run.config_file import CONFIG, read_config_of, resolved_again
from fairprune_cli.run.left_files import events_of, read_state
from fairprune_cli.run.options import FIELDS, Resolved, Settings, resolve

MODEL, REPORT, EVENTS, STATE = "model.safetensors", "report.json", "events.jsonl", "state"
UNCONSTRAINED = "unconstrained.safetensors"  # the same run without its constraint
EXEMPLARS = "changed.csv"  # the images whose prediction is not the dense model's
BEST = "best.safetensors"  # of a run that diverged

# Where a run's files lie and what gates ask may differ when it is continued; what it computes may not.
FREE_ON_RESUME = {"data", "device", "threads", "save_minutes"}


def default_folder(model: Path, settings: Settings) -> Path:
    """runs/<model>-<method>-<granularity>-<sparsity> in the working directory, where 2:4 is written 2-4."""
    name = model.resolve().name if model.is_dir() else model.stem
    told = f"{name}-{short_name(settings.method)}-{settings.granularity}-{settings.sparsity:g}"
    return Path("runs") / file_name(told)


def resume_arguments(path: Path, settings: Settings, trust: bool) -> list[str]:
    """What `fairprune` is called with to continue a run; code of the user's own has to be named again.

    Args:
        trust: whether the model's file was unpickled as trusted.
    """
    named = [word for key, name in own_code(values_of(settings)).items() for word in (f"--{key}", name)]
    return ["prune", "--resume", str(path), *named, *(["--trust-checkpoint"] if trust else [])]


def resumed_in_python(path: Path) -> str:
    """The call that continues a run which began with a network in memory."""
    return f"fairprune_cli.prune(network, resume={str(path)!r})"


class RunFolder:
    """One run's folder; created by `create` or opened by `resume`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model, self.report, self.best = path / MODEL, path / REPORT, path / BEST
        self.unconstrained = path / UNCONSTRAINED
        self.state, self.former = path / STATE / "state.pt", path / STATE / "former.pt"

    @staticmethod
    def check_free(path: Path, force: bool) -> None:
        """Raise FairpruneError when the folder is there and may not be overwritten, or cannot be written."""
        refuse_no_room(path)
        if not path.exists() or force:
            if path.exists() and not (path.is_dir() and (holds_nothing(path) or (path / CONFIG).exists())):
                raise FairpruneError(
                    "is not a run folder, so --force will not overwrite it", where=str(path), hint="give another --out"
                )
            return
        if path.is_dir() and holds_nothing(path):
            return
        unfinished = (path / STATE / "state.pt").exists() or ((path / CONFIG).exists() and not (path / REPORT).exists())
        hint = f"continue it with --resume {path}, " if unfinished else ""
        raise FairpruneError(
            "already exists", where=str(path), hint=f"{hint}overwrite it with --force, or give another --out"
        )

    @classmethod
    def create(cls, path: Path, resolved: Resolved, inputs: Mapping[str, str], force: bool) -> RunFolder:
        """Make the folder and write config.yaml; inputs are the model's and manifest's path and hash."""
        cls.check_free(path, force)
        folder = cls(path)
        try:
            if path.exists():
                # config.yaml stays until it is replaced: whenever this is cut short, the folder is still a run's.
                shutil.rmtree(path / STATE, ignore_errors=True)
                for name in (
                    MODEL,
                    UNCONSTRAINED,
                    BEST,
                    REPORT,
                    EXEMPLARS,
                    GROUP_TABLE,
                    "report.html",
                    "report.md",
                    EVENTS,
                ):
                    (path / name).unlink(missing_ok=True)
                remove_leftovers(path)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FairpruneError(
                f"cannot be made: {error.strerror}", where=str(path), hint="give another --out", code=ExitCode.RUNTIME
            ) from error
        document = {"inputs": dict(inputs), "settings": resolved.document()}
        atomic_write_text(path / CONFIG, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
        return folder

    @classmethod
    def resume(cls, path: Path, flags: Mapping[str, Any]) -> tuple[RunFolder, Resolved, dict[str, str]]:
        """Open an unfinished run with its own settings; without a state it begins at its first step.

        Raises:
            FairpruneError: not a run folder, already done, a flag contradicts the settings of the run, or the run
                imports code of the user's own that the flags do not name again.
        """
        folder = cls(path)
        try:
            saved, sources, inputs = read_config_of(path)
        except FairpruneError as error:
            raise FairpruneError(
                f"has no readable config.yaml, so there is no run to continue: {error.what}", where=str(path),
                hint="start it again without --resume",
            ) from error  # fmt: skip
        if not folder.state.exists() and folder.report.exists():
            raise FairpruneError(
                "nothing to continue: the run is already done", where=str(path), hint="start a new run with --out"
            )
        saved = _seen_from_here(saved, inputs.get("directory"))
        settings = resolved_again(saved, path).settings
        asked = {k: v for k, v in flags.items() if v is not None and v != ()}
        unsaid = {key: name for key, name in own_code(values_of(settings)).items() if key not in asked}
        if unsaid:
            raise FairpruneError(
                f"the run imports {' and '.join(unsaid.values())}, and a run folder is no reason to import code",
                where=str(path),
                hint=f"if that is your own code, say so: {' '.join(f'--{key} {name}' for key, name in unsaid.items())}",
            )
        given = resolve(asked, {}, None).settings
        against = [
            k
            for k in asked
            if k not in FREE_ON_RESUME and _whole(k, getattr(given, k)) != _whole(k, getattr(settings, k))
        ]
        if against:
            lines = ", ".join(f"--{k.replace('_', '-')} is {getattr(settings, k)!r} there" for k in against)
            raise FairpruneError(f"flags contradict the run: {lines}", where=str(path), hint="leave these flags out")
        free = {k: v for k, v in asked.items() if k in FREE_ON_RESUME}
        resolved = resolve({**saved, **free}, {}, None)
        named = {k: sources.get(k, "default") for k in FIELDS} | dict.fromkeys(free, "flag")
        return folder, Resolved(resolved.settings, named), inputs

    def event(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append a line to events.jsonl."""
        line = json.dumps({"event": kind, **fields}, allow_nan=False, ensure_ascii=False)
        try:
            with open(self.path / EVENTS, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise FairpruneError(
                f"cannot write: {error.strerror}", where=str(self.path / EVENTS),
                hint="check that the disk has room", code=ExitCode.RUNTIME,
            ) from error  # fmt: skip

    def keep_events(self, epochs: int) -> None:
        """Drop what a killed process wrote into events.jsonl after the state that is continued, of `epochs` epochs.

        Raises:
            FairpruneError: a line of it is none that a run writes; the last one may be cut short.
        """
        path = self.path / EVENTS
        if not path.exists():
            return
        text, kept = events_of(path, epochs)
        if kept != text:
            atomic_write_text(path, kept)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state atomically; the one before it stays beside it, should the new one be damaged some day."""
        import torch

        with contextlib.suppress(OSError):  # what is wrong with the folder, the write will say
            self.former.unlink(missing_ok=True)  # never more than two states on the disk
        with atomic_path(self.state) as temporary, open(temporary, "wb") as stream:
            try:
                torch.save(dict(state), stream)
            except RuntimeError as error:  # what torch makes of a full disk
                text = " ".join(str(error).split())[:100]
                raise OSError(errno.ENOSPC, f"the state could not be written ({text})") from error
            stream.flush()
            with contextlib.suppress(OSError):  # there is none yet, or a file system without links
                os.link(self.state, self.former)

    def load_state(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """The saved state, None where there is none; only plain types and tensors are read.

        Args:
            say: told when the state is damaged and the one before it takes its place.

        Raises:
            FairpruneError: neither can be read.
        """
        remove_leftovers(self.path)
        remove_leftovers(self.path / STATE)
        if not self.state.exists():
            return None
        try:
            return read_state(self.state)
        except FairpruneError:
            if not self.former.exists():
                raise
            state = read_state(self.former)
        with contextlib.suppress(OSError):
            os.replace(self.former, self.state)
        say("the saved state is damaged; the run goes on from the one before it")
        return state

    def discard_unless_resumable(self) -> None:
        """Leave nothing half-written behind: without a state to continue from or to look at, the folder goes."""
        if not any(path.exists() for path in (self.state, self.report, self.best)):
            for name in (MODEL, UNCONSTRAINED, EVENTS, CONFIG):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / STATE, ignore_errors=True)
            with contextlib.suppress(OSError):  # something of the user's own is in it
                self.path.rmdir()

    def finish(self) -> None:
        """Drop the state: the run is done."""
        self.state.unlink(missing_ok=True)  # first, as a run without it and with a report is a finished one
        shutil.rmtree(self.path / STATE, ignore_errors=True)


class SilentFolder(RunFolder):
    """The folder as the other processes of a run see it: only the first one writes."""

    def event(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Nothing."""

    def keep_events(self, epochs: int) -> None:
        """Nothing."""

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Nothing."""

    def discard_unless_resumable(self) -> None:
        """Nothing."""


def _seen_from_here(saved: Mapping[str, Any], directory: str | None) -> dict[str, Any]:
    """The settings of a run with the paths that were meant from the directory it began in, should this be another."""
    if directory is None or Path(directory) == Path.cwd():
        return dict(saved)
    return {k: str(Path(directory, v)) if isinstance(v, str) and _is_path(k, v) else v for k, v in saved.items()}


def _is_path(key: str, value: str) -> bool:
    return key in ("data", "policy") or (key == "arch" and is_pickled_network(value))


def _whole(key: str, value: Any) -> Any:
    """A setting to be compared with another's: paths from the root."""
    return str(Path.cwd() / value) if isinstance(value, str) and _is_path(key, value) else value
