"""Agreement with the published implementation: fixtures of reduced width, weights from key names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from published_weights import made_up
from safetensors.torch import load_file

from ldmkit.host.plugins import host

FIXTURES = Path(__file__).parent / "fixtures"
CASES = {"ae-kl-f4": "kl", "ae-kl-f8": "kl", "ae-vq-f4": "vq"}


def published(case):
    keys = json.loads((FIXTURES / case / "keys.json").read_text())["weights"]
    config = yaml.safe_load((FIXTURES / case / "config.yaml").read_text())["model"]["params"]
    return {key: made_up(key, shape) for key, shape in keys.items()}, config


def imported(case):
    weights, config = published(case)
    registry, name = host().registry, f"{CASES[case]}-autoencoder"
    keymap = registry.get("keymap", f"compvis/{name}").load()()
    model = registry.get("compression", name).load()(**keymap.parameters(config))
    model.load_state_dict(keymap.load(weights, model))
    return model.eval(), keymap, weights, config


def error(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return (*imported(request.param), load_file(FIXTURES / request.param / "io.safetensors"))


@torch.no_grad()
def test_encode_and_decode_agree_with_the_published_code(case):
    model, _, _, _, io = case
    wanted = io.get("latent_mean", io.get("latent_prequant"))
    assert error(model.encode(io["image"]), wanted) < 2e-5
    assert error(model.decode(wanted), io["decoded"]) < 2e-5


@torch.no_grad()
def test_the_posterior_agrees_with_the_published_code(case):
    model, _, _, _, io = case
    posterior = model.posterior(io["image"])
    if "kl" in io:
        assert error(posterior.std, (0.5 * io["latent_logvar"]).exp()) < 2e-5
        assert error(posterior.penalty, io["kl"]) < 2e-5
    else:
        assert torch.equal(model.codes(io["latent_prequant"]).flatten(), io["codes"].flatten().long())
        assert error(posterior.penalty.mean(), io["codebook_loss"]) < 2e-5
        assert posterior.std is None


def test_tensors_and_configuration_come_back(case):
    model, keymap, weights, config, _ = case
    saved = keymap.save(model)
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[key], weights[key]) for key in weights)
    parameters = keymap.parameters(config)
    assert keymap.parameters(keymap.config(parameters)) == parameters
    assert keymap.config(parameters)["ddconfig"].items() <= {**config["ddconfig"]}.items()


def test_every_key_left_over_or_missing_is_named(case):
    model, keymap, weights, _, _ = case
    wrong = {("extra" if key == "encoder.conv_in.bias" else key): x for key, x in weights.items()}
    del wrong["decoder.mid.attn_1.q.weight"]
    wrong["quant_conv.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="missing") as caught:
        keymap.load(wrong, model)
    for name in ("encoder.conv_in.bias", "extra", "decoder.mid.attn_1.q.weight", "quant_conv.bias is [7]"):
        assert name in str(caught.value)


def test_a_training_file_s_losses_are_not_read(case):
    model, keymap, weights, _, _ = case
    state = keymap.load({**weights, "loss.discriminator.main.0.weight": torch.zeros(1)}, model)
    assert state.keys() == model.state_dict().keys()


def test_the_latent_scale_reaches_mode_std_and_decoding(case):
    model, _, _, _, io = case
    plain, picture = model.posterior(io["image"]), model.decode(model.encode(io["image"]))
    state = {key: x.clone() for key, x in model.state_dict().items()}
    try:
        model.scale.copy_(torch.linspace(0.2, 0.4, len(model.scale)))
        model.shift.fill_(0.5)
        scaled = model.posterior(io["image"])
        scale = model.scale[:, None, None]
        torch.testing.assert_close(scaled.mode, (plain.mode - 0.5) * scale)
        assert scaled.std is None or torch.equal(scaled.std, plain.std * scale)
        assert torch.equal(scaled.penalty, plain.penalty)
        assert error(model.decode(model.encode(io["image"])), picture) < 1e-4
    finally:
        model.load_state_dict(state)


def change(config, path, value):
    changed = json.loads(json.dumps(config))
    *parents, last = path.split(".")
    at = changed
    for name in parents:
        at = at[name]
    at[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ddconfig.in_channels", 1),
        ("ddconfig.chanels", 3),
        ("ddconfig.ch_mult", []),
        ("ddconfig.ch", "many"),
        ("ddconfig.double_z", "both"),
        ("ddconfig.attn_type", "linear"),
        ("ddconfig.resamp_with_conv", False),
        ("ddconfig.tanh_out", True),
        ("ddconfig", None),
        ("embed_dim", 0),
        ("unheard_of", 1),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(case, path, value):
    _, keymap, _, config, _ = case
    with pytest.raises(ValueError, match=path.rpartition(".")[2]):
        keymap.parameters(change(config, path, value))


def test_double_z_must_fit_the_regulariser(case):
    _, keymap, _, config, _ = case
    wrong = change(config, "ddconfig.double_z", not config["ddconfig"]["double_z"])
    with pytest.raises(ValueError, match="double_z"):
        keymap.parameters(wrong)


def test_attention_that_is_never_reached_is_kept(case):
    _, keymap, _, config, _ = case
    parameters = keymap.parameters(change(config, "ddconfig.attn_resolutions", [7, 16]))
    assert parameters["attention"] == [7, 16]
    assert keymap.config(parameters)["ddconfig"]["attn_resolutions"] == [7, 16]


def test_attention_none_has_no_attention_anywhere(case):
    _, keymap, weights, config, _ = case
    none = change(change(config, "ddconfig.attn_type", "none"), "ddconfig.attn_resolutions", [256])
    parameters = keymap.parameters(none)
    name = "vq" if "n_embed" in config else "kl"
    model = host().registry.get("compression", f"{name}-autoencoder").load()(**parameters)
    assert set(keymap.save(model)) == {key for key in weights if "attn" not in key}
    assert keymap.config(parameters)["ddconfig"]["attn_type"] == "none"


@pytest.mark.parametrize(
    "parameters",
    [
        {"patch": 2, "multipliers": (1, 2), "factor": 4},
        {"multipliers": (1, 1.5), "factor": 2, "width": 64},
        {"middle_attention": False, "attention": (256,)},
    ],
)
def test_what_the_published_code_cannot_hold_is_not_written(case, parameters):
    with pytest.raises(ValueError, match=r"published"):
        case[1].config(parameters)
