"""Folders of checkpoints with anything in them: refused in few words, or resumed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from fuzzing import fuzzed, tried, values
from hypothesis import given
from hypothesis import strategies as st

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.origin import read_origin
from ldmkit.checkpoint.sums import Sums


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with two steps."""
    store = RunStore(tmp_path_factory.mktemp("runs") / "name" / "run", "diffusion")
    store.open("recipe: 1\n", {"torch": "x"})
    for step in (10, 20):
        store.log({"step": step})
        store.save(step, {"model": {"a": torch.ones(3)}}, {"seconds": step})
    return store.folder


@fuzzed
@given(
    seed=st.integers(0, 10**6), content=st.binary(max_size=60) | values.map(lambda v: json.dumps(v).encode())
)
def test_checkpoint_folders_with_anything_in_them(run, tmp_path_factory, seed, content):
    folder = tmp_path_factory.mktemp("runs") / "name" / "run"
    shutil.copytree(run, folder)
    drawn = random.Random(seed)
    for _ in range(drawn.randint(1, 3)):
        _harm(folder, drawn, content)
    store = RunStore(folder, "diffusion")

    def resume():
        store.open("recipe: 1\n", {})
        snapshot = store.load(lambda _: None)
        store.rewind(snapshot.step if snapshot else 0)
        store.log({"step": 30})
        store.save(30, {"model": {"a": torch.ones(3)}}, {})
        assert store.load(lambda _: None).step == 30

    tried(read_origin, folder)
    tried(Sums(folder).of, next(f for f in folder.rglob("*") if f.is_file()))
    tried(resume)


def _harm(folder: Path, drawn: random.Random, content: bytes) -> None:
    """Removes, replaces or adds a file or folder."""
    found = sorted(p for p in folder.rglob("*"))
    victim = drawn.choice(found or [folder / "x"])
    kind = drawn.choice(["remove", "replace", "flip", "add", "folder"])
    if kind in ("remove", "replace", "folder") and victim.exists():
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    if kind == "folder":
        victim.mkdir(parents=True)
    if kind == "replace":
        victim.write_bytes(content)
    if kind == "flip" and victim.is_file() and victim.stat().st_size:
        data = bytearray(victim.read_bytes())
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        victim.write_bytes(data)
    if kind == "add":
        name = drawn.choice(
            ["step-00000030", "step-00000010.bak", "made_from.json", "sums.json", "latest", ".tmp-x"]
        )
        if not (folder / name).is_dir():
            (folder / name).write_bytes(content)
