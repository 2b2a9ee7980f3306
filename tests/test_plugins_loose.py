"""Plugins of one file in a folder that the command line names."""

from __future__ import annotations

import json
import signal
import sys

import pytest
import torch
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


MEDDLER = """
import signal
import signal
import sys

import click
import torch

from ldmkit.hookspecs import hookimpl

LDMKIT_API = 2
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.setrecursionlimit(2000)


@hookimpl
def ldmkit_register(registry):
    registry.add("verb", "bare", "meddler:bare", "No command.")
    registry.add("recipe", "outside", "meddler/../../../../../../etc/passwd", "No recipe.")
    registry.add("format", "careless", "meddler:Careless", "Raises.")
    registry.add("format", "empty", "meddler:Empty", "Has no methods.")


def bare():
    pass


class Careless:
    def accepts(self, source):
        raise KeyError(source.name)

    def read(self, registry, source, options):
        return None

    def write(self, system, out):
        pass


class Empty:
    pass
"""


@pytest.fixture
def meddler(tmp_path, monkeypatch):
    (tmp_path / "meddler.py").write_text(MEDDLER)
    (tmp_path / "x.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    monkeypatch.chdir(tmp_path)
    yield str(tmp_path)
    sys.modules.pop("meddler", None)


def test_what_a_plugin_sets_for_the_process_does_not_stay(meddler):
    handler, limit = signal.getsignal(signal.SIGINT), sys.getrecursionlimit()
    assert ldmkit("--plugins-dir", meddler, "plugins").exit_code == 0
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert (signal.getsignal(signal.SIGINT), sys.getrecursionlimit()) == (handler, limit)


def test_a_verb_that_is_no_command_is_named(meddler):
    done = ldmkit("--plugins-dir", meddler, "bare")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: verb 'bare' of ")
    assert done.stderr.endswith("meddler:bare is function, no click.Command\n")


def test_a_recipe_of_a_plugin_lies_within_its_package(meddler):
    done = ldmkit("--plugins-dir", meddler, "check", "outside")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "etc/passwd is not there" in done.stderr


def test_a_format_that_fails_keeps_no_other_from_reading(meddler):
    done = ldmkit("--plugins-dir", meddler, "import", "x.safetensors", "out")
    assert done.exit_code == 2
    assert "note: the format careless is left out: KeyError: 'x.safetensors'" in done.stderr
    assert "note: the format empty is left out" in done.stderr
    asked = ldmkit("--plugins-dir", meddler, "import", "x.safetensors", "out", "--format", "empty")
    assert (
        "error: format (empty): does not fit ldmkit.interchange.model: has no method 'accepts'"
        in asked.stderr
    )
    asked = ldmkit("--plugins-dir", meddler, "import", "x.safetensors", "out", "--format", "careless")
    assert "error: format (careless): read gives NoneType" in asked.stderr
