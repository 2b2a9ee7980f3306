"""The plugin tutorial, word for word: its commands run in an environment of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/plugin-tutorial.md"
BLOCK = re.compile(r"^```(bash|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A virtual environment that finds what this one has, as `pip` and `ldmkit` would be there; no index."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=False)
    names = {"base": str(place), "platbase": str(place)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=names))
    shared = "\n".join(
        f"import site; site.addsitedir({path!r})" for path in sys.path if "site-packages" in path
    )
    (site / "shared.pth").write_text(shared + "\n")
    for program, module in (("pip", "pip"), ("ldmkit", "ldmkit"), ("pytest", "pytest")):
        script = place / "bin" / program
        script.write_text(f'#!/bin/sh\nexec "{place}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    alone = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {
        **os.environ,
        **alone,
        "PATH": f"{place}/bin{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }


def test_every_command_works_and_prints_what_the_page_shows(environment, tmp_path):
    printed = ""
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "output":
            assert printed == text
            continue
        call = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        printed = done.stdout
    assert (tmp_path / "runs/discs/samples/grid.png").exists()
