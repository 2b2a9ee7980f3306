"""What a training does to weights, files and the screen, on toy components."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
import training_toy
from safetensors.torch import load_file
from training_toy import Pictures, toy, train

from ldmkit.engine.weights import stage_folder
from ldmkit.errors import UserError
from ldmkit.recipe import CompressionTraining
from ldmkit.training.compression import CompressionStage

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4", "train.compression.adversary.start=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy trained to its end: its runs folder, its system, what was said."""
    runs, said = tmp_path_factory.mktemp("trained"), []
    return runs, train(runs, say=said.append), said


def folder(runs, stage, *overrides):
    system = toy(*overrides)
    return stage_folder(system.recipe, system.registry, stage, Path(runs))


def records(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def weights_of(runs, *overrides, stages=("compression", "diffusion")):
    train(runs, *overrides, stages=stages, say=lambda _: None)
    return load_file(folder(runs, stages[-1], *overrides) / f"{stages[-1]}.safetensors")


def test_both_stages_leave_weights_metrics_and_pictures(trained):
    runs, system, _ = trained
    for stage in ("compression", "diffusion"):
        run = folder(runs, stage)
        logged = records(run)
        assert {r["step"] for r in logged} == {6, 10, 12}
        assert {"loss", "lr", "gradient", "pictures_per_second", "seconds"} <= logged[-2].keys()
        assert math.isfinite(logged[-1]["validation_loss"])
        assert sorted(p.name for p in (run / "pictures").iterdir()) == [
            "step-00000006.png",
            "step-00000012.png",
        ]
        assert (run / "recipe.yaml").exists()
        assert json.loads((run / "versions.json").read_text())["toy"] == "1"
        assert (run / "latest").read_text() == "step-00000012\n"
    kept = load_file(folder(runs, "diffusion") / "diffusion.safetensors")
    assert torch.equal(kept["denoiser.out.weight"], system.denoiser.out.weight)
    raw = load_file(folder(runs, "diffusion") / "diffusion.raw.safetensors")
    assert not torch.equal(raw["denoiser.out.weight"], kept["denoiser.out.weight"])
    assert not any("frozen" in name for name in kept)


def test_the_averaged_weights_follow_tau_theta_too(trained):
    kept, raw = (
        load_file(folder(trained[0], "diffusion") / f"diffusion{x}.safetensors") for x in ("", ".raw")
    )
    assert not torch.equal(kept["conditioners.text.table.weight"], raw["conditioners.text.table.weight"])


def test_latents_have_unit_variance_on_the_training_pictures(trained):
    model = trained[1].compression
    pictures = Pictures().split("train")
    image = torch.stack([pictures[i]["image"] for i in range(len(pictures))]).float() / 127.5 - 1
    posterior = model.posterior(image)
    total = posterior.mode.var((0, 2, 3), unbiased=False) + posterior.std.square().mean((0, 2, 3))
    assert total.tolist() == pytest.approx([1.0] * 3, rel=1e-4)
    assert posterior.mode.mean((0, 2, 3)).tolist() == pytest.approx([0.0] * 3, abs=1e-4)
    assert not torch.equal(model.scale, torch.ones(3))


def test_a_finished_stage_is_loaded_not_trained(trained):
    runs, system, _ = trained
    before = (folder(runs, "diffusion") / "metrics.jsonl").read_text()
    again = train(runs)
    assert torch.equal(again.denoiser.out.weight, system.denoiser.out.weight)
    assert (folder(runs, "diffusion") / "metrics.jsonl").read_text() == before


def test_psnr_is_reported_for_the_compression_stage(trained):
    assert 0 < records(folder(trained[0], "compression"))[-1]["validation_psnr"] < 60


def test_the_variance_is_learned(trained):
    logged = [r["log_variance"] for r in records(folder(trained[0], "compression")) if "log_variance" in r]
    assert logged[-1] != 0


def test_training_lowers_the_validation_loss(tmp_path):
    overrides = ["train.compression.steps=60", "train.compression.adversary=null"]
    train(tmp_path, *overrides, "train.compression.checkpoint_every=60", stages=["compression"])
    found = [
        r["validation_psnr"]
        for r in records(folder(tmp_path, "compression", *overrides))
        if "validation_psnr" in r
    ]
    assert found[-1] > found[0] + 0.2


def test_the_adversary_costs_nothing_before_its_start(monkeypatch, tmp_path):
    judged = []
    own = training_toy.Adversary.generator_loss
    monkeypatch.setattr(training_toy.Adversary, "generator_loss", lambda s, x: judged.append(1) or own(s, x))
    train(tmp_path, "train.compression.steps=5", stages=["compression"])
    assert len(judged) == 2 + 2  # the look before the first step, in both modes; steps 3 and 4
    (line,) = [
        r for r in records(folder(tmp_path, "compression", "train.compression.steps=5")) if "loss" in r
    ]
    assert line["adaptive_weight"] > 0
    assert line["discriminator_loss"] > 0


def test_passes_add_up_to_the_same_step(tmp_path):
    """Accumulation changes memory, not the result (batch normalization and dropout are left out)."""
    plain = ["train.compression.adversary=null", "compression.dropout=0", *SHORT[:2]]
    one = weights_of(tmp_path / "one", *plain, stages=["compression"])
    two = weights_of(tmp_path / "two", *plain, "train.compression.accumulate=2", stages=["compression"])
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"batch 4 .* accumulate 3"):
        train(tmp_path, "train.compression.accumulate=3", stages=["compression"])


def test_a_loss_that_is_not_finite_stops_and_harms_nothing(tmp_path):
    overrides = [
        "train.compression.loss=[{name: explosive}]",
        "data.red=4",
        "train.compression.checkpoint_every=1",
    ]
    with pytest.raises(UserError, match="not finite at step"):
        train(tmp_path, *overrides, stages=["compression"])
    run = folder(tmp_path, "compression", *overrides)
    tensors = [load_file(f) for f in run.glob("step-*/*.safetensors")]
    assert tensors
    assert all(x.isfinite().all() for named in tensors for x in named.values())
    assert not (run / "compression.safetensors").exists()


def test_an_update_that_makes_weights_infinite_is_neither_averaged_nor_kept(tmp_path):
    """The loss and its gradient are finite; the rate is not one that weights of float32 bear."""
    overrides = [
        "train.compression.lr=1e39",
        "train.compression.warmup=0",
        "train.compression.checkpoint_every=1",
    ]
    with pytest.raises(UserError, match="weights are not finite at step 1: nothing of it was kept"):
        train(tmp_path, *overrides, stages=["compression"])
    run = folder(tmp_path, "compression", *overrides)
    assert not list(run.glob("step-*"))
    assert not (run / "compression.safetensors").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_last_validation_ends_the_command(tmp_path, monkeypatch, number, code):
    own = CompressionStage.validate

    def validate(self, rank, world):
        os.kill(os.getpid(), number)
        return own(self, rank, world)

    monkeypatch.setattr(CompressionStage, "validate", validate)
    said = []
    with pytest.raises(SystemExit) as caught:
        train(tmp_path, "train.compression.steps=4", "train.compression.validate_every=100", say=said.append)
    assert caught.value.code == code
    assert "compression: finished; stopped before what follows it" in said
    assert list(tmp_path.glob("toy/compression-*/compression.safetensors"))
    assert not list(tmp_path.glob("toy/diffusion-*"))


def test_the_seed_decides_everything(tmp_path):
    a, b = (weights_of(tmp_path / name, *SHORT, stages=["compression"]) for name in "ab")
    other = weights_of(tmp_path / "c", *SHORT, "train.compression.seed=1", stages=["compression"])
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["compression.encoder.weight"], other["compression.encoder.weight"])


def test_fine_tuning_starts_from_the_weights_of_the_recipe(trained, tmp_path):
    runs, system, _ = trained
    given = tmp_path / "given"
    given.mkdir()
    for stage in ("compression", "diffusion"):
        (given / f"{stage}.safetensors").write_bytes(
            (folder(runs, stage) / f"{stage}.safetensors").read_bytes()
        )
    slow = [
        f"weights={given}",
        "train.diffusion.steps=1",
        "train.diffusion.lr=1e-9",
        "train.compression.steps=1",
    ]
    tuned = train(tmp_path, *slow, "train.compression.lr=1e-9")
    torch.testing.assert_close(tuned.denoiser.out.weight, system.denoiser.out.weight)
    torch.testing.assert_close(tuned.compression.encoder.weight, system.compression.encoder.weight)


def test_a_training_without_data_is_refused(tmp_path):
    with pytest.raises(UserError, match="no data"):
        train(tmp_path, "data=null")


def test_the_reductions_differ_by_the_number_of_elements():
    def nll(reduction):
        system = toy("train.compression.learn_variance=false")
        options = CompressionTraining(
            **{**system.recipe.train.compression.model_dump(), "reduction": reduction}
        )
        step = CompressionStage(system, options, Pictures())._step
        image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        return step.nll(torch.zeros_like(image), image)

    assert float(nll("sum")) == pytest.approx(float(nll("mean")) * 3 * 16 * 16, rel=1e-5)


def test_steps_beyond_the_one_that_it_goes_on_from_are_removed_and_told(tmp_path):
    train(tmp_path, stages=("compression",))
    place = folder(tmp_path, "compression")
    (place / "compression.safetensors").unlink()
    (place / "latest").write_text("step-00000010\n")
    said = []
    train(tmp_path, stages=("compression",), say=said.append)
    removed = f"{place / 'step-00000012'} is removed: training goes on after step 10"
    assert said[said.index(removed) + 1] == "compression: going on after step 10"
    assert (place / "latest").read_text() == "step-00000012\n"
