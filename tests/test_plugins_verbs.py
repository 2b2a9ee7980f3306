"""Verbs and recipes that installed plugins bring, and recipes that extend another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.host import plugins
from ldmkit.host.plugins import Host
from ldmkit.host.registry import Collector, Registry
from ldmkit.recipe import find_recipe, load
from ldmkit.testing.registration import check_registration

VERB = """
import click

@click.command()
@click.argument("who")
def command(who):
    "Greet WHO."
    click.echo(f"hello {who}")
"""
RECIPE = """\
# Toys.
recipe: 1
name: toys
compression: {name: kl-autoencoder, factor: 8}
sampler: {name: ddim, steps: 3}
"""


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A package with a verb and a recipe, registered beside what is installed."""
    package = tmp_path / "site" / "toybox"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "toys.yaml").write_text(RECIPE)
    (tmp_path / "site" / "toy_verb.py").write_text(VERB)
    (tmp_path / "site" / "toy_broken.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    registry = Registry()
    for entry in plugins.host().registry:
        registry.add(entry)
    for distribution in ("toybox", "otherbox"):
        collector = Collector(distribution, "1.5")
        collector.add("recipe", "toys", "toybox/toys.yaml", "Toys, as pictures.")
        if distribution == "toybox":
            collector.add("recipe", "gone", "toybox/gone.yaml", "Not there.")
            collector.add("verb", "greet", "toy_verb:command", "Greet somebody.")
            collector.add("verb", "broken", "toy_broken:command", "Cannot be imported.")
            collector.add("verb", "run", "toy_verb:command", "Takes the name of a verb of ours.")
        for entry in collector.entries:
            registry.add(entry)
    host = plugins.host
    for module in (
        "ldmkit.recipe.named",
        "ldmkit.recipe.read",
        "ldmkit.cli.recipes",
        "ldmkit.testing.registration",
    ):
        monkeypatch.setattr(f"{module}.host", lambda: Host(registry, ()))
    monkeypatch.setattr(plugins, "host", lambda: Host(registry, ()))
    yield registry
    assert host().registry is not registry


def ldmkit(*arguments):
    return CliRunner().invoke(main, [*arguments])


def test_a_plugins_verb_is_listed_and_runs(brought):
    listed = ldmkit("--help").output
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == ["greet"]]
    assert line.split(None, 1)[1] == "Greet somebody. (toybox)"
    assert "Commands of plugins" in listed
    done = ldmkit("greet", "Ada")
    assert (done.exit_code, done.output) == (0, "hello Ada\n")
    assert "Usage: main greet" in ldmkit("greet", "--help").output


def test_a_verb_that_cannot_be_imported_is_one_line(brought):
    done = ldmkit("broken")
    assert done.exit_code == 2
    assert "verb 'broken' of toybox 1.5: ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr


def test_our_verbs_go_before_a_plugins(brought):
    assert "hello" not in ldmkit("run", "Ada").output
    with pytest.raises(AssertionError, match=r"verb 'run': ldmkit has a verb of this name"):
        check_registration("toybox")


def test_listing_verbs_imports_no_torch():
    code = """
import sys
from click.testing import CliRunner
from ldmkit.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_recipes_of_plugins_are_listed_and_found_by_name(brought):
    lines = ldmkit("recipes").output.splitlines()
    assert ["toybox:toys", "toybox", "1.5", "Toys, as pictures."] in [line.split(None, 3) for line in lines]
    assert load("toybox:toys").name == "toys"
    assert load("toybox:toys", ["sampler.steps=9"]).sampler.steps == 9
    with pytest.raises(UserError, match=r"no recipe 'toys': several .* one of otherbox:toys, toybox:toys"):
        load("toys")
    with pytest.raises(UserError, match=r"no recipe 'toybox:toy'.*did you mean 'toybox:toys'"):
        load("toybox:toy")
    with pytest.raises(UserError, match=r"'toybox:gone': toybox 1.5 registers it, but its file .* is not"):
        load("toybox:gone")


def test_a_name_means_the_recipe_at_hand_first(brought, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toys.yaml").write_text(RECIPE.replace("name: toys", "name: mine"))
    assert load("toys").name == "mine"
    assert find_recipe("text2img").name == "text2img.yaml"  # of the source tree


def test_a_recipe_extends_another_by_whole_sections(brought, tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)
    derived = tmp_path / "derived.yaml"
    derived.write_text("recipe: 1\nname: derived\nextends: base.yaml\nsampler: {name: heun}\n")
    recipe = load(derived)
    assert (recipe.name, recipe.compression.name) == ("derived", "kl-autoencoder")
    assert (recipe.sampler.name, recipe.sampler.steps) == ("heun", 50)
    assert load(derived, ["sampler.steps=4"]).sampler.steps == 4
    derived.write_text("recipe: 1\nname: derived\nextends: toybox:toys\n")
    assert load(derived).sampler.steps == 3


def test_mistakes_of_a_base_keep_their_place(brought, tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE.replace("kl-autoencoder", "kl-autoencodr"))
    derived = tmp_path / "derived.yaml"
    derived.write_text("recipe: 1\nname: derived\nextends: base.yaml\nsampler: {name: hen}\n")
    with pytest.raises(UserError) as told:
        load(derived)
    assert f"{Path('base.yaml')}:4:" in str(told.value)
    assert "derived.yaml:4:" in str(told.value)
    (tmp_path / "base.yaml").write_text(RECIPE + "extends: other.yaml\n")
    with pytest.raises(UserError, match=r"derived\.yaml:3:10: extends: base\.yaml is no recipe, or"):
        load(derived)
