"""Training with a compiled denoiser: the same training but for rounding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_precision import losses, train
from torch._dynamo.utils import counters

from ldmkit.cli import main


def test_a_compiled_training_has_the_losses_and_the_weights_of_one_that_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    eager = train(tmp_path / "eager")
    counters.clear()
    compiled = train(tmp_path / "compiled", "train.diffusion.compile=true")
    assert counters["stats"]["unique_graphs"] > 0
    assert losses(tmp_path / "compiled", "diffusion") == pytest.approx(
        losses(tmp_path / "eager", "diffusion"), rel=1e-5
    )
    assert eager.keys() == compiled.keys()
    for stage, tensors in eager.items():
        assert tensors.keys() == compiled[stage].keys()  # no name tells of the compiler


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["train.diffusion.compile=true"], r"train\.diffusion\.compile"),
        (["sample.compile=true"], r"sample\.compile"),
    ],
)
def test_without_a_compiler_a_run_ends_before_its_first_training(tmp_path, monkeypatch, overrides, named):
    monkeypatch.setenv("PATH", "")
    sets = [x for override in overrides for x in ("-s", override)]
    recipe = str(Path(__file__).parents[1] / "recipes/unconditional.yaml")
    done = CliRunner().invoke(main, ["run", recipe, "--retrain", *sets, "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert re.search(rf"{named} needs a C\+\+ compiler", done.stderr)
    assert not list(tmp_path.rglob("*.safetensors"))
