"""Where output goes, and whether the exit code survives it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from _false_yes.scene import GAP, Scene, attempt
from tests.support.commands import Ran

KIND = "streams"
AUDIT = 'fairprune audit "$MODEL" --data manifest.yaml --max-gap 0.1'


def shell(scene: Scene, line: str, bad: int = 60) -> Ran:
    scene.write(scene.rows(bad=bad))
    return scene.shell(line)


@attempt(KIND, "--quiet", 1)
def quiet(scene: Scene) -> Ran:
    return scene.plain(*GAP, "--quiet")


@attempt(KIND, "--json, which says fail as well", 1)
def as_json(scene: Scene) -> Ran:
    ran = scene.plain(*GAP, "--json")
    return ran if json.loads(ran.out)["verdict"] == "fail" else Ran(0, ran.out, ran.err)


@attempt(KIND, "--json of a small group, which names it in the gate", 4, says='"n": 29')
def json_small(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    ran = scene.audit(*GAP, "--json")
    return Ran(ran.code, json.dumps(json.loads(ran.out)["gates"]), ran.err)


@attempt(KIND, "standard output closed", 1, 3)
def closed(scene: Scene) -> Ran:
    return shell(scene, f"{AUDIT} >&-")


@attempt(KIND, "standard error closed", 1)
def closed_errors(scene: Scene) -> Ran:
    return shell(scene, f"{AUDIT} 2>&-")


@attempt(KIND, "standard output full, though every gate passes", 3)
def full(scene: Scene) -> Ran:
    return shell(scene, f"{AUDIT} > /dev/full", bad=0)


@attempt(KIND, "a pipe that is closed early", 1, 3, 141)
def early(scene: Scene) -> Ran:
    return shell(scene, f"{AUDIT} | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}")


@attempt(KIND, "a pipe under pipefail, as docs/ci.md has it", 1)
def pipe(scene: Scene) -> Ran:
    return shell(scene, f"set -o pipefail; {AUDIT} | tee log > /dev/null")


@attempt(KIND, "standard input closed", 1)
def no_input(scene: Scene) -> Ran:
    return shell(scene, f"{AUDIT} <&-")


@attempt(KIND, "JUnit of a small group, which is an error there and named", 4, says="dark (29 images)")
def junit(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    ran = scene.audit(*GAP)
    text = scene.fairprune("report", "out", "--to", "junit").out
    return Ran(ran.code, text if 'errors="1"' in text else "no error", "")


@attempt(KIND, "annotations of a job, which name a small group", 4, says="::warning")
def annotations(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    ran = scene.audit(*GAP, "--quiet", env={"GITHUB_ACTIONS": "true"})
    named = any("dark (29 images)" in line for line in ran.err.splitlines() if line.startswith("::warning"))
    return ran if named else Ran(ran.code, "", "")


@attempt(KIND, "terminated while it reads", 143, -15)
def terminated(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    command = [sys.executable, "-m", "fairprune_cli", "audit", scene.model, "--data", "manifest.yaml", *GAP]
    started = subprocess.Popen(command, cwd=scene.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    started.terminate()
    out, err = started.communicate(timeout=60)
    return Ran(started.returncode, out, err)
