"""Training in half precision: what is computed in it, what stays in float32, resumes, overflows."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_resume import finished, run
from test_training_processes import EXACT, logged
from test_training_processes import train as launch
from training_toy import toy

from ldmkit.errors import UserError
from ldmkit.training.run import train_stage

HALF = ["train.compression.precision={}", "train.diffusion.precision={}"]


def train(runs: Path, *overrides: str) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of both stages, and beside them what was logged."""
    system = toy(*overrides)
    for stage in ("compression", "diffusion"):
        train_stage(system, stage, runs, say=lambda _: None)
    return {path.stem: load_file(path) for path in runs.glob("toy/*/*.safetensors")}


def losses(runs: Path, stage: str, key: str = "loss") -> list[float]:
    """A figure of a stage's log, line by line."""
    (file,) = runs.glob(f"toy/{stage}-*/metrics.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line[key] for line in lines if key in line]


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_half_precision_trains_to_nearly_the_same_weights_in_float32(tmp_path, name, monkeypatch):
    monkeypatch.setattr("ldmkit.training.precision.SCALE", 2.0**4)  # no update is left out
    exact = train(tmp_path / "exact")
    half = train(tmp_path / "half", *(text.format(name) for text in HALF))
    assert exact.keys() == half.keys()
    for stage, tensors in half.items():
        assert {x.dtype for x in tensors.values() if x.is_floating_point()} == {torch.float32}
        changed = [n for n, x in tensors.items() if not torch.equal(x, exact[stage][n])]
        assert changed  # it was computed otherwise
    for stage in ("compression", "diffusion"):
        assert losses(tmp_path / "half", stage) == pytest.approx(losses(tmp_path / "exact", stage), rel=0.05)


def test_a_denoiser_computes_in_bfloat16_and_its_loss_in_float32(tmp_path, monkeypatch):
    outputs, values = [], []
    system = toy("train.diffusion.precision=bf16", "train.diffusion.steps=1")
    train_stage(system, "compression", tmp_path, say=lambda _: None)
    system.denoiser.into.register_forward_hook(lambda m, _, out: outputs.append(out.dtype))
    objective, loss = system.objective, system.objective.loss

    def watched(*arguments):
        values.append(loss(*arguments))
        return values[-1]

    monkeypatch.setattr(objective, "loss", watched)
    train_stage(system, "diffusion", tmp_path, say=lambda _: None)
    assert outputs[0] == torch.bfloat16
    assert values[0].dtype == torch.float32
    assert outputs[1:] == [torch.float32] * len(outputs[1:])  # validation and pictures


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_kills_leave_no_trace_in_half_precision(tmp_path, name):
    codes, said = run(tmp_path, [signal.SIGKILL] * 3, *(text.format(name) for text in HALF))
    assert codes[0] == codes[-1] == 0, said
    assert -signal.SIGKILL in codes, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert [key for key in whole if whole[key] != broken[key]] == []


def test_an_overflow_of_fp16_leaves_an_update_out_and_halves_the_scale(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmkit.training.precision.SCALE", 2.0**127)  # what no gradient survives
    short = [f"train.{stage}.steps=12" for stage in ("compression", "diffusion")]
    train(tmp_path, "train.diffusion.precision=fp16", *short)
    scales = losses(tmp_path, "diffusion", "loss_scale")
    assert scales[0] > scales[-1]
    assert scales[-1] < 2.0**127


def test_a_scale_below_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmkit.training.precision.SCALE", 1.0)
    system = toy("train.diffusion.precision=fp16")
    train_stage(system, "compression", tmp_path, say=lambda _: None)
    monkeypatch.setattr("ldmkit.training.updates._gradient_norm", lambda learner: torch.tensor(torch.inf))
    denoiser = system.denoiser.into
    denoiser.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(UserError, match=r"overflow in fp16 at step 1, .* set precision to bf16 or no"):
        train_stage(system, "diffusion", tmp_path, say=lambda _: None)


def test_two_processes_are_one_in_bfloat16_and_need_no_search(tmp_path):
    bare = [*EXACT, "conditioners={}", "sample.prompts=[]"]
    for processes in (1, 2):
        launch(tmp_path / str(processes), processes, *bare, "train.diffusion.precision=bf16")
    one, two = (logged(tmp_path / n, "diffusion") for n in "12")
    assert two == pytest.approx(one, rel=5e-3)  # bfloat16 has 8 bits
