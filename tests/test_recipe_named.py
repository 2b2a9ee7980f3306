"""Recipes by name: on the command line, from Python, in a clone and out of a wheel."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.host.plugins import Host
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import find_recipe, known_recipes

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_shipped_recipe_is_found_by_its_name_from_anywhere() -> None:
    recipe = ldmkit.load("text2img", ["sampler.steps=7"])
    assert recipe.origin == ROOT / "recipes/text2img.yaml"
    assert recipe.sampler.steps == 7
    assert recipe.compression.parameters["middle_attention"] is True, "defaults are filled in"
    assert ldmkit.load("paper/imagenet").name == "imagenet"
    assert CliRunner().invoke(main, ["check", "text2img"]).exit_code == 0


def test_every_recipe_of_the_repository_has_a_name() -> None:
    files = {path.relative_to(ROOT / "recipes") for path in (ROOT / "recipes").rglob("*.yaml")}
    assert {path.with_suffix("").as_posix() for path in files} <= set(known_recipes())


def test_the_recipes_of_the_working_directory_go_first(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    own = {"recipe": 1, "name": "mine", "compression": "identity"}
    (tmp_path / "recipes/text2img.yaml").write_text(yaml.safe_dump(own))
    assert ldmkit.load("text2img").name == "mine"


def test_a_file_goes_before_a_name(tmp_path: Path) -> None:
    own = {"recipe": 1, "name": "mine", "compression": "identity"}
    (tmp_path / "text2img").write_text(yaml.safe_dump(own))
    assert ldmkit.load("text2img").name == "mine"


def test_an_unknown_name_tells_the_nearest_and_a_missing_file_is_one() -> None:
    with pytest.raises(UserError, match=r"no recipe 'text2imgg'.*did you mean 'text2img'\?"):
        find_recipe("text2imgg")
    with pytest.raises(UserError, match=r"text2img\.yaml: no such recipe file"):
        ldmkit.load("text2img.yaml")


def test_a_wheel_brings_the_recipes(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("ldmkit-*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, str(wheel)], check=True, timeout=300)
    shared = tmp_path / "env/share/ldmkit/recipes/text2img.yaml"
    assert shared.read_bytes() == (ROOT / "recipes/text2img.yaml").read_bytes()
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import ldmkit.recipe as r"
    code += "; print(r.known_recipes()['text2img'])"
    said = subprocess.run([sys.executable, "-c", code, str(site)], capture_output=True, text=True, check=True)
    assert Path(said.stdout.strip()) == shared.resolve()


def test_a_plugins_recipe_whose_file_is_gone_is_named_with_its_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Registry()
    known.add(Entry("recipe", "ldmkit-owls:owl", "ldmkit_owls/owl.yaml", "Owls.", "ldmkit-owls", "1.2"))
    for module in ("ldmkit.recipe.named", "ldmkit.cli.recipes"):
        monkeypatch.setattr(f"{module}.host", lambda: Host(known, ()))
    for name in ("owl", "ldmkit-owls:owl"):
        with pytest.raises(UserError, match=rf"recipe '{name}': ldmkit-owls 1\.2 .*owl\.yaml is not there"):
            find_recipe(name)
    listed = CliRunner().invoke(main, ["recipes"]).output
    assert "(ldmkit-owls 1.2 registers it, but its file ldmkit_owls/owl.yaml is not there" in listed
