"""Agreement with diffusers on random weights, in both directions, and what its configurations may not say."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from ldmkit.host.plugins import host

PLAIN, ATTENDING = (
    ("DownEncoderBlock2D", "UpDecoderBlock2D"),
    ("AttnDownEncoderBlock2D", "AttnUpDecoderBlock2D"),
)


def blocks(*attends):
    kinds = [ATTENDING if a else PLAIN for a in attends]
    return {
        "down_block_types": tuple(k[0] for k in kinds),
        "up_block_types": tuple(k[1] for k in reversed(kinds)),
    }


CONFIGURATIONS = {
    "f1": {"block_out_channels": (32,), **blocks(0)},
    "f4": {"block_out_channels": (32, 64, 64), **blocks(0, 0, 0), "layers_per_block": 2, "sample_size": 64},
    "f8 narrowing": {"block_out_channels": (64, 32, 96, 32), **blocks(0, 0, 0, 0)},
    "f16 attending": {
        "block_out_channels": (32, 32, 32, 64, 64),
        **blocks(0, 0, 1, 0, 1),
        "sample_size": 100,
    },
    "f32 attending": {"block_out_channels": (32, 32, 32, 32, 64, 64), **blocks(0, 0, 0, 1, 1, 1)},
    "no attention": {"block_out_channels": (32, 64), **blocks(0, 0), "mid_block_add_attention": False},
    "attention but in the middle": {
        "block_out_channels": (32, 64),
        **blocks(1, 0),
        "mid_block_add_attention": False,
    },
}
KINDS = {
    "kl": (AutoencoderKL, {"latent_channels": 5}),
    "vq": (VQModel, {"latent_channels": 3, "num_vq_embeddings": 40}),
    "vq thin": (VQModel, {"latent_channels": 6, "vq_embed_dim": 4, "num_vq_embeddings": 16}),
}


def theirs(kind, configuration):
    torch.manual_seed(0)
    made, own = KINDS[kind]
    model = made(**CONFIGURATIONS[configuration], **own).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model


def ours(kind, config, tensors):
    registry, name = host().registry, f"{kind[:2]}-autoencoder"
    keymap = registry.get("keymap", f"diffusers/{name}").load()()
    model = registry.get("compression", name).load()(**keymap.parameters(config))
    model.load_state_dict(keymap.load(tensors, model))
    return model.eval(), keymap


def error(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture(scope="module", params=[(k, c) for k in KINDS for c in CONFIGURATIONS], ids="-".join)
def pair(request):
    kind, configuration = request.param
    reference = theirs(kind, configuration)
    return reference, *ours(kind, dict(reference.config), reference.state_dict())


@torch.no_grad()
def test_figures_agree_with_diffusers(pair):
    reference, model, _ = pair
    factor = model.latent.factor
    size = (2, 3, max(2 * factor, 16), max(factor, 16))
    image = torch.rand(size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    if isinstance(reference, AutoencoderKL):
        gaussian, posterior = reference.encode(image).latent_dist, model.posterior(image)
        latent = gaussian.mean
        assert error(posterior.std, gaussian.std) < 2e-5
        assert error(posterior.penalty, gaussian.kl()) < 2e-5
    else:
        latent = reference.encode(image).latents
        wanted = reference.decode(latent, force_not_quantize=True).sample
        assert error(model.decode(latent, quantize=False), wanted) < 2e-5
    assert error(model.encode(image), latent) < 2e-5
    assert error(model.decode(latent), reference.decode(latent).sample) < 2e-5


def test_there_and_back_is_exact(pair):
    reference, model, keymap = pair
    saved, original = keymap.save(model), reference.state_dict()
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[key], original[key]) for key in saved)
    again = model.state_dict()
    assert all(torch.equal(x, again[key]) for key, x in keymap.load(saved, model).items())


def test_diffusers_takes_the_exported_model(pair):
    reference, model, keymap = pair
    parameters = keymap.parameters(dict(reference.config))
    config = keymap.config(parameters)
    exported = type(reference).from_config(config)
    exported.load_state_dict(keymap.save(model))
    assert keymap.parameters(dict(exported.config)) == parameters


def test_old_names_and_shapes_of_attention_load():
    reference = theirs("kl", "f16 attending")
    model, keymap = ours("kl", dict(reference.config), reference.state_dict())
    old = {}
    for key, x in reference.state_dict().items():
        for new, name in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            key = key.replace(new, name)
        old[key] = x[..., None, None] if "attentions" in key and x.ndim == 2 else x
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in old
    state = model.state_dict()
    assert all(torch.equal(x, state[key]) for key, x in keymap.load(old, model).items())


def test_attention_under_both_names_is_left_over():
    reference = theirs("kl", "f1")
    model, keymap = ours("kl", dict(reference.config), reference.state_dict())
    key = "encoder.mid_block.attentions.0.query.weight"
    with pytest.raises(ValueError, match=f"left over: {key}"):
        keymap.load({**reference.state_dict(), key: torch.zeros(32, 32)}, model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm_num_groups": 16}, "norm_num_groups"),
        ({"act_fn": "gelu"}, "act_fn"),
        ({"in_channels": 4}, "in_channels"),
        ({"block_out_channels": (32,)}, "block_out_channels"),
        ({"block_out_channels": ()}, "block_out_channels"),
        ({"use_quant_conv": False}, "use_quant_conv"),
        ({"latents_mean": [0.0] * 4}, "latents_mean"),
        ({"down_block_types": ("AttnDownEncoderBlock2D", "DownEncoderBlock2D")}, "different levels"),
        ({"down_block_types": ("CrossAttnDownBlock2D", "DownEncoderBlock2D")}, "down_block_types"),
        ({"_class_name": "AutoencoderTiny"}, "AutoencoderTiny"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(change, said):
    keymap = host().registry.get("keymap", "diffusers/kl-autoencoder").load()()
    good = {"block_out_channels": (32, 64), **blocks(0, 0)}
    assert keymap.parameters(good)["factor"] == 2
    with pytest.raises(ValueError, match=said):
        keymap.parameters({**good, **change})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("kl", {"patch": 2}),
        ("kl", {"decoder_width": 64}),
        ("kl", {"decoder_blocks": 1}),
        ("kl", {"multipliers": (2, 4), "factor": 2}),
        ("kl", {"z_channels": 8}),
        ("vq", {"patch": 4}),
    ],
)
def test_what_diffusers_cannot_hold_is_not_written(name, parameters):
    keymap = host().registry.get("keymap", f"diffusers/{name}-autoencoder").load()()
    with pytest.raises(ValueError, match=r"patch|decoder_|multiplier|z_channels"):
        keymap.config(parameters)
