"""Text that reads as one thing and is another."""

from __future__ import annotations

from _false_yes.scene import GAP, SKIN, Scene, attempt
from tests.support.commands import Ran

KIND = "encodings"
POLICY = "rules: [{attribute: skin, max_gap: 0.1}]\n"


@attempt(KIND, "a policy in UTF-16", 2)
def utf16(scene: Scene) -> Ran:
    return scene.with_policy(POLICY, "utf-16")


@attempt(KIND, "a policy with a byte order mark", 1)
def byte_order_mark(scene: Scene) -> Ran:
    return scene.with_policy(POLICY, "utf-8-sig")


@attempt(KIND, "a policy with the line ends of Windows", 1)
def windows(scene: Scene) -> Ran:
    return scene.with_policy(POLICY.replace("\n", "\r\n"))


@attempt(KIND, "a policy in Latin-1 with a name beyond ASCII", 2)
def latin(scene: Scene) -> Ran:
    return scene.with_policy("rules: [{attribute: skin, max_gap: 0.1, name: für alle}]\n", "latin-1")


@attempt(KIND, "a policy of zeros", 2)
def zeros(scene: Scene) -> Ran:
    return scene.with_policy("\0" * 100)


@attempt(KIND, "a character of no width in a key", 2)
def no_width(scene: Scene) -> Ran:
    return scene.with_policy("max_gap\u200b: 0.1\nmin_accuracy: 0.5\n")


@attempt(KIND, "a Cyrillic letter in a key", 2)
def cyrillic_key(scene: Scene) -> Ran:
    return scene.with_policy("m\u0430x_gap: 0.1\nmin_accuracy: 0.5\n")


@attempt(KIND, "a Cyrillic letter in the attribute of a rule", 2)
def cyrillic_attribute(scene: Scene) -> Ran:
    return scene.with_policy("rules: [{attribute: s\u043ain, max_gap: 0.1}]\n")


@attempt(KIND, "the bad group parted in two by a Cyrillic letter", 4)
def cyrillic_group(scene: Scene) -> Ran:
    rows = scene.rows(bad=50)
    scene.write([row | {"skin": "d\u0430rk"} if row["skin"] == "dark" and i % 2 else row for i, row in enumerate(rows)])
    return scene.audit(*GAP)


@attempt(KIND, "the bad group parted in two by a space at the end", 1, 2, 4)
def space(scene: Scene) -> Ran:
    rows = scene.rows(bad=50)
    scene.write([row | {"skin": "dark "} if row["skin"] == "dark" and i % 2 else row for i, row in enumerate(rows)])
    return scene.audit(*GAP)


@attempt(KIND, "the bad group parted in two by upper case", 4)
def upper_case(scene: Scene) -> Ran:
    rows = scene.rows(bad=50)
    scene.write([row | {"skin": "Dark"} if row["skin"] == "dark" and i % 2 else row for i, row in enumerate(rows)])
    return scene.audit(*GAP)


@attempt(KIND, "a table in UTF-16", 2)
def table_utf16(scene: Scene) -> Ran:
    scene.write(scene.rows(), encoding="utf-16")
    return scene.audit(*GAP)


@attempt(KIND, "a table with a byte order mark", 1)
def table_mark(scene: Scene) -> Ran:
    scene.write(scene.rows(), encoding="utf-8-sig")
    return scene.audit(*GAP)


@attempt(KIND, "fairprune.yaml in UTF-16", 2)
def settings_utf16(scene: Scene) -> Ran:
    scene.policy("max_gap: 0.1\n", "utf-16", "fairprune.yaml")
    return scene.plain()


@attempt(KIND, "fairprune.yaml with a byte order mark", 1)
def settings_mark(scene: Scene) -> Ran:
    scene.policy("max_gap: 0.1\n", "utf-8-sig", "fairprune.yaml")
    return scene.plain()


@attempt(KIND, "an attribute written twice in the manifest, the second with other groups", 2)
def doubled_attribute(scene: Scene) -> Ran:
    scene.write(scene.rows(), f"{SKIN}, skin: {{column: gender}}")
    return scene.audit(*GAP)


@attempt(KIND, "a group called yes, no or null in YAML", 1)
def yaml_words(scene: Scene) -> Ran:
    words = {"light": "yes", "medium": "no", "dark": "off"}
    scene.write(
        [row | {"skin": words[row["skin"]]} for row in scene.rows()], "skin: {column: skin, values: [yes, no, off]}"
    )
    return scene.audit(*GAP)
