"""Processes that share out gradients, optimizer state and averages (FSDP2) train what one process trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training_processes import EXACT, forked, logged, train
from training_toy import Momentum, toy

from ldmkit.errors import UserError
from ldmkit.recipe import digest
from ldmkit.training.diffusion import check_settings
from ldmkit.training.sharding import Sharded
from ldmkit.training.stage import Learner

SHORT = [
    *EXACT,
    "train.compression.steps=1",
    "train.diffusion.checkpoint_every=4",
    "train.diffusion.clip=0.5",
]
FSDP = "train.diffusion.fsdp=true"


def diffusion(runs: Path, name: str) -> dict[str, torch.Tensor]:
    (file,) = runs.glob(f"toy/diffusion-*/{name}.safetensors")
    return load_file(file)


def test_any_number_of_processes_is_one_and_goes_on_with_what_two_saved(tmp_path):
    train(tmp_path / "1", 1, *SHORT)
    for processes in (2, 4):
        # Some passes of one process reach a learned null condition, those of another do not.
        train(tmp_path / str(processes), processes, *SHORT, FSDP)
    one = logged(tmp_path / "1", "diffusion")
    for name in ("2", "4"):
        assert logged(tmp_path / name, "diffusion") == pytest.approx(one, rel=1e-5)
        for weights in ("diffusion", "diffusion.raw"):  # averages, and what was learned
            wanted = diffusion(tmp_path / "1", weights)
            for key, value in diffusion(tmp_path / name, weights).items():
                torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5)
    goes_on(tmp_path)


def goes_on(tmp_path: Path) -> None:
    """One process without FSDP, and four with it, go on after the eighth step of two."""
    wanted = diffusion(tmp_path / "2", "diffusion")
    for processes, *options in ((1,), (4, FSDP)):
        runs = tmp_path / f"from 2 to {processes}"
        shutil.copytree(tmp_path / "2", runs)
        (run,) = runs.glob("toy/diffusion-*/")
        for path in run.glob("diffusion*.safetensors"):
            path.unlink()
        shutil.rmtree(run / "step-00000010")
        said = forked(runs, processes, *SHORT, *options)
        assert "diffusion: going on after step 8" in said.stdout, said.stderr[-2000:]
        for key, value in diffusion(runs, "diffusion").items():
            torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5)


def test_a_resume_in_bfloat16_is_bit_equal(tmp_path):
    options = [*SHORT, FSDP, "train.diffusion.precision=bf16", "train.diffusion.accumulate=2"]
    train(tmp_path / "whole", 2, *options)
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (run,) = (tmp_path / "broken").glob("toy/diffusion-*/")
    for path in run.glob("diffusion*.safetensors"):
        path.unlink()
    shutil.rmtree(run / "step-00000010")
    assert "going on after step 8" in forked(tmp_path / "broken", 2, *options).stdout
    for name in ("diffusion", "diffusion.raw"):
        whole, broken = (diffusion(tmp_path / runs, name) for runs in ("whole", "broken"))
        assert [key for key in whole if not torch.equal(whole[key], broken[key])] == []


@pytest.mark.parametrize(
    ("override", "what"), [("compile=true", "compile"), ("precision=fp16", "precision fp16")]
)
def test_what_does_not_go_with_fsdp_is_told(override, what):
    system = toy(FSDP, f"train.diffusion.{override}")
    with pytest.raises(UserError, match=f"fsdp does not go with {what}: leave one of them out"):
        check_settings(system, system.recipe.train.diffusion)


def test_an_optimizer_that_may_need_whole_matrices_is_told():
    options = toy().recipe.train.diffusion
    learner = Learner("toy", torch.nn.Linear(2, 2), options, make=Momentum())
    with pytest.raises(UserError, match=r"optimizer Counting .* take AdamW, or leave fsdp out"):
        Sharded(learner, torch.device("cpu"))


def test_it_is_the_same_training_with_and_without_fsdp():
    assert digest(toy(FSDP).recipe, "diffusion") == digest(toy().recipe, "diffusion")
