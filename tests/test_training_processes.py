"""Processes under `accelerate launch` train what one process trains, at the same global batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forks import Fork, together
from safetensors.torch import load_file

TOY = Path(__file__).with_name("training_toy.py")
EXACT = [
    "compression.dropout=0",
    "conditioners.text.noise=0",
    "train.compression.adversary.norm=false",  # a batch's statistics are a process's own
    *(f"train.{stage}.steps=10" for stage in ("compression", "diffusion")),
    *(f"train.{stage}.checkpoint_every=100" for stage in ("compression", "diffusion")),
    *(f"train.{stage}.batch=8" for stage in ("compression", "diffusion")),
]
LAUNCH = [
    "-m",
    "accelerate.commands.launch",
    "--multi_gpu",  # accelerate's name for several processes on one machine, without GPUs too
    "--num_cpu_threads_per_process=1",
]


def launched(runs: Path, processes: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A training of the toy under the launcher itself."""
    command = [sys.executable, *LAUNCH, f"--num_processes={processes}", str(TOY), str(runs), *overrides]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)


def forked(runs: Path, processes: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A training of the toy in processes with the launcher's variables; what the first of them said."""
    if processes == 1:
        return Fork(TOY, str(runs), *overrides).done()
    return together(TOY, processes, str(runs), *overrides)[0]


def train(runs: Path, processes: int, *overrides: str) -> None:
    found = forked(runs, processes, *overrides)
    assert found.returncode == 0, found.stderr[-3000:]


def logged(runs: Path, stage: str) -> dict[str, float]:
    (file,) = runs.glob(f"toy/{stage}-*/metrics.jsonl")
    figures = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(figures) == 3  # one process writes: validation at step 6, losses and validation at step 10
    return {k: v for f in figures for k, v in f.items() if k not in ("seconds", "pictures_per_second")}


def test_two_processes_are_one(tmp_path):
    train(tmp_path / "1", 1, *EXACT)
    found = launched(tmp_path / "2", 2, *EXACT)
    assert found.returncode == 0, found.stderr[-3000:]
    assert logged(tmp_path / "2", "compression")["adaptive_weight"] > 0
    for stage in ("compression", "diffusion"):
        one, two = (logged(tmp_path / n, stage) for n in "12")
        assert two == pytest.approx(one, rel=1e-5)
        (mine,), (other,) = ([*(tmp_path / n).glob(f"toy/*/{stage}.safetensors")] for n in "12")
        weights, others = load_file(mine), load_file(other)
        for name, value in weights.items():
            torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)


def test_the_processes_know_of_each_other(tmp_path):
    found = forked(tmp_path, 2, "train.compression.batch=7")
    assert "batch 7 (what one step sees in all) does not divide among 2 process(es)" in found.stderr


def test_what_two_processes_saved_one_and_four_go_on_with(tmp_path):
    often = [*EXACT, "train.diffusion.checkpoint_every=4"]
    train(tmp_path / "2", 2, *often)
    (whole,) = (tmp_path / "2").glob("toy/diffusion-*/metrics.jsonl")
    wanted = load_file(whole.with_name("diffusion.safetensors"))
    for processes in (1, 4):
        shutil.copytree(tmp_path / "2", tmp_path / str(processes))
        run = tmp_path / str(processes) / "toy" / whole.parent.name
        for path in run.glob("diffusion*.safetensors"):
            path.unlink()
        shutil.rmtree(run / "step-00000010")
        said = forked(tmp_path / str(processes), processes, *often)
        assert "diffusion: going on after step 8" in said.stdout, said.stderr[-2000:]
        for name, value in load_file(run / "diffusion.safetensors").items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5)
