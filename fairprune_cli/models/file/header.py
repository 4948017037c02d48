"""What a model file says about its model, as the strings of a safetensors header."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairprune_cli import __version__
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.file.group_points import GroupPoints, why_unsound
from fairprune_cli.models.options import GRANULARITIES

FORMAT = "fairprune"
FORMAT_VERSION = 1
STORED_GRANULARITIES = ("dense", *GRANULARITIES)
ENCODINGS = ("dense", "bitmask", "gaps")  # on a tie of sizes the first wins
MAX_RANK = 8
GROUPS = "group_thresholds"
MEND = "export or prune again; if the file was copied, copy it again"


@dataclass(frozen=True)
class ModelHeader:
    """What a model file says about its model.

    Attributes:
        architecture: name that `architectures.build` knows, or `package.module:factory`.
        classes: names in the order of the model's outputs; decimal numbers where names are unknown.
        transform: `manifest.Transform.to_dict()`, or {} where the input transform is unknown.
        granularity: dense, channel, weight or 2:4.
        removed: what was removed where: an `Account` of architectures/fitting.py, and {"shape", "kept"} of each tensor
            that lost single weights.
        tool_version: version of fairprune that wrote the file.
        outputs: for how many classes the architecture is built, where these are not as many as `classes`; else 0.
        tasks: where the scores stand, {"name", "classes", "output", "outputs", "threshold"} for each task, as a
            manifest says it; () where the network has one score for each of the classes.
        aliases: further names of weights that are tied, with the name that their tensor has in the file.
        group_thresholds: operating points of groups, one entry for each task that has any; mostly ().
    """

    architecture: str
    classes: tuple[str, ...]
    transform: dict[str, Any]
    granularity: str
    removed: dict[str, Any]
    tool_version: str = __version__
    aliases: dict[str, str] = field(default_factory=dict)
    outputs: int = 0
    tasks: tuple[dict[str, Any], ...] = ()
    group_thresholds: tuple[GroupPoints, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """The header as the strings of a safetensors header, without `encodings`."""
        return {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "architecture": self.architecture,
            "classes": dump(list(self.classes)),
            "transform": dump(self.transform),
            "granularity": self.granularity,
            "removed": dump(self.removed),
            "tool_version": __version__,
            **({"aliases": dump(self.aliases)} if self.aliases else {}),
            **({"outputs": str(self.outputs)} if self.outputs else {}),
            **({"tasks": dump(list(self.tasks))} if self.tasks else {}),
            **({GROUPS: dump([one.to_dict() for one in self.group_thresholds])} if self.group_thresholds else {}),
        }

    @property
    def built_for(self) -> int:
        """For how many classes the architecture is built."""
        return self.outputs or len(self.classes)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str = "") -> ModelHeader:
        """The header from those strings; raises FairpruneError with all that is wrong with them."""
        if metadata.get("format") != FORMAT:
            raise FairpruneError(
                "not a model file of fairprune: its header has no format = fairprune",
                where=where,
                hint="a safetensors state dict is read by `fairprune prune` and `fairprune inspect`",
            )
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise FairpruneError(
                f"format version {metadata.get('format_version')!r}, this fairprune reads {FORMAT_VERSION}",
                where=where,
                hint="install a newer fairprune",
            )
        problems = Problems(where)
        classes = parsed(metadata, "classes", list, problems)
        transform = parsed(metadata, "transform", dict, problems)
        removed = parsed(metadata, "removed", dict, problems)
        aliases = parsed(metadata, "aliases", dict, problems) if "aliases" in metadata else {}
        if not all(isinstance(name, str) for name in aliases.values()):
            problems.add("header: aliases are not names")
        if not classes or not all(isinstance(name, str) for name in classes):
            problems.add("header: classes is not a list of names")
        problems.extend(_faults_of_removed(removed))
        if transform:
            try:
                Transform.from_dict(transform, "header: transform")
            except FairpruneError as error:
                problems.extend(f"header: transform: {line}" for line in error.what.splitlines())
        if not metadata.get("architecture"):
            problems.add("header: architecture is missing")
        outputs = _outputs(metadata, problems)
        tasks = parsed(metadata, "tasks", list, problems) if "tasks" in metadata else []
        problems.extend(fault for task in tasks for fault in _faults_of_task(task))
        points = _group_points(metadata, classes, tasks, problems)
        if (granularity := metadata.get("granularity", "")) not in STORED_GRANULARITIES:
            problems.add(f"header: unknown granularity {granularity!r}")
        problems.raise_if_any(MEND)
        version = metadata.get("tool_version", "")
        return cls(
            metadata["architecture"], tuple(classes), transform, granularity, removed, version, aliases, outputs,
            tuple(tasks), points,
        )  # fmt: skip


def _outputs(metadata: Mapping[str, str], problems: Problems) -> int:
    """The number under `outputs`; 0 where there is none."""
    text = metadata.get("outputs", "0")
    if text.isdecimal() and len(text) < 10:
        return int(text)
    problems.add("header: outputs is no count")
    return 0


def _group_points(
    metadata: Mapping[str, str], classes: list[Any], tasks: list[Any], problems: Problems
) -> tuple[GroupPoints, ...]:
    """The entries under `group_thresholds`; () where there are none, or any of them is unsound."""
    if GROUPS not in metadata:
        return ()
    told = parsed(metadata, GROUPS, list, problems)
    faults = [f"header: {GROUPS}: {why}" for one in told if (why := why_unsound(one))]
    if not faults:
        of_task = {one["name"]: one["classes"] for one in tasks if not _faults_of_task(one)} or {"": classes}
        names = [one["task"] for one in told]
        if len(set(names)) < len(names) or any(of_task.get(one["task"]) != one["classes"] for one in told):
            faults.append(f"header: {GROUPS}: an entry is not that of one of the tasks, with its classes")
    problems.extend(faults)
    return () if faults else tuple(map(GroupPoints.from_dict, told))


def _faults_of_task(task: Any) -> list[str]:
    """What is wrong with one of `tasks`."""
    told: dict[str, Any] = task if isinstance(task, dict) else {}
    classes, outputs, output = told.get("classes"), told.get("outputs"), told.get("output")
    threshold = told.get("threshold", 0.5)
    sound = (
        isinstance(told.get("name"), str)
        and isinstance(classes, list) and len(classes) > 1 and all(isinstance(name, str) for name in classes)
        and (outputs is None or (isinstance(outputs, list) and outputs and all(_is_count(n) for n in outputs)))
        and (output is None or isinstance(output, str) or _is_count(output))
        and type(threshold) in (int, float) and 0.0 < threshold < 1.0
    )  # fmt: skip
    return [] if sound else ["header: one of tasks is not what docs/format.md says of them"]


def buffers_left_out(removed: Mapping[str, Any]) -> list[str]:
    """Names of the buffers that shrank, so that a file has to hold them, though a state dict leaves them out."""
    return sorted(name for name, told in removed.items() if isinstance(told, dict) and told.get("persistent") is False)


def _faults_of_removed(removed: Mapping[str, Any]) -> list[str]:
    """What is wrong with `removed`."""
    faults = []
    for name, entry in removed.items():
        told: dict[str, Any] = entry if isinstance(entry, dict) else {}
        shape, kept = told.get("shape", []), told.get("kept")
        sound = isinstance(shape, list) and len(shape) <= MAX_RANK and all(_is_count(n) for n in shape)
        if not sound or not isinstance(kept, int) or not _is_count(kept):
            faults.append(f"header: removed of {name!r}: shape or kept is missing or no count")
        elif "shape" in told and kept > math.prod(shape):
            faults.append(f"header: removed of {name!r}: keeps {kept} of {math.prod(shape)} entries")
        shape = shape if sound else []
        dims = told.get("dims", [])
        listed = isinstance(dims, list) and all(_is_count(dim) and dim < len(shape) for dim in dims)
        if not listed or ("dims" in told and "shape" not in told):
            faults.append(f"header: removed of {name!r}: dims are not dimensions of its shape")
        if told.get("persistent", False) is not False:
            faults.append(f"header: removed of {name!r}: persistent is there only where it is false")
    return faults


def dump(value: Any) -> str:
    """Compact JSON with sorted keys; FairpruneError for what JSON cannot hold, NaN included."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FairpruneError(f"the model's header cannot be written as JSON: {error}") from error


def parsed(metadata: Mapping[str, str], key: str, kind: type, problems: Problems) -> Any:
    """The JSON under `key`, or an empty `kind` and a problem when it is not one of that kind."""
    try:
        value = json.loads(metadata.get(key, "null"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        problems.add(f"header: {key} is missing or not the JSON it should be")
        return kind()
    return value


def parsed_encodings(
    metadata: Mapping[str, str], dtypes: Container[str], problems: Problems
) -> dict[str, dict[str, Any]]:
    """The sound entries {tensor: {"encoding", "shape", "dtype", "kept"}}; a problem for each other one."""
    sound = {}
    for name, entry in parsed(metadata, "encodings", dict, problems).items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        counts = isinstance(shape, list) and len(shape) <= MAX_RANK and all(_is_count(n) for n in shape)
        if not counts or not _is_count(entry.get("kept")):
            problems.add(f"header: encodings of {name!r}: shape or kept is missing or no count")
        elif entry.get("encoding") not in ENCODINGS or str(entry.get("dtype")) not in dtypes:
            problems.add(f"header: encodings of {name!r}: unknown encoding or dtype")
        else:
            sound[name] = entry
    return sound


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62  # bool is an int too, and no count
