"""Export and import again: every tensor as it was; diffusers' own classes read what is written."""

from __future__ import annotations

import json

import pytest
import small_recipes
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

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
"""What formats say in their own ways, or, of training alone, not at all."""


def differing_entries(old, new):
    """Names of the entries of two recipes that are not the same."""
    lines = [set(recipe.read_text().splitlines()) for recipe in (old, new)]
    return {line.strip(" -").split(":")[0] for line in lines[0] ^ lines[1]}


def tensors(recipe):
    files = sorted(recipe.parent.glob("*.safetensors"))
    return {f"{f.stem}: {key}": x for f in files for key, x in load_file(f).items()}


@pytest.mark.parametrize(("style", "name"), CASES, ids=lambda x: x)
def test_every_tensor_comes_back(style, name, system, imported, tmp_path):
    export_model(system(name), tmp_path / "out", style)
    again = import_again(tmp_path / "out", style, tmp_path / "again")
    before, after = tensors(imported(name)), tensors(again)
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


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """A folder laid out like Stable Diffusion's, everything tiny, and its parts."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "tiny-sd"
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder / "tokenizer")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1, "vocab_size": len(vocabulary)}
    text = CLIPTextModel(CLIPTextConfig(**sizes, **ids)).eval()
    blocks = {"block_out_channels": (32, 64), "layers_per_block": 1}
    names = {"down": ("CrossAttnDownBlock2D", "DownBlock2D"), "up": ("UpBlock2D", "CrossAttnUpBlock2D")}
    types = {f"{way}_block_types": value for way, value in names.items()}
    unet = UNet2DConditionModel(
        **blocks, **types, cross_attention_dim=16, attention_head_dim=4, sample_size=8
    )
    vae = AutoencoderKL(
        **blocks,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    parts = {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    index = {"_class_name": "StableDiffusionPipeline", "safety_checker": ["stable_diffusion", "Checker"]}
    index |= {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder, parts


@torch.no_grad()
def test_a_folder_like_stable_diffusion(stable_diffusion, tmp_path, error, monkeypatch):
    folder, parts = stable_diffusion
    notes = []
    recipe = import_model(folder, tmp_path / "out", None, None, notes.append)
    monkeypatch.chdir(tmp_path.parent)  # the encoder's path holds anywhere
    model = ldmkit.build(recipe)
    assert "safety_checker" in notes[0]
    condition = model.condition({"caption": ["a red fox", ""]})
    ids = model.conditioners["caption"].prepare({"caption": ["a red fox", ""]})["caption"]
    states = parts["text_encoder"](ids).last_hidden_state
    assert error(condition["caption"].tokens, states) < 2e-5
    z, time = torch.randn(2, 4, 8, 8), torch.tensor([3, 801])
    expected = parts["unet"](z, time, encoder_hidden_states=states).sample
    assert error(model.denoise(z, time.float(), condition), expected) < 2e-5
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    mean = parts["vae"].encode(image).latent_dist.mode() * 0.18215
    assert error(model.compression.encode(image), mean) < 2e-5
    assert model.recipe.schedule.parameters["start"] == 0.00085
    assert model.recipe.sample.size == (16, 16)


@torch.no_grad()
def test_a_first_stage_with_a_shift(tmp_path, error):
    from diffusers import AutoencoderKL

    blocks = {f"{way}_block_types": (f"{way.capitalize()}{kind}Block2D",) * 2 for way, kind in WAYS.items()}
    options = {
        "block_out_channels": (32, 64),
        "latent_channels": 4,
        "scaling_factor": 0.5,
        "shift_factor": 0.3,
    }
    vae = AutoencoderKL(**blocks, **options).eval()
    vae.save_pretrained(tmp_path / "vae")
    model = ldmkit.build(import_model(tmp_path / "vae", tmp_path / "out", None, None, silent)).compression
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    latent = (vae.encode(image).latent_dist.mode() - 0.3) * 0.5
    assert error(model.encode(image), latent) < 2e-5
    assert error(model.decode(latent), vae.decode(latent / 0.5 + 0.3).sample) < 2e-5


WAYS = {"down": "Encoder", "up": "Decoder"}


@torch.no_grad()
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_sampling_in_half_precision_makes_nearly_the_same_pictures(stable_diffusion, tmp_path, kind):
    folder, _ = stable_diffusion
    model = ldmkit.build(import_model(folder, tmp_path / "out", None, None, silent))
    options = {"steps": 4, "guidance": [{"name": "classifier-free", "scale": 3}]}
    before = model.sample(["a red fox"], seed=3, **options)[0]
    after = model.to(kind).sample(["a red fox"], seed=3, **options)[0]
    pixels = [torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8).float() for p in (before, after)]
    assert (pixels[0] - pixels[1]).abs().mean() < 4  # of 255


def test_a_folder_with_parts_that_are_missing_or_unknown(stable_diffusion, tmp_path):
    import shutil

    folder, _ = stable_diffusion
    source = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(source / "tokenizer")
    with pytest.raises(UserError, match="tokenizer"):
        import_model(source, tmp_path / "out", None, None, silent)
    weights = source / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copytree(folder / "tokenizer", source / "tokenizer")
    save_file({**load_file(weights), "surprise": torch.ones(1)}, weights)
    with pytest.raises(UserError, match="surprise"):
        import_model(source, tmp_path / "out", None, None, silent)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UserError, match="pickled weights are not read"):
        import_model(source, tmp_path / "out", None, None, silent)
    index = json.loads((source / "model_index.json").read_text())
    (source / "model_index.json").write_text(json.dumps({**index, "prior": ["diffusers", "Prior"]}))
    with pytest.raises(UserError, match="no pipeline that a recipe can hold"):
        import_model(source, tmp_path / "out", None, None, silent)
    assert not (tmp_path / "out").exists()


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
