"""Export and import again: every tensor as it was; diffusers' own classes read what is written."""

from __future__ import annotations

import json

import pytest
import small_recipes
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import ldmkit
from ldmkit.cli import main
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import export_model, import_model
from ldmkit.recipe import load, resolve

FIRST_STAGES = ["ae-kl-f4", "ae-kl-f8", "ae-vq-f4"]
HELD = {
    "compvis": [*FIRST_STAGES, "bsr-sr", "celebahq-vq4", "cin256-v2", "txt2img-1p4B"],
    "diffusers": [*FIRST_STAGES, "bsr-sr", "celebahq-vq4", "txt2img-1p4B"],
}
CASES = [(style, name) for style, names in HELD.items() for name in names]


def silent(line):
    """Says nothing."""


def import_again(out, style, to):
    if style == "compvis":
        return import_model(out / "model.ckpt", to, out / "config.yaml", None, silent)
    return import_model(out, to, None, None, silent)


BY_FORMAT = {"attention", "checkpoint", "head_channels", "head_order", "heads", "loss", "name", "order"}
BY_FORMAT |= {"{name"}  # of guidance: its scale
"""What formats say in their own ways, or, of training or of drawing alone, not at all."""


def differing_entries(old, new):
    """Names of the entries of two recipes that are not the same."""
    lines = [set(recipe.read_text().splitlines()) for recipe in (old, new)]
    return {line.strip(" -").split(":")[0] for line in lines[0] ^ lines[1]}


def tensors(recipe):
    files = sorted(recipe.parent.glob("*.safetensors"))
    return {f"{f.stem}: {key}": x for f in files for key, x in load_file(f).items()}


@pytest.mark.parametrize(("style", "name"), CASES, ids=lambda x: x)
def test_every_tensor_comes_back(style, name, system, imported, tmp_path):
    notes = export_model(system(name), tmp_path / "out", style)
    assert any("tell it guidance_scale=5" in note for note in notes) == ((style, name) == CASES[-1])
    again = import_again(tmp_path / "out", style, tmp_path / "again")
    before, after = tensors(imported(name)), tensors(again)
    logits = "diffusion: conditioners.caption.transformer.to_logits.weight"
    assert (logits in before) == (name == "txt2img-1p4B")
    assert before.keys() == after.keys()
    # diffusers has no joint matrix: q, k and v come back joined in the other order of heads (`head_order`).
    joint = {
        key for key in before if key.endswith("attention.qkv.weight") or key.endswith("attention.qkv.bias")
    }
    reordered = joint if style == "diffusers" else set()
    assert all(torch.equal(before[key], after[key]) for key in before.keys() - reordered)
    assert all(torch.equal(*(x[key].flatten().sort()[0] for x in (before, after))) for key in reordered)
    assert differing_entries(imported(name), again) <= BY_FORMAT


@torch.no_grad()
@pytest.mark.parametrize("name", FIRST_STAGES)
def test_diffusers_reads_a_first_stage(name, system, reference, tmp_path, error):
    from diffusers import AutoencoderKL, VQModel

    kind, io = VQModel if "vq" in name else AutoencoderKL, reference(name).io
    export_model(system(name), tmp_path / "out", "diffusers")
    model, info = kind.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    latent = io.get("latent_mean", io.get("latent_prequant"))
    made = model.encode(io["image"])
    assert error(made.latents if "vq" in name else made.latent_dist.mode(), latent) < 2e-5
    assert error(model.decode(latent).sample, io["decoded"]) < 2e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["bsr-sr", "celebahq-vq4", "txt2img-1p4B"])
def test_diffusers_reads_a_denoiser(name, system, reference, tmp_path, error):
    from diffusers import UNet2DConditionModel, UNet2DModel

    kind = UNet2DConditionModel if name.startswith("txt2img") else UNet2DModel
    io, model = reference(name).io, system(name, "raw")
    export_model(model, tmp_path / "out", "diffusers")
    unet, info = kind.from_pretrained(tmp_path / "out" / "unet", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    z = torch.cat([io["z_t"], io["low_res"]], 1) if "low_res" in io else io["z_t"]
    given = {"encoder_hidden_states": io["cond"]} if "tokens" in io else {}
    assert error(unet(z, io["t"], **given).sample, io["eps"]) < 2e-5


@torch.no_grad()
def test_diffusers_runs_the_text_encoder(system, reference, tmp_path, error):
    from diffusers.pipelines.latent_diffusion import LDMBertModel

    export_model(system("txt2img-1p4B"), tmp_path / "out", "diffusers")
    bert = LDMBertModel.from_pretrained(tmp_path / "out" / "bert")
    io = reference("txt2img-1p4B").io
    assert error(bert(io["tokens"])[0], io["cond"]) < 2e-5


def test_diffusers_pipeline_makes_the_same_pictures(system, tmp_path):
    from diffusers import LDMPipeline

    model = system("celebahq-vq4", "raw")
    export_model(model, tmp_path / "out", "diffusers")
    pipeline = LDMPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.register_to_config(sample_size=16)
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    made = pipeline(1, torch.Generator().manual_seed(5), num_inference_steps=2, output_type="np").images
    with torch.no_grad():
        latent = model.sample_latent({}, noise=noise, sampler="ddim", steps=2)
        own = (model.compression.decode(latent) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(torch.from_numpy(made).permute(0, 3, 1, 2), own, atol=1e-4)


def test_what_a_format_cannot_hold(system, imported, tmp_path):
    with pytest.raises(UserError, match="'class-embedding' cannot be held in the diffusers format"):
        export_model(system("cin256-v2"), tmp_path / "out", "diffusers")
    changed = ldmkit.build(imported("ae-vq-f4"))
    changed.compression.scale *= torch.tensor([0.5, 1.0, 2.0])
    with pytest.raises(UserError, match="scaled and shifted by channel"):
        export_model(changed, tmp_path / "out", "compvis")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
@pytest.mark.parametrize("style", HELD)
def test_scale_and_shift_by_channel_become_weights(style, imported, reference, tmp_path, error):
    """As a training leaves them; the posterior and decoding stay what they were."""
    system, image = ldmkit.build(imported("ae-kl-f4")), reference("ae-kl-f4").io["image"]
    model = system.compression
    model.scale.copy_(torch.tensor([0.5, 1.0, 3.0]))
    model.shift.copy_(torch.tensor([0.1, -2.0, 0.3]))
    export_model(system, tmp_path / "out", style)
    again = ldmkit.build(import_again(tmp_path / "out", style, tmp_path / "again")).compression
    before, after = model.posterior(image), again.posterior(image)
    assert torch.equal(again.scale, torch.ones(3))
    assert error(after.mode, before.mode) < 2e-5
    assert error(after.std, before.std) < 2e-5
    assert error(again.decode(before.mode), model.decode(before.mode)) < 2e-5


BEYOND = [
    ("compvis", ["schedule={name: flow}", "objective={name: flow}"]),
    ("diffusers", ["schedule={name: flow}", "objective={name: flow}"]),
    ("compvis", ["schedule.zero_snr=true", "objective={name: v}"]),
    ("diffusers", ["schedule={name: cosine, offset: 0.1}"]),
    ("diffusers", ["objective.variance=learned-range"]),
]


@pytest.mark.parametrize(("style", "changes"), BEYOND, ids=str)
def test_schedules_and_objectives_that_a_format_cannot_hold(style, changes, imported, tmp_path):
    registry = host().registry
    model = assemble(resolve(load(imported("celebahq-vq4"), changes), registry), registry)
    with pytest.raises(UserError, match=f"cannot be held in the {style} format"):
        export_model(model, tmp_path / "out", style)
    assert not list(tmp_path.iterdir())


def test_the_command_line(imported, tmp_path):
    recipe = str(imported("ae-vq-f4"))
    result = CliRunner().invoke(main, ["export", recipe, str(tmp_path / "out"), "--format", "diffusers"])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "config.json").read_text())["scaling_factor"] == 1.0
    result = CliRunner().invoke(main, ["export", recipe, str(tmp_path / "out"), "--format", "compvis"])
    assert result.exit_code == 2
    assert "exists and is not empty" in result.stderr


@pytest.mark.parametrize(
    ("parts", "style", "size"),
    [
        ({"data": {"name": "image-folder", "path": "none", "size": 16}}, "diffusers", (16, 16)),
        ({"data": {"name": "image-folder", "path": "none", "size": 16}}, "compvis", (16, 16)),
        ({"sample": {"size": [16, 24]}}, "diffusers", (16, 24)),
    ],
)
def test_the_pictures_size_goes_along(parts, style, size, tmp_path):
    registry = host().registry
    system = assemble(resolve(load({**small_recipes.PIXELS, "name": "sized", **parts}), registry), registry)
    export_model(system, tmp_path / "out", style)
    assert ldmkit.build(import_again(tmp_path / "out", style, tmp_path / "in")).size == size


def test_a_format_that_there_is_not_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", "text2img", str(tmp_path / "out"), "--format", "difusers"])
    assert result.exit_code == 2
    assert result.output.startswith("error: unknown format 'difusers'")
    assert "did you mean 'diffusers'?" in result.output
