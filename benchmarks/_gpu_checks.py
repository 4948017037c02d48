"""What gpu.py checks: the commands as a user types them, in processes of their own, on the device that is asked for."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fairprune_cli
from fairprune_cli.core.device import repeatable
from fairprune_cli.core.files import sha256_file
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.manifest.load import load_manifest

ROOT = Path(__file__).parents[1]
GRANULARITIES = {"channel": "0.8", "weight": "0.95", "2:4": "0.5"}  # and the sparsity asked for
MARKED = "pytest.mark.cuda"
WARNED = re.compile(r"^ .*?(\w*Warning: [^.\n]*)", re.M)  # as pytest tells of them, the first sentence
NEAR = 0.05  # least difference of the two largest logits, over their spread, that rounding must not turn around
FEW = 0.002  # share of the images whose prediction rounding may turn around from one pass to another


class Failed(Exception):
    """A check did not hold; the message says how."""


class Skipped(Exception):
    """A check could not be made; the message says why."""


@dataclass
class Check:
    """How a check ended: "ok", "failed" or "skipped", in words, and how long it took."""

    name: str
    outcome: str
    text: str
    seconds: float


@dataclass(frozen=True)
class Shop:
    """Where the checks work.

    Attributes:
        folder: of model.pt and manifest.yaml.
        device: cuda or cpu; small: few images, one epoch; workers: processes at once.
        deadline: of time.monotonic().
    """

    folder: Path
    device: str
    small: bool
    workers: int
    deadline: float

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def environment(self) -> dict[str, str]:
        threads = max((os.cpu_count() or 1) // self.workers, 1)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("FAIRPRUNE_")},
            "PYTHONPATH": str(ROOT), "FAIRPRUNE_CACHE": os.environ["FAIRPRUNE_CACHE"],
            "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive",
        }  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "fairprune_cli", *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def written(self, running: subprocess.Popen[str]) -> tuple[str, str]:
        """What a process wrote to stdout and stderr by its end.

        Raises:
            Skipped: no time is left.
        """
        try:
            return running.communicate(timeout=max(self.left, 1.0))
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()
            raise Skipped("no time was left") from None

    def finish(self, running: subprocess.Popen[str], codes: Sequence[int] = (0,)) -> str:
        """What it wrote to stdout.

        Raises:
            Failed: another exit code than these; Skipped: no time is left.
        """
        out, err = self.written(running)
        if running.returncode not in codes:
            command = " ".join(map(str, running.args[3:])) if isinstance(running.args, list) else ""
            raise Failed(f"fairprune {command}: exit code {running.returncode}: {err.strip()[-600:]}")
        return out

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        """The command from start to end; see `finish`."""
        return self.finish(self.start(*arguments), codes)

    def prune(self, granularity: str, out: str, *more: str, model: str = "model.pt") -> list[str]:
        """The main command's arguments."""
        return [
            "prune", model, "--sparsity", GRANULARITIES[granularity], "--granularity", granularity, "--attr",
            "gender", "--epochs", "1" if self.small else "3", "--device", self.device, "--out", out, "--quiet", *more,
        ]  # fmt: skip


def made_checks(shop: Shop, say: Callable[[Check], None]) -> list[dict[str, Any]]:
    """All checks; each is caught, so that the others are made."""
    say(first := _made("a dense model is trained", lambda: dense_model(shop)))
    if first.outcome != "ok":
        return [asdict(first)]
    together: dict[str, Callable[[], str]] = {
        **{
            f"prune by {granularity}, twice: the same bytes": lambda granularity=granularity: twice(shop, granularity)
            for granularity in GRANULARITIES
        },
        "prune a vision transformer in bf16, twice: the same bytes": lambda: attention(shop),
        "prune by channel, killed with SIGKILL twice and continued": lambda: killed(shop),
        "the tests marked cuda": lambda: marked_tests(shop),
    }
    after: dict[str, Callable[[], str]] = {
        f"audit of the model by {granularity}: {shop.device} and cpu": lambda granularity=granularity: audited(
            shop, granularity
        )
        for granularity in GRANULARITIES
    }
    after |= {f"export to {to}": lambda to=to: exported(shop, to) for to in ("safetensors-dense", "pt2", "onnx")}
    checks = [first]
    for group in (together, after):
        with ThreadPoolExecutor(shop.workers) as pool:
            for future in [pool.submit(_made, name, check) for name, check in group.items()]:
                checks.append(future.result())
                if "SIGKILL" in checks[-1].name:
                    killed_bytes(shop, checks[-1])  # the whole run has ended: it was handed in before
                say(checks[-1])
    return [asdict(check) for check in checks]


def _made(name: str, check: Callable[[], str]) -> Check:
    began = time.monotonic()
    try:
        outcome, text = "ok", check()
    except Skipped as reason:
        outcome, text = "skipped", str(reason)
    except Exception as error:
        outcome, text = "failed", str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    return Check(name, outcome, text, time.monotonic() - began)


def dense_model(shop: Shop) -> str:
    sizes = {"train": 600, "val": 600, "test": 600} if shop.small else {"train": 4000, "val": 4000, "test": 4000}
    write_sample(shop.folder, seed=0, sizes=sizes)
    report = json.loads(shop.run(
        "train", "--arch", "resnet10-w16", "--epochs", "1" if shop.small else "5", "--device", shop.device, "--json",
        "--quiet",
    ))  # fmt: skip
    return f"resnet10-w16 on {sizes['train']} drawn faces, accuracy {report['val_accuracy']:.3f}"


def twice(shop: Shop, granularity: str) -> str:
    """Two runs of the main command end in the same bytes."""
    outs = [f"{name_of(granularity)}-{n}" for n in (1, 2)]
    running = [shop.start(*shop.prune(granularity, out)) for out in outs]
    for one in running:
        shop.finish(one)
    return same_bytes(shop, *outs)


def attention(shop: Shop) -> str:
    """Attention, whose fused kernels add up in any order unless that is forbidden: the same bytes twice as well."""
    shop.run("train", "--arch", "vit-tiny", "--epochs", "1", "--device", shop.device, "--out", "vit.pt", "--quiet")
    outs = ("vit-1", "vit-2")
    more = ("--precision", "bf16")
    for one in [shop.start(*shop.prune("channel", out, *more, model="vit.pt")) for out in outs]:
        shop.finish(one)
    return same_bytes(shop, *outs)


def same_bytes(shop: Shop, *outs: str) -> str:
    """Two runs have written the same model; its figures.

    Raises:
        Failed: they have not.
    """
    first, second = (sha256_file(shop.folder / out / "model.safetensors") for out in outs)
    if first != second:
        raise Failed(f"{first[:12]} and {second[:12]}")
    report = json.loads((shop.folder / outs[0] / "report.json").read_text(encoding="utf-8"))
    cost, pruned = report["cost"], report["results"]["pruned"]
    text = (
        f"sha256 {first[:12]}, sparsity {report['sparsity']['achieved']:.4f}, accuracy {pruned['accuracy']:.3f}, "
        f"{cost['seconds']:.1f} s, {cost['precision']}"
    )
    told = [warning["text"] for warning in report["warnings"]]
    return text + (f"; warned: {'; '.join(told)}" if told else "")


def killed(shop: Shop) -> str:
    """A run that is killed while the mask moves and once it is fixed, each time continued; for `killed_bytes`."""
    out = shop.folder / "killed"
    running = shop.start(*shop.prune("channel", "killed", "--set", "save_minutes=0"))
    where = []
    for moves in (2, 2) if shop.small else (5, 80):  # of some 100 steps the mask moves in 40
        seen = _moved(shop, running, out / "state" / "state.pt", moves)
        running.kill()
        running.communicate()
        if not seen:
            raise Failed(f"the run ended with code {running.returncode} before it could be killed")
        where.append(f"after {seen} states")
        running = shop.start("prune", "--resume", "killed", "--quiet")
    shop.finish(running)
    return f"killed {' and '.join(where)}"


def _moved(shop: Shop, running: subprocess.Popen[str], state: Path, wanted: int) -> int:
    """Wait until the state has been written so many times more; 0 if the process ends before."""
    stamp, count = _stamp(state), 0
    while count < wanted:
        if shop.left < 0:
            running.kill()
            raise Skipped("no time was left")
        if running.poll() is not None:
            return 0
        if (now := _stamp(state)) != stamp:
            stamp, count = now, count + 1
        time.sleep(0.001)
    return count


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def killed_bytes(shop: Shop, check: Check) -> None:
    """Compare the run that was killed with one that was not, when both have ended."""
    whole, other = (shop.folder / out / "model.safetensors" for out in ("channel-1", "killed"))
    if check.outcome != "ok":
        return
    if not whole.exists():
        check.outcome, check.text = "skipped", f"{check.text}; there is no whole run to compare with"
    elif sha256_file(whole) != sha256_file(other):
        check.outcome, check.text = "failed", f"{check.text}; other bytes than the whole run's"
    else:
        check.text += "; the same bytes as the whole run's"


def audited(shop: Shop, granularity: str) -> str:
    """The audit on the device counts what the CPU counts, up to images whose two largest logits are nearly equal."""
    model = f"{name_of(granularity)}-1"
    if not (shop.folder / model / "report.json").exists():
        raise Skipped("there is no pruned model")
    counts = []
    for device in (shop.device, "cpu"):
        report = json.loads(shop.run("audit", model, "--attr", "gender", "--device", device, "--json", "--quiet"))
        (result,) = report["results"].values()
        groups = result["attributes"]["gender"]["groups"]
        counts.append(np.array([[group["n"], group["correct"]] for group in groups.values()]))
    differ, images, nearest = _predictions(shop, shop.folder / model)
    text = f"{differ} of {images} images are predicted differently"
    if differ:
        text += f", all within {nearest:.2g} of a tie (difference of the two largest logits over their spread)"
    if (counts[0][:, 0] != counts[1][:, 0]).any():
        raise Failed(f"other numbers of images: {counts[0][:, 0]} and {counts[1][:, 0]}")
    moved = int(np.abs(counts[0] - counts[1]).sum())
    if moved > max(differ, images * FEW) or nearest > NEAR:
        raise Failed(f"{text}; right answers differ by {moved}")
    return f"{text}; right answers per group differ by {moved} in all"


def _predictions(shop: Shop, run: Path) -> tuple[int, int, float]:
    """Images predicted differently on the two devices, images in all, and how far from a tie the furthest is."""
    repeatable(torch.device(shop.device))  # as the commands have it
    manifest = load_manifest(shop.folder / "manifest.yaml")
    pool = load_images(manifest, ["gender"]).pool(manifest.rows_of("test"))
    model = fairprune_cli.load(run)
    logits = []
    for device in (shop.device, "cpu"):
        model.to(device)
        with torch.inference_mode():
            logits.append(torch.cat([model(b.images).float().cpu() for b in pool.batches(256, device)]).numpy())
    first, second = logits
    differ = np.flatnonzero(first.argmax(1) != second.argmax(1))
    top = np.sort(second, axis=1)
    margins = (top[:, -1] - top[:, -2])[differ] / second.std()
    return len(differ), len(pool), float(margins.max(initial=0.0))


def exported(shop: Shop, to: str) -> str:
    """`export` reads its file back and compares it with the model."""
    run = shop.folder / "channel-1"
    if not (run / "model.safetensors").exists():
        raise Skipped("there is no pruned model")
    if to == "onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        raise Skipped("onnx, onnxscript and onnxruntime are not all installed")
    shop.run("export", "channel-1", "--to", to, "--out", f"exported-{to}")
    return f"{(shop.folder / f'exported-{to}').stat().st_size:,} bytes, read back and compared"


def marked_tests(shop: Shop) -> str:
    """The suite's tests that need a CUDA device."""
    missing = [name for name in ("pytest", "hypothesis") if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"{' and '.join(missing)} not installed")
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))
             if MARKED in path.read_text(encoding="utf-8") and path.name != "test_gpu.py"]  # fmt: skip
    if not files:
        raise Skipped("no test is marked")
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider", "-rf", *files]
    running = subprocess.Popen(command, cwd=ROOT, env=shop.environment, text=True, stdout=subprocess.PIPE)
    out, _ = shop.written(running)
    counts = re.findall(r"\b\d+ (?:passed|failed|skipped|errors?|warnings?)\b", out)
    last = ", ".join(dict.fromkeys(counts)) + "".join(f"; {line}" for line in sorted(set(WARNED.findall(out))))
    if running.returncode not in (0, 5):
        raise Failed(f"{last}: {'; '.join(re.findall(r'^(?:FAILED|ERROR) .*$', out, flags=re.M))}")
    return last


def name_of(granularity: str) -> str:
    """As part of a folder's name."""
    return granularity.replace(":", "of")
