"""The skeleton that `ldmkit new-plugin` writes works as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from small_recipes import LATENTS

import ldmkit
from ldmkit.cli import main
from ldmkit.cli.new_plugin import KINDS
from ldmkit.cli.skeleton_recipes import USAGE
from ldmkit.host import registry as host
from ldmkit.recipe import Recipe


def new_plugin(*arguments):
    return CliRunner().invoke(main, ["new-plugin", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One plugin of each kind, with the metadata that installing them would write."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        done = new_plugin(f"ldmkit-my-{kind}", "--kind", kind, "--out", folder)
        assert done.exit_code == 0, done.output
    code = (
        "import os, sys; from setuptools import build_meta\n"
        "for place in sys.argv[1:]: os.chdir(place); build_meta.prepare_metadata_for_build_wheel('src')"
    )
    places = [str(folder / f"ldmkit-my-{kind}") for kind in KINDS]
    subprocess.run([sys.executable, "-c", code, *places], check=True, capture_output=True)
    return folder


def test_its_own_tests_pass_for_every_kind(written):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in written.glob("*/src"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "."]
    done = subprocess.run(command, cwd=written, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 2 * len(KINDS)


def test_every_kind_that_a_recipe_can_name_has_an_example():
    assert set(host.KINDS) - set(KINDS) == {"weights"}  # `ldmkit package --wheel` writes those


def test_its_code_is_clean_by_its_own_settings(written):
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", str(written)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_its_types_hold_strictly(written):
    """Each plugin by itself, with its tests, as mypy sees it beside an installed ldmkit."""
    env = {**os.environ, "MYPYPATH": str(Path(ldmkit.__file__).parents[1])}
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "--config-file", ""]
    sources = [str(path) for path in sorted(written.glob("*/src/*/*.py"))]
    tests = [str(path) for path in sorted(written.glob("*/tests/*.py"))]
    cache = ["--cache-dir", str(written / "mypy"), "--ignore-missing-imports"]
    env["MYPYPATH"] = os.pathsep.join([env["MYPYPATH"], *(str(path) for path in written.glob("*/src"))])
    done = subprocess.run([*command, *cache, *sources, *tests], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("recipe", "verb")])
def test_its_tests_call_the_contract_checks_of_its_kind_and_of_its_registration(written, kind):
    text = (written / f"ldmkit-my-{kind}" / "tests" / f"test_ldmkit_my_{kind}.py").read_text()
    assert f"check_{kind}(" in text
    assert f'check_registration("ldmkit-my-{kind}")' in text


def test_nothing_is_overwritten(written):
    done = new_plugin("ldmkit-my-loss", "--out", written)
    assert done.exit_code == 2
    assert "exists already" in done.stderr


@pytest.mark.parametrize("name", ["Upper", "a_b", "../up", "a--b", "ldmkit-class", ""])
def test_a_name_that_cannot_be_is_refused(tmp_path, name):
    done = new_plugin(name, "--out", tmp_path)
    assert done.exit_code == 2
    assert "cannot name a plugin" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "json", "ldmkit", "ldmkit-unet"])
def test_a_name_that_would_take_the_place_of_a_package_is_refused(tmp_path, name):
    done = new_plugin(name, "--out", tmp_path)
    assert done.exit_code == 2
    assert f"'{name}' is the name of an installed package" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_licence_and_a_workflow_are_written(tmp_path):
    assert new_plugin("ldmkit-my-loss", "--license", "mit", "--out", tmp_path).exit_code == 0
    plugin = tmp_path / "ldmkit-my-loss"
    assert (plugin / "LICENSE").read_text().startswith("MIT License")
    assert tomllib.loads((plugin / "pyproject.toml").read_text())["project"]["license"] == "MIT"
    workflow = yaml.safe_load((plugin / ".github/workflows/tests.yml").read_text())
    assert workflow["jobs"]["tests"]["steps"][-1] == {"run": "pytest"}
    assert not (written_without := tmp_path / "other").exists()
    assert new_plugin("ldmkit-other", "--out", written_without).exit_code == 0
    assert not (written_without / "ldmkit-other" / "LICENSE").exists()


@pytest.mark.parametrize("kind", [kind for kind in USAGE if kind != "keymap"])
def test_the_readme_says_what_a_recipe_must_say(written, kind):
    text = (written / f"ldmkit-my-{kind}" / "README.md").read_text()
    (said,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert f"name: my-{kind}" in said
    assert set(yaml.safe_load(said)) <= set(Recipe.model_fields)


BUILDS = """
import sys, yaml
from pathlib import Path
import ldmkit
for path in map(Path, sys.argv[1:]):
    values = yaml.safe_load(path.read_text())
    ldmkit.build(values)
    print(path.parent.name if path.stem == "example" else path.stem)
"""


def test_its_example_uses_it_and_is_built(written):
    examples = [written / f"ldmkit-my-{kind}" / "example.yaml" for kind in KINDS if kind != "recipe"]
    for kind, path in zip((kind for kind in KINDS if kind != "recipe"), examples, strict=True):
        assert f"name: my-{kind}" in path.read_text() or kind not in USAGE, kind
    examples.append(written / "ldmkit-my-recipe/src/ldmkit_my_recipe/my-recipe.yaml")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in written.glob("*/src"))}
    command = [sys.executable, "-W", "ignore", "-c", BUILDS, *map(str, examples)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == len(KINDS)


def test_the_readme_names_the_example_and_the_commands_that_try_it(written):
    text = (written / "ldmkit-my-format" / "README.md").read_text()
    commands = "ldmkit run example.yaml\nldmkit export example.yaml published --format my-format\npytest\n"
    assert f"```sh\npip install pytest -e .\n{commands}```" in text
    assert "ldmkit run my-recipe\n" in (written / "ldmkit-my-recipe" / "README.md").read_text()


def test_what_the_readme_says_makes_a_recipe_that_is_built(written, tmp_path):
    """Of a distillation, whose teacher is elsewhere, the rest is."""
    recipes = []
    for kind in USAGE:
        text = (written / f"ldmkit-my-{kind}" / "README.md").read_text()
        (said,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        values = {**LATENTS, "name": kind, **yaml.safe_load(said)}
        values.pop("weights", None)
        for stage, own in {"compression": {"loss": ["pixel"]}, "diffusion": {}}.items():
            if stage in (stages := values.get("train", {})):
                stages[stage] = {"steps": 1, "batch": 1, "lr": 0.1, **own, **stages[stage]}
        recipes.append(tmp_path / f"{kind}.yaml")
        recipes[-1].write_text(yaml.safe_dump(values))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in written.glob("*/src"))}
    command = [sys.executable, "-W", "ignore", "-c", BUILDS, *map(str, recipes)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [*USAGE]
