"""The skeleton that `ldmkit new-plugin` writes works as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.cli.new_plugin import KINDS
from ldmkit.host import registry as host


def new_plugin(*arguments):
    return CliRunner().invoke(main, ["new-plugin", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One plugin of each kind, with the metadata that installing them would write."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        done = new_plugin(f"ldmkit-my-{kind}", "--kind", kind, "--out", folder)
        assert done.exit_code == 0, done.output
    code = "from setuptools import setup; setup()"
    for kind in KINDS:
        command = [sys.executable, "-c", code, "-q", "dist_info", "--output-dir", "src"]
        subprocess.run(command, cwd=folder / f"ldmkit-my-{kind}", check=True, capture_output=True)
    return folder


def test_its_own_tests_pass_for_every_kind(written):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in written.glob("*/src"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "."]
    done = subprocess.run(command, cwd=written, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 2 * len(KINDS)


def test_every_kind_that_a_recipe_can_name_has_an_example():
    assert set(host.KINDS) - set(KINDS) == {"keymap", "format", "weights"}


def test_its_code_is_clean(written):
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--line-length", "110", "--no-cache", str(written)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


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
