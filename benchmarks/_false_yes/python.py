"""The same from Python, where a yes is also a truth value, a flag of an object, or an exception that did not come."""

from __future__ import annotations

from _false_yes.scene import Scene, attempt
from tests.support.commands import Ran

KIND = "python"
AUDIT = "fairprune_cli.audit(model, data='manifest.yaml', attr='skin'"
END = """
import sys
try:
    {line}
except fairprune_cli.FairpruneError as error:
    print("error:", error, file=sys.stderr)
    sys.exit(int(error.code))
except TypeError as error:
    print("error:", error, file=sys.stderr)
    sys.exit(2)
"""


def ran(scene: Scene, line: str, bad: int = 60, before: str = "") -> Ran:
    """A line of Python, which ends as the command would where it raises; in it `model` is the path of the model."""
    scene.write(scene.rows(bad=bad))
    return scene.python(before + END.format(line=line))


@attempt(KIND, "assert audit(...), which passes for any object", 2, says="check()")
def asserted(scene: Scene) -> Ran:
    return ran(scene, f"assert {AUDIT}, max_gap=0.1)")


@attempt(KIND, "`if audit(...)`", 2, says="check()")
def in_if(scene: Scene) -> Ran:
    return ran(scene, f"print('yes' if {AUDIT}, max_gap=0.1) else 'no')")


@attempt(KIND, "check() of a gate that fails", 1, says="gap (skin)")
def check(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gap=0.1).check()")


@attempt(KIND, "check() without a gate", 2, says="no gate")
def check_without(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}).check()")


@attempt(KIND, "`passed` without a gate", 2)
def passed_without(scene: Scene) -> Ran:
    return ran(scene, f"sys.exit(0 if {AUDIT}).passed else 2)")


@attempt(KIND, "check() with 29 images of the bad group", 4, says="dark (29 images)")
def check_small(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gap=0.1).check()", bad=29)


@attempt(KIND, "a misspelt keyword", 2, says="max_gap")
def misspelt(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gab=0.1).check()")


@attempt(KIND, "a bound of None", 2, says="no gate")
def none(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gap=None).check()")


@attempt(KIND, "a bound that is no number", 2, says="max_gap")
def nan(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gap=float('nan')).check()")


@attempt(KIND, "a bound that is true", 2, says="max_gap")
def true(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, max_gap=True).check()")


@attempt(KIND, "the document of a report edited in memory", 1, 2)
def edited(scene: Scene) -> Ran:
    before = f"report = {AUDIT}, max_gap=0.1)\nreport.document['verdict'] = report.gates[0]['verdict'] = 'pass'"
    return ran(scene, "report.check()", before=before)


@attempt(KIND, "a Report made of nothing but a verdict", 2, says="there is no gate")
def forged(scene: Scene) -> Ran:
    return ran(scene, "fairprune_cli.Report({'schema_version': 1, 'verdict': 'pass', 'gates': []}).check()")


@attempt(KIND, "a report.json edited and read again", 2, says="contradicts itself")
def read_again(scene: Scene) -> Ran:
    before = f"""
import json
{AUDIT}, max_gap=0.1).save('out')
document = json.load(open('out/report.json'))
document['verdict'] = document['gates'][0]['verdict'] = 'pass'
json.dump(document, open('out/report.json', 'w'))
"""
    return ran(scene, "fairprune_cli.Report.read('out').check()", before=before)


@attempt(KIND, "a function that answers with the same class for all", 4, says="not better than always answering")
def constant(scene: Scene) -> Ran:
    call = "fairprune_cli.audit(f, data='manifest.yaml', attr='skin', max_gap=0.3).check()"
    return ran(scene, call, bad=0, before="def f(x):\n    return [[0.9, 0.1]] * len(x)\n")


@attempt(KIND, "a function that answers with no numbers", 2, 3, says="not finite")
def no_numbers(scene: Scene) -> Ran:
    call = "fairprune_cli.audit(f, data='manifest.yaml', attr='skin', max_gap=0.1).check()"
    return ran(scene, call, before="def f(x):\n    return [[float('nan'), 0.1]] * len(x)\n")


@attempt(KIND, "a function that answers for fewer images than it got", 2, 3)
def fewer(scene: Scene) -> Ran:
    call = "fairprune_cli.audit(f, data='manifest.yaml', attr='skin', max_gap=0.1).check()"
    return ran(scene, call, before="def f(x):\n    return [[0.9, 0.1]] * (len(x) - 1)\n")


@attempt(KIND, "predictions in memory without the bad group", 2, says="dark 60")
def left_out(scene: Scene) -> Ran:
    before = """
import csv
said = {row['file']: row['expression'] for row in csv.DictReader(open('table.csv')) if row['skin'] != 'dark'}
"""
    return ran(
        scene, "fairprune_cli.audit(said, data='manifest.yaml', attr='skin', max_gap=0.1).check()", before=before
    )


@attempt(KIND, "a model held against itself, by losses", 2, says="same")
def itself(scene: Scene) -> Ran:
    return ran(scene, f"{AUDIT}, against=model, max_degradation=0.01).check()")
