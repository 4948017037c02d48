"""What a saved state was computed from: if any of it differs, the run would go on as another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fairprune_cli import __version__
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.core.settings import values_of
from fairprune_cli.run.folder import FREE_ON_RESUME
from fairprune_cli.run.options import Settings

_FILES = {"model": "the model", "manifest": "the manifest or its table", "images": "the images"}


def origin_of(settings: Settings, *, model: str, manifest: str, images: str) -> dict[str, Any]:
    """Plain values that name everything a run depends on.

    Args:
        model, manifest, images: digests of the checkpoint, of manifest and table, and of the decoded pixels.
    """
    # A policy judges and computes nothing, and its path depends on the working directory.
    values = {k: v for k, v in values_of(settings).items() if k not in FREE_ON_RESUME | {"policy"}}
    return {
        "model": model, "manifest": manifest, "images": images, "version": __version__,
        "settings": {k: repr(v) for k, v in values.items()},
    }  # fmt: skip


def refuse_other_origin(saved: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Raise FairpruneError that names everything in which `now` differs from what the state was computed from."""
    changed = [text for key, text in _FILES.items() if saved.get(key) != now[key]]
    then = saved.get("settings")
    then = then if isinstance(then, dict) else {}
    changed += [
        f"--{key.replace('_', '-')} ({then.get(key, 'unknown')} in the state, {value} in config.yaml)"
        for key, value in now["settings"].items()
        if then.get(key) != value
    ]
    if saved.get("version") != now["version"]:
        changed.append(f"fairprune itself (the state is of version {saved.get('version')}, this is {now['version']})")
    if changed:
        raise FairpruneError(
            f"changed since the state was saved: {'; '.join(changed)}", where=where,
            hint="put back what changed, or start a new run",
        )  # fmt: skip


@contextmanager
def of_this_form(where: str) -> Iterator[None]:
    """A block that takes up a state; FairpruneError where its form is another, as between two builds of one version."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise FairpruneError(
            f"the state has another form than this build of fairprune {__version__} gives it", where=where,
            hint="start a new run",
        ) from error  # fmt: skip
