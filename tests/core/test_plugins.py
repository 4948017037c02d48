"""Plug-ins: what is listed, what is refused and by which name, and code of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path, own_code, refuse_code_of_files, short_name
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from tests.support.plugins import plugged_in

FAULTS = {
    "a module that is not there": ("import no_such_module_xyz\n", "ModuleNotFoundError: No module named"),
    "a syntax error": ("def kappa(:\n", "SyntaxError"),
    "anything raised": ("raise RuntimeError('no luck')\n", "RuntimeError: no luck"),
    "an exit": ("import sys\nsys.exit('bye')\n", "SystemExit: bye"),
    "nothing in it": ("", "does not define"),
}


@pytest.mark.parametrize("kind", plugins.KINDS, ids=lambda kind: kind.word)
def test_a_folder_of_plug_ins_holds_nothing_else(kind: plugins.Kind) -> None:
    names = kind.names()
    assert names == sorted(names)
    assert list(kind.load_all()) == names


@pytest.mark.parametrize("kind", plugins.KINDS, ids=lambda kind: kind.word)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_cannot_be_loaded_is_named_with_its_file_and_disturbs_no_other(
    fault: str, kind: plugins.Kind, tmp_path: Path
) -> None:
    text, said = FAULTS[fault]
    others = kind.names()
    with plugged_in(kind, tmp_path / "folder", made_up=text):
        assert kind.names() == sorted([*others, "made-up"])  # listed, so that --help goes on
        for load in (lambda: kind.load("made-up"), kind.load_all):
            with pytest.raises(FairpruneError) as caught:
                load()
            assert caught.value.where == str(tmp_path / "folder" / "made_up.py")
            assert f"the {kind.word} made-up cannot be loaded: " in caught.value.what
            assert said in caught.value.what
            assert caught.value.code == 2
        assert kind.load(others[0])
        assert list(kind.load_sound()[0]) == others
    assert kind.names() == others


def test_what_is_missing_is_named() -> None:
    for kind in plugins.KINDS:
        assert kind.needs
    kind = plugins.Kind("fairprune_cli.fairness.relaxations", "thing", ("kappa", "lambda_", "mu"))
    with pytest.raises(FairpruneError, match="does not define lambda_, mu"):
        kind.load("hinge")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(FairpruneError, match="unknown method 'bifb'") as caught:
        plugins.METHOD.load("bifb")
    assert "'bifp'" in caught.value.hint


def test_listing_and_export_formats_load_no_torch() -> None:
    code = (
        "import sys; from fairprune_cli.core import plugins; [kind.names() for kind in plugins.KINDS];"
        "plugins.EXPORT_FORMAT.load_all(); plugins.REPORT_WRITER.load_all(); plugins.DATASET_FORMAT.load_all();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_networks_are_built_beside_a_faulty_family_but_nothing_is_recognised(tmp_path: Path) -> None:
    state = dict(architectures.skeleton("resnet10", 2).state_dict())
    with plugged_in(plugins.ARCHITECTURE, tmp_path / "folder", faulty="import no_such_module_xyz\n"):
        assert architectures.build("resnet10-w16", 2)
        assert architectures.default_lr("vit-tiny") == 0.02
        for ask in (architectures.names, lambda: architectures.identify(state), lambda: architectures.build("rn", 2)):
            with pytest.raises(FairpruneError, match=r"faulty\.py: the family of architectures faulty"):
                ask()


def test_a_method_has_to_be_one(tmp_path: Path) -> None:
    with plugged_in(plugins.METHOD, tmp_path / "folder", made_up="class Method:\n    pass\n"):
        with pytest.raises(FairpruneError, match="not a class derived from") as caught:
            methods.get("made-up")
        assert caught.value.where == str(tmp_path / "folder" / "made_up.py")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("bifp", "bifp"), ("pkg.mod:KeepLargest", "keep-largest"), ("m:L2Norm", "l2-norm"),
        ("m:Outer.FPGMTwice", "fpgm-twice"), ("m:my_method", "my-method"),
    ],
)  # fmt: skip
def test_names_for_files_have_neither_colon_nor_dot(name: str, short: str) -> None:
    assert short_name(name) == short


def test_only_some_settings_name_code() -> None:
    values = {"method": "a.b:C", "notion": "odds", "arch": None, "granularity": "2:4", "data": "c:/x"}
    assert own_code(values) == {"method": "a.b:C"}
    assert is_import_path("a.b:C")
    # A file that is unpickled for its network is code as well; a name of another setting is no such file.
    assert own_code({"arch": "nets/whole.pt", "data": "x.pth", "method": "m.pt"}) == {"arch": "nets/whole.pt"}
    with pytest.raises(FairpruneError, match="no reason to import code"):
        refuse_code_of_files({"arch": "whole.pth"}, {"arch": "fairprune.yaml"})


def test_the_call_alone_chooses_code() -> None:
    values = {"method": "a.b:C", "notion": "odds", "arch": "m:net"}
    for allowed in ("flag", "mine.yaml"):
        refuse_code_of_files(values, dict.fromkeys(values, allowed), "mine.yaml")
    for key, source, where in (
        ("method", "fairprune.yaml", "fairprune.yaml"), ("arch", "fairprune.yaml", "fairprune.yaml"),
        ("arch", "environment", "FAIRPRUNE_ARCH"), ("method", "environment", "FAIRPRUNE_METHOD"),
    ):  # fmt: skip
        sources = dict.fromkeys(values, "flag") | {key: source}
        with pytest.raises(FairpruneError, match="no reason to import code") as caught:
            refuse_code_of_files(values, sources, "mine.yaml")
        assert f"--{key} {values[key]}" in caught.value.hint
        assert caught.value.where == where
    refuse_code_of_files(values, dict.fromkeys(values, "flag") | {"notion": "fairprune.yaml"})
