"""What a training does to weights, files and the screen, on toy components."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

import training_toy
from training_toy import Pictures, toy, train

from ldmkit.errors import UserError
from ldmkit.recipe import CompressionTraining, Stage
from ldmkit.training.compression import CompressionStage
from ldmkit.training.data import Examples
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.draws import Order
from ldmkit.training.dropout import drop_groups
from ldmkit.training.ema import Average
from ldmkit.training.optim import rate
from ldmkit.weights import stage_folder

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4", "train.compression.adversary.start=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy trained to its end: its runs folder, its system, what was said."""
    runs, said = tmp_path_factory.mktemp("trained"), []
    return runs, train(runs, say=said.append), said


def folder(runs, stage, *overrides):
    return stage_folder(toy(*overrides).recipe, stage, Path(runs))


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


def test_an_epoch_sees_every_example_once_and_epochs_differ():
    order = Order(7, 0, "compression")
    row = order.take(0, 21).tolist()
    assert all(sorted(row[i : i + 7]) == list(range(7)) for i in (0, 7, 14))
    assert row[:7] != row[7:14]
    assert order.take(5, 12).tolist() == row[5:12]
    assert Order(7, 1, "compression").take(0, 7).tolist() != row[:7]


def test_the_learning_rate_warms_up_and_decays():
    options = Stage(steps=10, batch=1, lr=1.0, warmup=4, decay="linear")
    assert [rate(options, i) for i in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rate(options, 9) == pytest.approx(1 / 6)
    cosine = Stage(steps=10, batch=1, lr=2.0, decay="cosine")
    assert rate(cosine, 5) == pytest.approx(1.0)


def test_conditions_that_share_a_field_drop_together():
    groups = drop_groups({"a": ("x",), "b": ("y",), "c": ("z",), "d": ("x", "y")})
    assert groups["a"] == groups["b"] == groups["d"] != groups["c"]


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
    assert len(judged) == 2  # steps 3 and 4
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


def test_the_seed_decides_everything(tmp_path):
    a, b = (weights_of(tmp_path / name, *SHORT, stages=["compression"]) for name in "ab")
    other = weights_of(tmp_path / "c", *SHORT, "train.compression.seed=1", stages=["compression"])
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["compression.encoder.weight"], other["compression.encoder.weight"])


def test_frozen_conditioners_encode_each_input_once(tmp_path):
    system = toy(*SHORT)
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    counted = system.conditioners["frozen"].encoded
    assert counted == 2 * 23  # two captions for each picture of both splits
    for step in range(3):
        stage.batch(step, slice(0, 4))
    again = toy(*SHORT)
    DiffusionStage(again, again.recipe.train.diffusion, Pictures(), tmp_path)  # reads them from the disk
    assert system.conditioners["frozen"].encoded == counted
    assert again.conditioners["frozen"].encoded == 0


def test_cached_states_are_what_encoding_gives_and_nulls_where_dropped(tmp_path):
    system = toy("conditioners.frozen.dropout=0.5")
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    frozen = system.conditioners["frozen"]
    nulls = 0
    for step in range(4):
        batch, draws = stage.batch(step, slice(0, 4))
        condition, ids = batch["conditions"]["frozen"], batch["conditions"]["text"]["ids"]
        live = frozen.eval().encode({"ids": ids})
        for i in range(4):
            if draws.drop[i, 0] < 0.5:
                nulls += 1
                assert condition.mask[i].tolist() == [True] + [False] * (condition.mask.shape[1] - 1)
            else:
                length = condition.mask.shape[1]
                assert torch.equal(condition.tokens[i], live.tokens[i, :length])
                assert torch.equal(condition.mask[i], live.mask[i, :length])
    assert 0 < nulls < 16


def test_every_caption_of_an_example_is_trained_on(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    first = set()
    for step in range(12):
        ids = stage.batch(step, slice(0, 4))[0]["conditions"]["text"]["ids"]
        first |= {"".join(map(chr, row.tolist())).strip() for row in ids}
    assert any(text.startswith("the ") for text in first)
    assert any(text.startswith("thing ") for text in first)


def test_rows_of_a_batch_do_not_depend_on_how_it_is_shared(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    whole, draws = stage.batch(5, slice(0, 4))
    part, some = stage.batch(5, slice(2, 4))
    assert torch.equal(whole["clean"][2:], part["clean"])
    assert torch.equal(draws.noise[2:], some.noise)
    assert torch.equal(draws.t[2:], some.t)


def test_latents_are_cached_by_content(tmp_path, monkeypatch):
    system = toy()
    options = system.recipe.train.diffusion
    DiffusionStage(system, options, Pictures(), tmp_path)
    assert len(list(tmp_path.glob("latents-*"))) == 2
    monkeypatch.setattr(training_toy.Autoencoder, "posterior", None)
    DiffusionStage(system, options, Pictures(), tmp_path)  # reads the files
    monkeypatch.undo()
    with torch.no_grad():
        system.compression.encoder.weight.add_(0.1)
    DiffusionStage(system, options, Pictures(), tmp_path)
    assert len(list(tmp_path.glob("latents-*"))) == 4


def test_mirrored_pictures_have_latents_of_their_own(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    image = Pictures().split("train")[3]["image"][None].float() / 127.5 - 1
    found = stage._train.latents.posterior([3, 3], torch.tensor([False, True]))
    torch.testing.assert_close(found.mode[:1], system.compression.encode(image))
    torch.testing.assert_close(found.mode[1:], system.compression.encode(image.flip(-1)))


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


def test_what_does_not_fit_in_memory_is_read_again_ahead_of_time():
    pictures = Pictures()
    examples = Examples(pictures, memory=3 * 16 * 16 * 3 + 3)  # three pictures
    pictures.read.clear()
    first = examples.read([0, 1, 1, 2, 3], then=[4, 5])
    assert [int(e["label"]) for e in first] == [0, 1, 1, 2, 0]
    assert examples.read([4, 5, 0], then=[3])[0]["caption"] == "thing 4"
    assert examples.read([3])[0]["caption"] == "thing 3"
    assert sorted(pictures.read) == [0, 1, 2, 3, 3, 4, 5]


def test_only_the_fields_that_conditions_read_are_kept():
    assert Examples(Pictures(), ["caption"])[0].keys() == {"caption", "captions"}
