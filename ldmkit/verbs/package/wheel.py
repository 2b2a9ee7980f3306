"""A packaged model as a wheel: a plugin that brings its recipe and weights."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ldmkit.disk import write_text
from ldmkit.engine.versions import distributions
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.verbs.package.folder import RECIPE, recipe_in

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "{version}"
description = "The model {name} for ldmkit"
requires-python = ">=3.11"
dependencies = {dependencies}

[project.entry-points.ldmkit]
{package} = "{package}.plugin"

[tool.setuptools]
packages = ["{package}"]

[tool.setuptools.package-data]
{package} = ["model/**/*"]
"""
PLUGIN = '''\
"""What this distribution registers: the recipe of a model, whose weights lie beside it."""

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The recipe `{name}`."""
    registry.add("recipe", "{name}", "{package}/model/recipe.yaml", "The model {name}, with its weights")
'''


def normalized(version: str) -> str:
    """The version as wheels are named by it (PEP 440); UserError for what is none."""
    try:
        return str(Version(version))
    except InvalidVersion:
        raise UserError(f"version {version!r}: is no version of a distribution; take one as 0.2.0") from None


def build_wheel(folder: Path, out: Path, version: str) -> Path:
    """Builds the wheel of a package's folder into the folder `out`; its file.

    Its name is the recipe's with "ldmkit-" before it; it depends on the plugins that the recipe names. Needs
    setuptools in the environment. Raises UserError where the folder is none of a model, for what is no
    version, and where pip fails.
    """
    version = normalized(version)
    name = str(recipe_in(folder)["name"])
    distribution = "ldmkit-" + re.sub(r"[-_.]+", "-", name).lower()
    package = distribution.replace("-", "_")
    registry = host().registry
    needed = json.dumps(distributions(resolve(load(folder / RECIPE), registry), registry))
    words = {"name": name, "distribution": distribution, "package": package, "version": version}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copytree(folder, root / package / "model")
        write_text(root / "pyproject.toml", PROJECT.format(**words, dependencies=needed))
        write_text(root / package / "__init__.py", "")
        write_text(root / package / "plugin.py", PLUGIN.format(**words))
        _pip(root, out)
    return next(out.glob(f"{package}-{version}-*.whl"))


def _pip(root: Path, out: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", str(out), str(root)], capture_output=True, text=True)
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"pip cannot build the wheel ({line}); is setuptools 77 or newer installed?")
