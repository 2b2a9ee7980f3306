"""Damaged metadata, and what a plugin changes of the process, do no harm to other plugins."""

from __future__ import annotations

import importlib
import random
import sys

import numpy as np
import pytest
import torch

from ldmkit.cli.failures import described
from ldmkit.host.contained import contained
from ldmkit.host.plugins import load_plugins, plugin_points

HOOK = """
from ldmkit.hookspecs import hookimpl
LDMKIT_API = 2
@hookimpl
def ldmkit_register(registry):
    registry.add("sampler", "{name}", "nowhere:nothing", "A toy.")
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Installs distributions into folders of the path and loads what is found there: entry points beside a
    good plugin's."""
    modules = set(sys.modules)

    def distribution(
        name: str, points: str | bytes, metadata: str | None = None, folder: str = "site"
    ) -> None:
        info = tmp_path / folder / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_bytes(points if isinstance(points, bytes) else points.encode())
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n"
        if metadata:
            (info / "METADATA").write_text(metadata)

    def load(*others, **sources: str):
        distribution("good", "[ldmkit]\ngood = toy_good\n")
        for other in others:
            distribution(*other)
        for name, source in {"good": HOOK.format(name="good"), **sources}.items():
            (tmp_path / "site" / f"toy_{name}.py").write_text(source)
        for folder in tmp_path.iterdir():
            monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        here = [
            p
            for p in plugin_points()
            if str(tmp_path) in (str(p.dist.locate_file("")) if p.dist else p.value)
        ]
        return load_plugins(here)

    yield load
    for name in set(sys.modules) - modules:
        if name.startswith("toy_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("points", "metadata", "said"),
    [
        ("[ldmkit]\nno value", None, "its entry_points.txt cannot be read"),
        (b"\xff\xfe[\0l\0", None, "its entry_points.txt cannot be read: UnicodeDecodeError"),
        ("[ldmkit]\nother = toy_gone\n", "Metadata-Version: 2.1\n", "No module named 'toy_gone'"),
        ("[ldmkit]\nother = toy_gone\n", "", "No module named 'toy_gone'"),
        (
            "[ldmkit]\nother = toy_other:a b\n",
            None,
            "other = 'toy_other:a b' is no MODULE or MODULE:ATTRIBUTE",
        ),
        ("[ldmkit]\nother =\n", None, "other = '' is no MODULE or MODULE:ATTRIBUTE"),
    ],
)
def test_damaged_metadata_are_told_and_the_others_serve(loaded, points, metadata, said):
    found = loaded(("other", points, metadata))
    assert [entry.name for entry in found.registry] == ["good"]
    (broken,) = found.broken
    assert said in broken.error
    assert broken.distribution


def test_what_an_interrupted_removal_leaves_of_the_same_plugin_is_passed_over(loaded):
    found = loaded(("left", "[ldmkit]\ngood = toy_good\n", ""))
    assert [entry.distribution for entry in found.registry] == ["good"]
    assert found.broken == ()


def test_two_distributions_of_one_name_are_both_there(loaded):
    second = ("Good", "[ldmkit]\ngood = toy_second\n", None, "elsewhere")
    found = loaded(second, second=HOOK.format(name="second"))
    assert [entry.name for entry in found.registry] == ["good", "second"]
    assert found.broken == ()


def test_one_module_by_two_entry_points_is_told_in_a_line(loaded):
    found = loaded(("twice", "[ldmkit]\na = toy_twice\nb = toy_twice\n"), twice=HOOK.format(name="twice"))
    assert [entry.name for entry in found.registry] == ["good", "twice"]
    assert found.broken[0].error == "ValueError: its entry point b names the same as twice:a"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("    registry.add", "    yield registry.add"), "ldmkit_register is a generator, no plain function"),
        (("def ldmkit", "async def ldmkit"), "ldmkit_register is a coroutine, no plain function"),
        (("= 2", "= 2.5"), "states LDMKIT_API = 2.5; this ldmkit provides 2"),
        (("= 2", "= '2'"), "states LDMKIT_API = '2'; this ldmkit provides 2"),
    ],
)
def test_a_registration_that_never_runs_is_told(loaded, change, said):
    odd = HOOK.format(name="odd").replace(*change)
    found = loaded(("odd", "[ldmkit]\nodd = toy_odd\n"), odd=odd)
    assert [entry.name for entry in found.registry] == ["good"]
    assert said in found.broken[0].error


CHANGES = """
import os, random, sys, numpy, torch
torch.set_default_device("meta")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(torch.get_num_threads() + 3)
torch.set_float32_matmul_precision("medium")
torch.manual_seed(5), numpy.random.seed(5), random.seed(5)
sys.path[:] = ["/somewhere"]
sys.stderr = None
os.system("echo from another program")
"""


def test_what_a_plugin_changes_of_the_process_is_put_back(tmp_path, monkeypatch, capfd):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "toy_changes.py").write_text(CHANGES)
    path, threads = list(sys.path), torch.get_num_threads()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    with contained():
        importlib.import_module("toy_changes")
    drawn = (float(torch.rand(())), np.random.random(), random.random())
    del sys.modules["toy_changes"]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    assert drawn == (float(torch.rand(())), np.random.random(), random.random())
    assert sys.path == [*path, "/somewhere"]
    assert torch.zeros(()).device.type == "cpu"
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == "highest"
    assert sys.stderr is not None
    assert capfd.readouterr() == ("", "from another program\n")


def test_a_device_around_an_import_stays(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "toy_device.py").write_text("import torch\ntorch.set_default_device('meta')\n")
    with torch.device("meta"):
        with contained():
            importlib.import_module("toy_device")
        assert torch.zeros(()).is_meta
    assert not torch.zeros(()).is_meta
    del sys.modules["toy_device"]


def test_damaged_metadata_that_end_libraries_are_told_in_a_line(tmp_path, monkeypatch):
    info = tmp_path / "other-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[ldmkit]\nno value\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said, code = described(TypeError("what torch raises when it looks for entry points"))
    assert said.startswith(f"other in {tmp_path}: its entry_points.txt cannot be read: ")
    assert said.endswith("install it again or remove it")
    assert code == 2
