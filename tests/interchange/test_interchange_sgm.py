"""Stable Diffusion XL as a single file in sgm's names, held against a folder of the same random weights."""

from __future__ import annotations

import pytest
import torch
import yaml
from ldmkit_text.open_clip import from_transformers
from safetensors.torch import save_file
from tiny_pipelines import large

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import import_model
from ldmkit.interchange.model import save_part

SGM = "sgm.modules"
UNET = {
    "adm_in_channels": 24 + 6 * 8, "num_classes": "sequential", "use_checkpoint": True, "in_channels": 4,
    "out_channels": 4, "model_channels": 32, "attention_resolutions": [2, 1], "num_res_blocks": 1,
    "channel_mult": [1, 2], "num_head_channels": 16, "use_linear_in_transformer": True,
    "transformer_depth": [1, 2], "context_dim": 64 + 128, "legacy": False,
    "spatial_transformer_attn_type": "softmax-xformers",
}  # fmt: skip
DDCONFIG = {
    "attn_type": "vanilla-xformers", "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3,
    "out_ch": 3, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
TEXTS = [
    {"target": "FrozenCLIPEmbedder", "params": {"layer": "hidden", "layer_idx": 1}},
    {
        "target": "FrozenOpenCLIPEmbedder2",
        "params": {
            "arch": "ViT-bigG-14", "version": "laion2b_s39b_b160k", "freeze": True, "layer": "penultimate",
            "always_return_pooled": True, "legacy": False,
        },
    },
]  # fmt: skip
SIZES = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")


def configuration():
    """What is published beside Stable Diffusion XL, at reduced width."""
    embedders = [{"is_trainable": False, "input_key": "txt", **text} for text in TEXTS]
    embedders += [
        {"input_key": key, "target": "ConcatTimestepEmbedderND", "params": {"outdim": 8}} for key in SIZES
    ]
    for embedder in embedders:
        embedder["target"] = f"{SGM}.encoders.modules.{embedder['target']}"
    diffusion = f"{SGM}.diffusionmodules"
    denoiser = {
        "num_idx": 1000,
        "scaling_config": {"target": f"{diffusion}.denoiser_scaling.EpsScaling"},
        "discretization_config": {"target": f"{diffusion}.discretizer.LegacyDDPMDiscretization"},
    }
    first = {"embed_dim": 4, "ddconfig": DDCONFIG, "lossconfig": {"target": "torch.nn.Identity"}}
    params = {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": {"target": f"{diffusion}.denoiser.DiscreteDenoiser", "params": denoiser},
        "network_config": {"target": f"{diffusion}.openaimodel.UNetModel", "params": UNET},
        "conditioner_config": {"target": f"{SGM}.GeneralConditioner", "params": {"emb_models": embedders}},
        "first_stage_config": {"target": "sgm.models.autoencoder.AutoencoderKL", "params": first},
    }
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params}}


def state_of(pipeline, system):
    """The pipeline's weights under sgm's names. Those of network and first stage are as the key maps have
    them, which are held against published models elsewhere."""
    parts = {"model.diffusion_model.": "denoiser", "first_stage_model.": "compression"}
    state = {f"{p}{k}": x for p, part in parts.items() for k, x in save_part(system, part, "compvis").items()}
    first = {k.removeprefix("text_model."): x for k, x in pipeline.text_encoder.state_dict().items()}
    own = pipeline.text_encoder_2.state_dict()
    second = from_transformers({k: x for k, x in own.items() if not k.startswith("text_projection")})
    second = {k: x for k, x in second.items() if "resblocks.3." not in k}  # a block that export makes up
    second["model.text_projection"] = own["text_projection.weight"].T
    second["model.logit_scale"] = torch.tensor(4.6)
    state |= {f"conditioner.embedders.0.transformer.text_model.{k}": x for k, x in first.items()}
    state |= {f"conditioner.embedders.1.{k}": x for k, x in second.items()}
    return {k: x.contiguous() for k, x in state.items()} | {"denoiser.sigmas": torch.ones(1000)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A pipeline's folder, its import, and its weights as a single file's state."""
    place = tmp_path_factory.mktemp("published")
    pipeline = large(widths=(64, 128))
    pipeline.save_pretrained(place / "pipeline")
    system = ldmkit.build(import_model(place / "pipeline", place / "folder", None, None, lambda line: None))
    return place / "pipeline", system, state_of(pipeline, system)


@pytest.fixture
def import_file(published, tmp_path):
    """Imports the single file; configuration, state and tokenizers may be others."""

    def run(config, state=None, tokenizer=published[0]):
        save_file(state or published[2], tmp_path / "xl.safetensors")
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        out = tmp_path / "out"
        return import_model(
            tmp_path / "xl.safetensors", out, tmp_path / "config.yaml", None, print, tokenizer=tokenizer
        )

    return run


@torch.no_grad()
def test_stable_diffusion_xl_in_a_single_file(published, import_file, error):
    model, folder = ldmkit.build(import_file(configuration())), published[1]
    assert float(model.compression.scale[0]) == pytest.approx(0.13025)
    assert model.recipe.schedule.name == folder.recipe.schedule.name
    raw = {"caption": ["a red fox", ""], "size": torch.tensor([[64, 48, 0, 8, 16, 16]] * 2)}
    own, theirs = model.condition(raw), folder.condition(raw)
    for name, part in (("caption", "tokens"), ("caption", "vector"), ("size", "vector")):
        assert error(getattr(own[name], part), getattr(theirs[name], part)) < 2e-5
    z, time = torch.randn(2, 4, 8, 8), torch.tensor([3.0, 700.0])
    assert error(model.denoise(z, time, own), folder.denoise(z, time, theirs)) < 2e-5
    assert error(model.compression.decode(z), folder.compression.decode(z)) < 2e-5


def test_its_tokenizers_are_asked_for(published, import_file, tmp_path):
    for place in (None, published[0] / "tokenizer"):
        with pytest.raises(UserError, match="tokenizer_2"):
            import_file(configuration(), tokenizer=place)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("conditioner.embedders.1.model.text_projection", "missing: model.text_projection"),
        ("conditioner.embedders.1.", "missing"),
        ("conditioner.embedders.0.transformer.text_model.encoder.layers.1.", "layer_idx: 1"),
        ("model.diffusion_model.label_emb.", r"missing: label_emb\.0\.0\.weight"),
    ],
)
def test_a_file_without_one_of_its_parts_is_refused(lacks, message, published, import_file, tmp_path):
    state = {name: x for name, x in published[2].items() if not name.startswith(lacks)}
    with pytest.raises(UserError, match=message) as caught:
        import_file(configuration(), state)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_refiner_is_refused_and_the_way_out_is_named(import_file):
    config = configuration()
    embedders = config["model"]["params"]["conditioner_config"]["params"]["emb_models"]
    del embedders[0]
    embedders[-1]["input_key"] = "aesthetic_score"
    with pytest.raises(UserError, match=r"a refiner, which .*: import the base model") as caught:
        import_file(config)
    assert "\n" not in str(caught.value)


def test_other_embedders_are_refused(import_file):
    config = configuration()
    embedders = config["model"]["params"]["conditioner_config"]["params"]["emb_models"]
    embedders[2], embedders[3] = embedders[3], embedders[2]
    with pytest.raises(UserError, match=r"ConcatTimestepEmbedderND of crop_coords_top_left.*import the pipe"):
        import_file(config)
