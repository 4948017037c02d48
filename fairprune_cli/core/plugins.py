"""Plug-ins: what each kind of them is, listed from its folder; and a user's own, named `package.module:name`.

A folder of plug-ins holds nothing else: its listing is the list. Listing imports nothing, so that --help may list. A
module is held against its kind's protocol when it is used, and one that cannot be loaded stands in nobody else's way.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fairprune_cli.core.errors import FairpruneError, nearest

_PLUG_IN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Kind:
    """One kind of plug-in.

    Attributes:
        package: whose folder is listed.
        word: what messages call one.
        needs: names that every module of it defines.
        prefers: what a class of it says of itself where it is named in place of another that is hardly closer.
    """

    package: str
    word: str
    needs: tuple[str, ...]
    prefers: str = ""

    def names(self) -> list[str]:
        """Names as users type them (`worst_group.py` is `worst-group`), in alphabetical order."""
        found = (info.name for info in pkgutil.iter_modules(self._folders()))
        return sorted(name.replace("_", "-") for name in found)

    def source(self, name: str) -> str:
        """The text of a plug-in's file; raises OSError or ValueError where it cannot be read."""
        return Path(self._file(name)).read_text("utf-8")

    def constants(self, name: str) -> dict[str, Any]:
        """What a plug-in says in plain values, at the top of its file and in its classes, without importing it.

        Of a file that cannot be read nothing: who uses it is told.
        """
        found: dict[str, Any] = {}
        try:
            tree = ast.parse(self.source(name))
        except (OSError, SyntaxError, ValueError):
            return found
        for node in tree.body:
            for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(inner, ast.Assign):
                    found |= _literals(inner)
        return found

    def nearest(self, word: str) -> str:
        """A hint that names the plug-in meant by `word`: the closest name, or one whose ALSO has it."""
        if "." in word:
            return f"a {self.word} of your own is written package.module:name"
        said = {name: self.constants(name) for name in self.names()}
        also = {other: name for name, one in said.items() for other in one.get("ALSO", ())}
        return nearest(word, said, also, [name for name, one in said.items() if self.prefers and one.get(self.prefers)])

    def load(self, name: str, where: str = "") -> ModuleType:
        """The module of the plug-in `name`.

        Args:
            where: what the name was given to, for the message that there is none.

        Raises:
            FairpruneError: there is none (the message names the nearest), it cannot be imported, or it lacks a name
                of the protocol; the last two name its file.
        """
        known = self.names()
        if name not in known:
            raise FairpruneError(f"unknown {self.word} {name!r}", where=where, hint=self.nearest(name))
        module = f"{self.package}.{name.replace('-', '_')}"
        hint = "mend the file, or take it out of the folder"
        if not _PLUG_IN.fullmatch(name):
            raise FairpruneError(
                f"the {self.word} {name} cannot be loaded: its file has no name of small letters, digits and _",
                where=self._file(name), hint="name the file so, or take it out of the folder",
            )  # fmt: skip
        try:
            found = importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a file may raise anything
            raise FairpruneError(
                f"the {self.word} {name} cannot be loaded: {type(error).__name__}: {error}", where=self._file(name),
                hint=hint,
            ) from error  # fmt: skip
        missing = [need for need in self.needs if not hasattr(found, need)]
        if missing:
            raise FairpruneError(
                f"the {self.word} {name} cannot be loaded: it does not define {', '.join(missing)}",
                where=self._file(name), hint=hint,
            )  # fmt: skip
        return found

    def load_all(self) -> dict[str, ModuleType]:
        """Every plug-in by name; raises FairpruneError where one cannot be loaded."""
        modules, faults = self.load_sound()
        if faults:
            raise faults[0]
        return modules

    def load_sound(self) -> tuple[dict[str, ModuleType], list[FairpruneError]]:
        """The plug-ins that can be loaded, by name, and what is wrong with the others."""
        modules, faults = {}, []
        for name in self.names():
            try:
                modules[name] = self.load(name)
            except FairpruneError as error:
                faults.append(error)
        return modules, faults

    def _folders(self) -> list[str]:
        if self.package in sys.modules:
            return list(sys.modules[self.package].__path__)
        # Found from the top package alone: importing those between may load torch.
        top, *inner = self.package.split(".")
        spec = importlib.util.find_spec(top)
        return [str(Path(place, *inner)) for place in (spec and spec.submodule_search_locations) or ()]

    def _file(self, name: str) -> str:
        places = [
            Path(folder, inner)
            for folder in self._folders()
            for module in (name.replace("-", "_"), name)
            for inner in (f"{module}.py", f"{module}/__init__.py")
        ]
        return str(next((place for place in places if place.is_file()), self.package))


def _literals(node: ast.Assign) -> dict[str, Any]:
    """Values by name of an assignment of plain values: of one, or of several to a tuple of names."""
    try:
        value = ast.literal_eval(node.value)
    except ValueError:
        return {}
    target = node.targets[0]
    names, values = (target.elts, value) if isinstance(target, ast.Tuple) else ([target], (value,))
    return {name.id: of for name, of in zip(names, values, strict=False) if isinstance(name, ast.Name)}


METHOD = Kind("fairprune_cli.pruning.methods", "method", ("Method",), prefers="constrained")
NOTION = Kind("fairprune_cli.fairness.notions", "notion", ("build",))
RELAXATION = Kind("fairprune_cli.fairness.relaxations", "relaxation", ("kappa",))
ARCHITECTURE = Kind("fairprune_cli.models.architectures.families", "family of architectures", ("ARCHITECTURES",))
EXPORT_FORMAT = Kind("fairprune_cli.export.formats", "export format", ("SUFFIX", "TOLERANCE", "write", "reload"))
DATASET_FORMAT = Kind("fairprune_cli.data.formats", "dataset format", ("read", "recognise", "suggest"))
REPORT_SECTION = Kind("fairprune_cli.report.sections", "report section", ("ORDER", "build"))
REPORT_WRITER = Kind("fairprune_cli.report.writers", "report format", ("write",))
TRACKER = Kind("fairprune_cli.report.trackers", "tracker", ("PACKAGE", "ENVIRONMENT", "log"))

KINDS = (
    METHOD, NOTION, RELAXATION, ARCHITECTURE, EXPORT_FORMAT, DATASET_FORMAT, REPORT_SECTION, REPORT_WRITER,
    TRACKER,
)  # fmt: skip


_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_import_path(name: str) -> bool:
    """Whether a name means "import this", and is thus nothing to take from a file."""
    return ":" in name


def short_name(name: str) -> str:
    """A name fit for a file: `package.module:MyClass` is `my-class`, any other name stays as it is."""
    if not is_import_path(name):
        return name
    return _WORDS.sub("-", re.split(r"[:.]", name)[-1]).lower().replace("_", "-")


def is_pickled_network(name: str) -> bool:
    """Whether a name given as an architecture is that of a file, which is unpickled for its network."""
    return name.endswith((".pt", ".pth")) and not is_import_path(name)


CODE_KEYS = ("arch", "method", "notion")
"""Settings that may name a user's own code."""


def own_code(values: Mapping[str, Any]) -> dict[str, str]:
    """Those settings, by key, that mean "import this", or "unpickle this" as an architecture."""
    named = {key: name for key in CODE_KEYS if isinstance(name := values.get(key), str)}
    return {k: name for k, name in named.items() if is_import_path(name) or (k == "arch" and is_pickled_network(name))}


def refuse_code_of_files(values: Mapping[str, Any], sources: Mapping[str, str], config: str | None = None) -> None:
    """The call alone chooses what is imported, by a flag or a file given by --config; nothing that was there before it.

    A settings file that lies in the working directory may come with data, the environment from a file of the folder.

    Args:
        values, sources: settings and where each came from, a file by its path.
        config: what --config was given.

    Raises:
        FairpruneError: a setting from anywhere else means "import this".
    """
    for key, name in own_code(values).items():
        if sources[key] not in ("flag", "default", config):
            found = f"FAIRPRUNE_{key.upper()}" if sources[key] == "environment" else sources[key]
            raise FairpruneError(
                f"it names {name!r} as its {key}, and what merely is there is no reason to import code",
                where=found, hint=f"if that is your own code, say so with --{key} {name}",
            )  # fmt: skip


@contextmanager
def working_directory_importable() -> Iterator[None]:
    """Console scripts do not look into the working directory; `python -m` does, and people expect it."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def import_own(path: str, flag: str, example: str, what: str) -> Any:
    """The callable behind `package.module:name`. It runs the user's code: only for names that the user has typed.

    Args:
        flag: that it was given to, for messages; example: a right value of it.
        what: the callable that is wanted, in words.

    Raises:
        FairpruneError: not of that form, no such module, the module fails to import, no such name in it,
            or the name is not callable.
    """
    where = f"{flag} {path}"
    if not _IMPORT_PATH.fullmatch(path):
        raise FairpruneError("not of the form package.module:name", where=where, hint=f"e.g. {example}")
    module_name, _, attribute = path.partition(":")
    try:
        with working_directory_importable():
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise FairpruneError(
                f"there is no module {error.name!r}", where=where,
                hint="run from the folder that holds it, or put that folder into PYTHONPATH",
            ) from error  # fmt: skip
        raise own_failed(path, flag, f"importing {module_name}", error) from error
    # The user's module may raise anything, and some scripts without a main guard call sys.exit.
    except (Exception, SystemExit) as error:
        raise own_failed(path, flag, f"importing {module_name}", error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name in dir(found) if not name.startswith("_")]
            raise FairpruneError(f"{module_name} has no {attribute!r}", where=where, hint=nearest(part, public))
        found = getattr(found, part)
    if not callable(found):
        raise FairpruneError(f"{attribute} is {type(found).__name__}, not callable", where=where, hint=f"name {what}")
    return found


def own_failed(path: str, flag: str, what: str, error: BaseException) -> FairpruneError:
    """What to say where a user's own code raised."""
    said = " ".join(str(error).split())
    return FairpruneError(f"{what} failed with {type(error).__name__}: {said}", where=f"{flag} {path}")
