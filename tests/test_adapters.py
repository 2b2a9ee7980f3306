"""Adapters of a recipe: trained on a frozen system, kept alone, switched and merged; on toy components."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from training_toy import Shift, toy, train

from ldmkit.checkpoint.sums import sha256
from ldmkit.engine.adapters import attach, give_adapters, refuse_adapter, warn_of_adapter
from ldmkit.engine.opening import give_weights, refuse
from ldmkit.errors import UserError
from ldmkit.recipe import digest, dump, load
from ldmkit.testing.adapter import check_adapter
from ldmkit.training.adapter import train_adapter

SHORT = ["train.compression.steps=2", "train.diffusion.steps=2", "train.compression.adversary.start=1"]
TRAINING = "train: {steps: 6, batch: 4, lr: 0.5, data: {name: toy, count: 14}}"
STYLE = f"adapters={{style: {{name: toy, {TRAINING}}}}}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    train(folder, *SHORT, STYLE, say=lambda _: None)
    return folder


def opened(runs, *overrides, without=refuse_adapter):
    system, said = toy(*SHORT, *overrides), []
    give_weights(system, runs, without=refuse, say=said.append)
    give_adapters(system, runs, without=without, say=said.append)
    return system.eval(), said


def denoised(system):
    z = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    conditions = system.condition({"caption": ["thing 1", "thing 2"]})
    return system.denoise(z, torch.tensor([0.3, 0.7]), conditions)


def test_the_toy_keeps_the_contract():
    system = toy()
    check_adapter(Shift, system, lambda s: denoised_with_gradient(s))


def denoised_with_gradient(system):
    z = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    conditions = system.condition({"caption": ["thing 1", "thing 2"]})
    from ldmkit.engine.conditions import merge

    return system.denoiser(z, torch.tensor([0.3, 0.7]), merge(conditions))


def test_an_adapter_is_trained_alone_and_kept_alone(runs):
    (file,) = runs.glob("toy/style-*/style.safetensors")
    assert list(load_file(file)) == ["shift"]
    assert load_file(file)["shift"].abs().min() > 0
    plain, _ = opened(runs)
    adapted, said = opened(runs, STYLE)
    assert f"adapter style: reused {file}" in said
    for (name, own), (_, other) in zip(
        plain.conditioners.named_parameters(), adapted.conditioners.named_parameters(), strict=True
    ):
        assert torch.equal(own, other), name
    assert torch.equal(plain.denoiser.out.weight, adapted.denoiser.out.weight)
    assert not torch.allclose(denoised(plain), denoised(adapted))


def test_an_adapter_of_other_diffusion_weights_or_data_is_told(runs, tmp_path):
    """What its training recorded is held against what is there now."""
    shutil.copytree(runs, tmp_path / "runs")
    (file,) = (tmp_path / "runs").glob("toy/style-*/style.safetensors")
    (base,) = (tmp_path / "runs").glob("toy/diffusion-*/diffusion.safetensors")
    made_from = file.parent / "made_from.json"
    origin = json.loads(made_from.read_text())
    assert origin["diffusion"] == sha256(base)
    assert origin["pictures"] == 14

    def said(accept=False, **changes):
        made_from.write_text(json.dumps({**origin, **changes}))
        system, told = toy(*SHORT, STYLE), []
        give_weights(system, tmp_path / "runs", without=refuse, say=told.append)
        folder = tmp_path / "runs"
        give_adapters(system, folder, without=refuse_adapter, say=told.append, data=True, accept=accept)
        return told[-2:]

    assert "changed" not in said()[0]
    assert said(data="0", pictures=15)[0].startswith(
        "style: its data have changed since it was trained (15 pict"
    )
    with pytest.raises(UserError, match=r"style.safetensors was trained on other diffusion weights than"):
        said(diffusion="0")
    with pytest.raises(UserError, match=r"style.safetensors is not the file that its training wrote"):
        said(weights="0")
    assert said(diffusion="0", accept=True)[-1] == f"adapter style: reused {file}"


def test_a_resume_of_an_adapter_on_other_data_stops(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    (file,) = (tmp_path / "runs").glob("toy/style-*/style.safetensors")
    file.unlink()
    made_from = file.parent / "made_from.json"
    made_from.write_text(json.dumps({**json.loads(made_from.read_text()), "data": "0", "pictures": 15}))
    with pytest.raises(
        UserError, match=r"its data have changed since its step 6 \(15 pictures then, 14 now\)"
    ):
        train(tmp_path / "runs", *SHORT, STYLE, say=lambda _: None)


def test_more_steps_of_an_adapter_go_on_bit_for_bit(runs, tmp_path):
    longer, said = STYLE.replace("steps: 6", "steps: 9"), []
    shutil.copytree(runs, tmp_path / "parts")
    train(tmp_path / "parts", *SHORT, longer, say=said.append)
    (shorter,) = runs.glob("toy/style-*/")
    taken = f"style: takes over step 6 of {tmp_path / 'parts' / 'toy' / shorter.name}"
    assert any(line.startswith(taken) for line in said)
    train(tmp_path / "whole", *SHORT, longer, say=lambda _: None)
    (whole,) = (tmp_path / "whole").glob("toy/style-*/style.safetensors")
    mine = tmp_path / "parts" / whole.relative_to(tmp_path / "whole")
    assert torch.equal(load_file(mine)["shift"], load_file(whole)["shift"])


def test_an_adapter_that_is_restarted_takes_nothing_over(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")

    def anew(system, name):
        train_adapter(system, name, tmp_path / "runs", restart=True, say=said.append)

    said = []
    opened(tmp_path / "runs", STYLE.replace("steps: 6", "steps: 9"), without=anew)
    assert len(list((tmp_path / "runs").glob("toy/style-*/style.safetensors"))) == 2
    assert not [line for line in said if "takes over" in line or "going on after" in line]


def test_strength_and_merging_are_the_recipes(runs):
    plain, adapted = denoised(opened(runs)[0]), denoised(opened(runs, STYLE)[0])
    off = opened(runs, STYLE, "adapters.style.strength=0")[0]
    assert torch.equal(denoised(off), plain)
    merged = opened(runs, STYLE, "adapters.style.merge=true")[0]
    torch.testing.assert_close(denoised(merged), adapted)
    assert merged.adapters == {}
    assert merged.state_dict().keys() == opened(runs)[0].state_dict().keys()
    off.adapters["style"].set_strength(1.0)
    torch.testing.assert_close(denoised(off), adapted)


def test_several_adapters_add_up_and_are_trained_apart(runs, tmp_path):
    (file,) = runs.glob("toy/style-*/style.safetensors")
    named = f"weights: {file}, strength: 0.5"
    both = f"adapters={{other: {{name: toy, {named}}}, style: {{name: toy, strength: 0.5, {TRAINING}}}}}"
    whole, _ = opened(runs, STYLE)
    halves, _ = opened(runs, both)
    torch.testing.assert_close(denoised(halves), denoised(whole))


def test_an_adapter_without_weights_is_refused_or_left_without_effect(tmp_path, runs):
    untrained = "adapters={new: {name: toy}}"
    with pytest.raises(UserError, match=r"adapter new: add adapters\.new\.weights or \.train"):
        opened(runs, untrained)
    with pytest.warns(UserWarning, match="no weights for its adapter new"):
        system, _ = opened(runs, untrained, without=warn_of_adapter)
    assert torch.equal(denoised(system), denoised(opened(runs)[0]))
    with pytest.raises(UserError, match=r"adapters\.new: no file .*nowhere"):
        opened(runs, "adapters={new: {name: toy, weights: nowhere.safetensors}}")
    other = tmp_path / "other.safetensors"
    other.write_bytes(next(runs.glob("toy/diffusion-*/diffusion.safetensors")).read_bytes())
    with pytest.raises(UserError, match="the weights do not fit"):
        opened(runs, f"adapters={{new: {{name: toy, weights: {other}}}}}")


@pytest.mark.parametrize("name", ["compression", "a-b", "a.b", "1"])
def test_a_name_that_an_adapter_cannot_have(name):
    with pytest.raises(UserError, match="adapters"):
        toy(f"adapters={{{name}: {{name: toy}}}}")


def test_adapters_determine_samples_and_no_stage():
    plain, adapted, weaker = (
        toy(*options).recipe for options in ([], [STYLE], [STYLE, "adapters.style.strength=0.1"])
    )
    for stage in ("compression", "diffusion"):
        assert digest(plain, stage) == digest(adapted, stage)
    assert len({digest(r, "samples") for r in (plain, adapted, weaker)}) == 3
    assert digest(adapted, "adapters.style") == digest(weaker, "adapters.style")
    longer = toy(STYLE, "adapters.style.train.steps=7").recipe
    assert digest(longer, "adapters.style") != digest(adapted, "adapters.style")


def test_a_recipe_with_adapters_is_written_and_read_back(tmp_path):
    system = toy(STYLE)
    (tmp_path / "recipe.yaml").write_text(dump(system.recipe))
    assert load(tmp_path / "recipe.yaml", (), system.registry) == system.recipe


def test_what_does_not_fit_is_told_with_its_place(monkeypatch):
    monkeypatch.setattr(Shift, "attach", lambda *_: (_ for _ in ()).throw(ValueError("no such layer")))
    with pytest.raises(UserError, match=r"adapters\.style \(toy\): no such layer"):
        attach(toy(STYLE), "style")
