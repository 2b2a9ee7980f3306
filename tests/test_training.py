"""What a training does to weights, files and the screen, on toy components."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import training_toy
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn
from training_toy import Pictures, toy, train

from ldmkit.cli import train as verb
from ldmkit.engine.weights import stage_folder
from ldmkit.errors import Note, UserError
from ldmkit.recipe import CompressionTraining, TrainingSettings, digest
from ldmkit.training.compression import CompressionStage
from ldmkit.training.ema import Average
from ldmkit.training.optim import groups_of, rate

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


def test_the_average_starts_at_two_elevenths():
    weight = nn.Parameter(torch.zeros(3))
    average = Average({"w": weight}, 0.5)
    weight.data.fill_(11.0)
    average.update(1)
    assert average.state()["w"].tolist() == pytest.approx([9.0] * 3)
    average.update(100)
    assert average.state()["w"].tolist() == pytest.approx([10.0] * 3)
    with average.applied():
        assert weight.tolist() == pytest.approx([10.0] * 3)
    assert weight.tolist() == [11.0] * 3


def test_the_learning_rate_warms_up_and_decays():
    options = TrainingSettings(steps=10, batch=1, lr=1.0, warmup=4, decay="linear")
    assert [rate(options, i) for i in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rate(options, 9) == pytest.approx(1 / 6)
    cosine = TrainingSettings(steps=10, batch=1, lr=2.0, decay="cosine")
    assert rate(cosine, 5) == pytest.approx(1.0)


def test_factors_of_the_learning_rate_go_by_the_longest_name_of_a_part():
    options = TrainingSettings(steps=1, batch=1, lr=0.5, lr_factors={"a": 0.1, "a.b": 2.0})
    named = {name: nn.Parameter(torch.zeros(1)) for name in ("a.w", "a.b.w", "a.bc.w", "b.w")}
    groups = groups_of(named, options)
    factors = {name: group["factor"] for group in groups for name, _ in group["params"]}
    assert factors == {"a.w": 0.1, "a.b.w": 2.0, "a.bc.w": 0.1, "b.w": 1.0}


def test_a_part_without_learning_rate_stays_and_an_unknown_part_is_refused(tmp_path):
    still = weights_of(tmp_path, *SHORT, "train.diffusion.lr_factors={conditioners.text: 0.0}")
    usual = weights_of(tmp_path, *SHORT)
    start = weights_of(tmp_path, *SHORT, "train.diffusion.lr=1e-30", "train.diffusion.weight_decay=0")
    name = "conditioners.text.table.weight"
    assert torch.equal(still[name], start[name])
    assert not torch.equal(usual[name], start[name])
    assert not torch.equal(still["denoiser.out.weight"], start["denoiser.out.weight"])
    with pytest.raises(UserError, match=r"no trained weights in 'denoise'; did you mean 'denoiser'\?"):
        weights_of(tmp_path, "train.diffusion.lr_factors={denoise: 0.0}")


def test_what_an_optimizer_does_not_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"optimizer \(toy\): it has no weight_decay"):
        weights_of(tmp_path, "train.diffusion.optimizer=toy")


def test_an_auxiliary_loss_trains_its_head_beside_the_denoiser(tmp_path):
    usual = weights_of(tmp_path, *SHORT)
    with pytest.raises(UserError, match=r"auxiliary \(toy\): no layer 'int'; did you mean 'into'\?"):
        weights_of(tmp_path, *SHORT, "train.diffusion.auxiliary=[{name: toy, layer: int}]")
    named = [*SHORT, "train.diffusion.auxiliary=[{name: toy, weight: 3}, {name: toy, weight: 0}]"]
    aided = weights_of(tmp_path, *named)
    assert aided.keys() == usual.keys()
    assert not torch.equal(aided["denoiser.into.weight"], usual["denoiser.into.weight"])
    run = folder(tmp_path, "diffusion", *named)
    held = load_file(run / "step-00000004" / "model.safetensors")
    first = load_file(run / "step-00000002" / "model.safetensors")
    heads = [n for n in held if n.startswith("auxiliary.losses.toy.head")]
    assert any(not torch.equal(held[n], first[n]) for n in heads)
    assert not any(n.startswith("auxiliary") for n in load_file(run / "diffusion.raw.safetensors"))
    (line,) = [r for r in records(run) if "objective" in r]
    assert line["loss"] == pytest.approx(line["objective"] + line["toy"] + line["toy-1"], rel=1e-5)


def test_an_auxiliary_loss_of_weight_0_changes_no_bit_of_the_output(tmp_path):
    usual = weights_of(tmp_path, *SHORT, "train.diffusion.clip=0.5")
    null = weights_of(
        tmp_path, *SHORT, "train.diffusion.clip=0.5", "train.diffusion.auxiliary=[{name: toy, weight: 0}]"
    )
    assert [n for n in usual if not torch.equal(usual[n], null[n])] == []


@pytest.mark.parametrize("raises", ["", "begin", "figures", "picture", "end"])
def test_a_callback_changes_no_bit_whatever_it_does(tmp_path, raises):
    usual = weights_of(tmp_path / "without", *SHORT)
    random.seed(0)
    drawn = random.random()
    random.seed(0)
    said = []
    callback = f"train.callbacks=[{{name: toy, raises: '{raises}'}}]"
    system = train(tmp_path / "with", *SHORT, callback, say=said.append)
    assert random.random() == drawn
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert stage_folder(system.recipe, system.registry, "diffusion", tmp_path / "without").is_dir()
    run = stage_folder(system.recipe, system.registry, "diffusion", tmp_path / "with")
    watched = load_file(run / "diffusion.safetensors")
    assert [n for n in usual if not torch.equal(usual[n], watched[n])] == []
    reported = [text for text in said if text.startswith("callback (toy): RuntimeError: no such tracker")]
    assert len(reported) == (2 if raises else 0)
    seen = json.loads((run / "seen.json").read_text())
    assert seen[0] == ["begin", "diffusion", 0, 4, "toy"]
    if not raises:
        assert [name for name, *_ in seen] == ["begin", "figures", "figures", "picture", "end"]
        assert {"gradient", "loss", "lr"} < set(seen[1][2:])
        assert seen[2:] == [["figures", 4, "validation_loss"], ["picture", 4, 44, 24], ["end", "finished"]]


def test_a_callback_is_told_that_a_training_failed(tmp_path):
    overrides = ["train.callbacks=[toy]", "train.compression.loss=[explosive]", "data.red=1"]
    with pytest.raises(UserError, match="not finite"):
        train(tmp_path, *overrides, stages=["compression"], say=lambda _: None)
    (seen,) = tmp_path.glob("toy/compression-*/seen.json")
    assert json.loads(seen.read_text())[-1] == ["end", "failed"]


def test_a_recipe_keeps_its_digests_until_it_uses_a_joint():
    recipe = toy().recipe
    assert digest(recipe, "diffusion").startswith("ef182d1a871ea6c2")
    named = toy("train.diffusion.optimizer=muon", "train.diffusion.weight_decay=0").recipe
    assert digest(named, "diffusion") != digest(recipe, "diffusion")
    assert digest(named, "compression") == digest(recipe, "compression")


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
    assert len(judged) == 1 + 2  # the look before the first step; steps 3 and 4
    (line,) = [
        r for r in records(folder(tmp_path, "compression", "train.compression.steps=5")) if "loss" in r
    ]
    assert line["adaptive_weight"] > 0
    assert line["discriminator_loss"] > 0


def test_passes_add_up_to_the_same_step(tmp_path):
    """Accumulation changes memory, not the result (batch normalisation and dropout are left out)."""
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


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`ldmkit train` of a toy recipe file, in a process that knows the toy's components alone."""
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(training_toy.RECIPE))
    toys = SimpleNamespace(registry=training_toy.registry())
    monkeypatch.setattr("ldmkit.engine.opening.host", lambda: toys)
    settings = [x for s in SHORT for x in ("-s", s)]
    return lambda *args: CliRunner().invoke(
        verb.command, [str(file), "--runs", str(tmp_path / "runs"), *settings, *args], catch_exceptions=False
    )


def test_the_verb_trains_stages_in_order_or_one(command):
    with pytest.raises(UserError, match="no weights for its compression stage"):
        command("--stage", "diffusion")
    assert command("--stage", "compression").exit_code == 0
    alone = command("--stage", "diffusion")
    assert "compression.safetensors" in alone.output
    assert command("-s", "denoiser=null", "--stage", "compression").exit_code == 0


def test_restart_forgets_what_was_learned(command, tmp_path):
    command("--stage", "compression")
    (weights,) = tmp_path.glob("runs/toy/compression-*/compression.safetensors")
    made = weights.stat().st_mtime_ns
    command("--stage", "compression")
    assert weights.stat().st_mtime_ns == made
    command("--stage", "compression", "--restart")
    assert weights.stat().st_mtime_ns > made


STYLE = "adapters={style: {name: toy, train: {steps: 3, batch: 4, lr: 0.5, data: {name: toy, count: 14}}}}"


def test_the_verb_trains_an_adapter_alone_on_the_weights_that_are_there(command, tmp_path):
    with pytest.raises(UserError, match="no weights for its compression stage"):
        command("-s", STYLE, "--stage", "style")
    assert command().exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/toy/*/*")}
    result = command("-s", STYLE, "--stage", "style")
    assert "diffusion: reused" in result.output
    (made,) = tmp_path.glob("runs/toy/style-*/style.safetensors")
    first = made.stat().st_mtime_ns
    # All of it, and anew: the model that the adapter stands on stays as it is.
    assert "adapter style: reused" in command("-s", STYLE).output
    command("-s", STYLE, "--restart")
    assert made.stat().st_mtime_ns > first
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(UserError, match=r"no stage 'stile'; there are: .*style; did you mean 'style'\?"):
        command("-s", STYLE, "--stage", "stile")


def test_an_adapter_is_trained_from_the_weights_that_a_recipe_names(command, tmp_path):
    command()
    named = ["-s", f"weights={tmp_path}/runs/toy", "-s", "train={}", "-s", "name=named"]
    result = command(*named, "-s", STYLE, "--stage", "style")
    assert f"diffusion: reused {tmp_path}/runs/toy/diffusion-" in result.output
    assert [path.name for path in tmp_path.glob("runs/named/*/*.safetensors")].count("style.safetensors") == 1
    assert not [*tmp_path.glob("runs/named/diffusion-*")]


def test_a_dry_run_says_what_an_adapter_takes(command, tmp_path):
    command()
    said = command("-s", STYLE, "--stage", "style", "--dry-run").output
    assert "style: 3 steps of 4 pictures" in said
    assert "compression:" not in said
    assert not [*tmp_path.glob("runs/toy/style-*")]
    command("-s", STYLE, "--stage", "style")
    assert "style: has its weights already" in command("-s", STYLE, "--dry-run").output
    with pytest.warns(Note, match=r"style: begins anew: .* has adapters.style.train.lr=0.5 \(here 0.25\)$"):
        command("-s", STYLE, "-s", "adapters.style.train.lr=0.25", "--dry-run")


def test_a_dry_run_says_which_values_let_a_training_begin_anew(command):
    command()
    with pytest.warns(Note) as notes:
        command("-s", "train.diffusion.lr=0.5", "--dry-run")
    assert len(notes) == 1
    assert str(notes[0].message).endswith("(finished) has train.diffusion.lr=0.01 (here 0.5)")
