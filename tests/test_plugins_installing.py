"""Plugins installed, removed and checked in an environment of its own, from wheels and without an index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

HOOK = """
from ldmkit.hookspecs import hookimpl
LDMKIT_API = {api}
@hookimpl
def ldmkit_register(registry):
    registry.add("{kind}", "{name}", "{module}:nothing", "A toy.")
"""


def wheel(folder: Path, name: str, version: str, *, needs: str = "", **files: str) -> Path:
    """A wheel of modules, with the metadata and the entry point that they need."""
    module = name.replace("-", "_")
    path, info = folder / f"{module}-{version}-py3-none-any.whl", f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    points = "".join(f"[ldmkit]\n{file} = {file}\n" for file in files)
    contents = {f"{file}.py": text for file, text in files.items()} | {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(f"{file},,\n" for file in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


def hook(module: str, api: int = 2, kind: str = "sampler", name: str = "rain") -> dict[str, str]:
    return {module: HOOK.format(api=api, kind=kind, name=name, module=module)}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A virtual environment that sees the packages of this one, and a folder of wheels."""
    folder = tmp_path_factory.mktemp("place")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    here = sysconfig.get_paths()["purelib"]
    (site / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    wheels = folder / "wheels"
    wheels.mkdir()
    wheel(wheels, "rainlib", "1.0")
    wheel(wheels, "rainlib", "1.5")
    wheel(wheels, "rain-for-ldmkit", "0.1", needs="rainlib>=1.2", **hook("rain_plugin"))
    wheel(wheels, "old-plugin", "0.1", **hook("old_plugin", 1, "adversary", "old"))
    wheel(wheels, "new-plugin", "0.1", **hook("new_plugin", 3, "sampler", "new"))
    private = hook("private_plugin", 1, "sampler", "private")
    private["private_plugin"] += "from ldmkit.engine import sizes\nfrom ldmkit.types import Latent\n"
    wheel(wheels, "private-plugin", "0.1", **private)
    return folder


def run(place: Path, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "wheels")}
    command = [str(place / "env/bin/python"), "-m", "ldmkit", *arguments]
    return subprocess.run(command, env=env, cwd=place, capture_output=True, text=True, input=answer)


def test_what_would_change_is_shown_and_asked_then_installed_and_removed(place):
    older = run(place, "plugins", "install", "rainlib==1.0", "--yes")
    assert older.stdout.splitlines() == [
        "new      rainlib 1.0",
        "rainlib is installed; it is no plugin of ldmkit",
    ]
    shown = run(place, "plugins", "install", "rain-for-ldmkit", answer="n\n")
    assert shown.returncode == 0, shown.stderr
    assert sorted(shown.stdout.splitlines()[:2]) == [
        "changed  rainlib 1.0 -> 1.5",
        "new      rain-for-ldmkit 0.1",
    ]
    assert "sampler\train\t" not in run(place, "plugins").stdout
    done = run(place, "plugins", "install", "wheels/rain_for_ldmkit-0.1-py3-none-any.whl", "--yes")
    assert done.stdout.splitlines()[-1] == "sampler rain: A toy."
    assert "sampler\train\train-for-ldmkit\t0.1\tA toy." in run(place, "plugins").stdout
    again = run(place, "plugins", "install", "rain-for-ldmkit")
    assert again.stdout == "everything is installed already\n"
    assert "rain-for-ldmkit 0.1" in run(place, "plugins", "uninstall", "rain-for-ldmkit", answer="n\n").stdout
    gone = run(place, "plugins", "uninstall", "rain-for-ldmkit", "--yes")
    assert (gone.returncode, gone.stdout) == (0, "removed  rain-for-ldmkit 0.1\n")
    assert "sampler\train\t" not in run(place, "plugins").stdout


def test_what_cannot_be_done_is_one_line(place):
    absent = run(place, "plugins", "install", "nothing-of-that-name")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert absent.stderr.startswith("error: pip install: ")
    assert "nothing-of-that-name" in absent.stderr
    assert len(absent.stderr.splitlines()) == 1
    option = run(place, "plugins", "install", "--", "--index-url=http://nowhere")
    assert "is no plugin's name" in option.stderr
    other = run(place, "plugins", "uninstall", "torch")
    assert (other.returncode, "no plugin 'torch' is installed" in other.stderr) == (2, True)


def test_check_says_which_plugin_breaks_with_which_version(place):
    assert run(place, "plugins", "check").returncode == 0
    named = ("old-plugin", "new-plugin", "private-plugin")
    assert run(place, "plugins", "install", *named, "--yes").returncode == 0
    done = run(place, "plugins", "check", "--json")
    assert done.returncode == 1
    found = {one["plugin"]: one for one in json.loads(done.stdout)}
    assert found["old-plugin"]["works_with"] == [1]
    assert "breaks with API 2, which changed adversary" in found["old-plugin"]["problems"][0]
    assert "needs a newer ldmkit: it is written for API 3" in found["new-plugin"]["problems"][0]
    assert (found["private-plugin"]["works"], found["private-plugin"]["works_with"]) == (True, [1, 2])
    (private,) = found["private-plugin"]["problems"]
    assert private.startswith("imports ldmkit.engine.sizes, which is not public")
    assert {name for name, one in found.items() if not one["works"]} == {"old-plugin", "new-plugin"}
    lines = run(place, "plugins", "check").stdout.splitlines()
    assert [line.split("\t")[4] for line in lines if line.startswith("old-plugin")] == ["breaks"]


def test_a_terminal_gets_a_table():
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'ldmkit', 'plugins', 'check']) >> 8)"
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=wide)
    assert done.returncode == 0
    assert "written for API" in done.stdout
    assert "\t" not in done.stdout
