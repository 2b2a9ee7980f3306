"""Plugins of one file in a folder that the command line names."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.host.plugins import host

PLUGIN = '''
from ldmkit.hookspecs import hookimpl

LDMKIT_API = 2

@hookimpl
def ldmkit_register(registry):
    registry.add("sampler", "calm", "calm_file:calm", "Takes the first estimate.")
    registry.add("sampler", "ddim", "calm_file:calm", "Has a name that is taken.")
    registry.add("verb", "greet", "_calm_words:command", "Greet.")

def calm(estimate, z, levels, noise, *, share: float = 1.0):
    """One estimate.

    Args:
        share: how much of it is taken.
    """
    return share * estimate(z, levels[0]).clean
'''
WORDS = """
import click

@click.command()
def command():
    "Greet."
    click.echo("hello")
"""
RECIPE = "recipe: 1\nname: toys\ncompression: {name: identity}\nsampler: calm\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/calm_file.py").write_text(PLUGIN)
    (tmp_path / "mine/_calm_words.py").write_text(WORDS)
    (tmp_path / "toys.yaml").write_text(RECIPE)
    yield "mine"
    for name in ("calm_file", "_calm_words"):
        sys.modules.pop(name, None)


def ldmkit(*arguments: str):
    return CliRunner().invoke(main, arguments)


def test_a_file_is_a_plugin_where_the_command_line_names_its_folder(folder):
    rows = [
        line.split("\t") for line in ldmkit("--plugins-dir", folder, "plugins", "sampler").output.splitlines()
    ]
    assert ["sampler", "calm", "mine/calm_file.py", "(a file)", "Takes the first estimate."] in rows
    explained = ldmkit("--plugins-dir", folder, "plugins", "sampler", "calm").output
    assert "share\tfloat\t1.0\thow much of it is taken." in explained
    assert "name: calm" in ldmkit("--plugins-dir", folder, "check", "toys.yaml").output
    assert ldmkit("--plugins-dir", folder, "greet").output == "hello\n"
    assert "greet" in ldmkit("--plugins-dir", folder, "--help").output


def test_the_next_command_knows_nothing_of_it(folder):
    assert ldmkit("--plugins-dir", folder, "check", "toys.yaml").exit_code == 0
    refused = ldmkit("check", "toys.yaml")
    assert refused.exit_code == 2
    assert "no plugin provides sampler 'calm'" in refused.stderr
    assert host().registry.find("sampler", "calm") is None
    assert not [path for path in sys.path if path.endswith("/mine")]


def test_a_recipe_cannot_name_a_folder_of_plugins(folder, tmp_path):
    (tmp_path / "toys.yaml").write_text(RECIPE + "plugins_dir: mine\n")
    assert "unknown key 'plugins_dir'" in ldmkit("check", "toys.yaml").stderr


def test_installed_components_and_modules_go_before_a_file(folder, tmp_path):
    (tmp_path / "mine/json.py").write_text("raise SystemExit('imported')")
    listed = ldmkit("--plugins-dir", folder, "plugins").output
    (ddim,) = [line for line in listed.splitlines() if line.startswith("sampler\tddim\t")]
    assert "ldmkit-diffusion" in ddim
    assert "broken: mine/calm_file.py (a file): DuplicateComponent: sampler 'ddim'" in listed
    assert "broken: mine/json.py (a file): ValueError: a module 'json' is there already" in listed
    assert json.dumps(1) == "1"


def test_a_folder_without_plugins_is_refused(tmp_path):
    done = ldmkit("--plugins-dir", str(tmp_path), "plugins")
    assert done.exit_code == 2
    assert "holds no plugin" in done.stderr
    assert ldmkit("--plugins-dir", str(tmp_path / "gone"), "plugins").exit_code == 2
