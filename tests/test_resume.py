"""Killed at any moment, a training goes on to exactly what it would have been."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from forks import Fork
from safetensors.numpy import load_file

PROGRAM = Path(__file__).with_name("training_interrupted.py")


def finished(runs: Path) -> dict[str, bytes]:
    """Everything a training leaves that must not depend on interruptions, by name."""
    files = [*runs.glob("toy/*-*/*.safetensors"), *runs.glob("toy/*/step-00000012/*.safetensors")]
    tensors = {str(f.relative_to(runs)): load_file(f) for f in files if not f.name.startswith(".")}
    return {f"{f}:{n}": x.tobytes() for f, named in tensors.items() for n, x in named.items()}


def run(runs: Path, signals: list[int], *overrides: str) -> tuple[list[int], str]:
    """Exit codes of the whole training, then of each interrupted one and the last; and what was printed."""
    numbers = ",".join(str(int(n)) for n in signals)
    found = Fork(PROGRAM, str(runs), numbers, "1", *overrides).done()
    assert found.returncode == 0, found.stderr
    codes = [line for line in found.stdout.splitlines() if line.startswith("codes")]
    return [int(code) for code in codes[0].split()[1:]], found.stdout + found.stderr


def test_ten_kills_leave_no_trace_in_either_stage(tmp_path):
    codes, said = run(tmp_path, [signal.SIGKILL] * 10)
    assert codes[0] == codes[-1] == 0, said
    assert codes.count(-signal.SIGKILL) >= 5, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert any("discriminator/" in name for name in whole)
    assert any("diffusion.raw.safetensors" in name for name in whole)
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


@pytest.mark.parametrize("optimizer", ["toy", "muon"])
def test_kills_leave_no_trace_whatever_the_optimizer(tmp_path, optimizer):
    named = [f"train.{stage}.optimizer={optimizer}" for stage in ("compression", "diffusion")]
    factors = "train.diffusion.lr_factors={conditioners: 0.5, conditioners.text.table: 0.1}"
    codes, said = run(tmp_path, [signal.SIGKILL] * 4, *named, "train.diffusion.weight_decay=0", factors)
    assert codes[0] == codes[-1] == 0, said
    assert -signal.SIGKILL in codes, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert any("momentum_buffer" in name for name in whole)
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


def test_kills_leave_no_trace_in_auxiliary_losses(tmp_path):
    codes, said = run(tmp_path, [signal.SIGKILL] * 4, "train.diffusion.auxiliary=[toy]")
    assert codes[0] == codes[-1] == 0, said
    assert -signal.SIGKILL in codes, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert any("auxiliary.losses.toy.head" in name for name in whole)
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


def test_kills_leave_no_trace_in_adapters(tmp_path):
    training = "{steps: 12, batch: 4, lr: 0.1, ema: 0.9, checkpoint_every: 2, data: {name: toy, count: 14}}"
    codes, said = run(tmp_path, [signal.SIGKILL] * 5, f"adapters={{style: {{name: toy, train: {training}}}}}")
    assert codes[0] == codes[-1] == 0, said
    assert -signal.SIGKILL in codes, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert any(name.endswith("style.raw.safetensors:shift") for name in whole)
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


def test_ctrl_c_and_sigterm_save_at_the_end_of_a_step(tmp_path):
    never = [f"train.{stage}.checkpoint_every=1000" for stage in ("compression", "diffusion")]
    codes, said = run(tmp_path, [signal.SIGTERM, signal.SIGINT] * 3, *never)
    assert codes[0] == codes[-1] == 0, said
    assert codes[1:-1] == [143, 130] * 3, said
    assert "stopped after step" in said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []
