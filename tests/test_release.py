"""What a release must agree on: one version in every distribution, and that files name things that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ldmkit

ROOT = Path(__file__).parents[1]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def project(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_every_distribution_has_the_version_of_the_core(path):
    assert project(path)["version"] == ldmkit.__version__


def test_the_citation_has_that_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ldmkit.__version__


@pytest.mark.parametrize("path", PROJECTS[1:], ids=lambda path: path.parent.name)
def test_a_plugin_takes_the_core_of_its_own_minor_version(path):
    (needed,) = [d for d in project(path)["dependencies"] if re.match(r"ldmkit[<>=~ ]", d)]
    major, minor, _ = ldmkit.__version__.split(".")
    assert needed == f"ldmkit>={major}.{minor},<{major}.{int(minor) + 1}"


def test_the_core_offers_all_plugins_as_an_extra_and_a_clone_installs_them():
    names = {project(path)["name"] for path in PROJECTS[1:]}
    assert set(project(ROOT / "pyproject.toml")["optional-dependencies"]["all"]) == names
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {
        line.removeprefix("-e ./plugins/") for line in listed if line.startswith("-e ./plugins/")
    } == names


def test_the_workflow_runs_the_checks_that_a_contributor_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["checks"]["steps"]
    assert any(step.get("run") == ".ci/run" for step in steps)
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


HOOKS = [path for path in ROOT.glob("plugins/*/src/*/plugin.py") if path.parent.name != "ldmkit_zoo"]


@pytest.mark.parametrize("path", sorted(HOOKS), ids=lambda path: path.parent.name)
def test_a_hook_is_one_call_with_literals_a_component(path):
    """The zoo alone is left out: it registers whatever folders of weights lie in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (hook,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    _docstring, *calls = hook.body
    assert ast.get_docstring(hook)
    for call in calls:
        assert ast.unparse(call).startswith("registry.add(")
        for argument in call.value.args:
            assert isinstance(ast.literal_eval(argument), str)
