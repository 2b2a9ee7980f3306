"""Hugging Face pipelines with random weights, small enough for tests."""

from __future__ import annotations

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import ldmkit
from ldmkit.interchange import import_model

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEADING = {**BETAS, "steps_offset": 1, "timestep_spacing": "leading"}
SCHEDULERS = {
    "DDIM": diffusers.DDIMScheduler(**LEADING, clip_sample=False, set_alpha_to_one=False),
    "PNDM": diffusers.PNDMScheduler(**LEADING, skip_prk_steps=True),
    "DPM++": diffusers.DPMSolverMultistepScheduler(**LEADING),
    "DPM++ Karras": diffusers.DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True),
    "Euler": diffusers.EulerDiscreteScheduler(**LEADING),
    "Heun": diffusers.HeunDiscreteScheduler(**LEADING),
    "UniPC": diffusers.UniPCMultistepScheduler(**LEADING),
    "v": diffusers.DDIMScheduler(**LEADING, clip_sample=False, prediction_type="v_prediction"),
}

PROMPT, NEGATIVE, SCALE = "a red fox", "blurred", 5.0
"""What guided comparisons ask for."""


def tokenizer():
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77), len(vocabulary)


def text_encoder(width=32, heads=2):
    torch.manual_seed(1)
    words, size = tokenizer()
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1, "vocab_size": size}
    sizes = {"num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": 64}
    model = CLIPTextModel(CLIPTextConfig(hidden_size=width, **sizes, **ids)).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return {"text_encoder": model, "tokenizer": words}


def stirred(model):
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def text_encoders(first=32, second=48):
    """Stable Diffusion XL's pair: the second wider, projected, and filled up with another token."""
    first = text_encoder(first, heads=2 if first < 64 else first // 64)
    torch.manual_seed(8)
    size = first["text_encoder"].config.vocab_size
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": 0, "vocab_size": size}
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": second}
    config = CLIPTextConfig(**sizes, **ids, projection_dim=24, hidden_act="gelu")
    words = tokenizer()[0]
    words.pad_token = "z"
    return {**first, "text_encoder_2": stirred(CLIPTextModelWithProjection(config)), "tokenizer_2": words}


def large(kind="StableDiffusionXLPipeline", channels=4, scheduler="Euler", widths=(32, 48), **unet):
    """Stable Diffusion XL: attention of another depth a level, text and sizes as a vector."""
    torch.manual_seed(3)
    types = {"down": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "up": ("CrossAttnUpBlock2D",) * 2}
    network = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        cross_attention_dim=sum(widths), attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, use_linear_projection=True,
        projection_class_embeddings_input_dim=24 + 6 * 8,
        **{f"{way}_block_types": names for way, names in types.items()}, **unet,
    ).eval()  # fmt: skip
    parts = {"vae": autoencoder(scaling_factor=0.13025), "unet": network, **text_encoders(*widths)}
    return quiet(getattr(diffusers, kind)(scheduler=SCHEDULERS[scheduler], **parts, add_watermarker=False))


def autoencoder(levels=2, **more):
    torch.manual_seed(2)
    ways = {"down": "DownEncoderBlock2D", "up": "UpDecoderBlock2D"}
    types = {f"{way}_block_types": (name,) * levels for way, name in ways.items()}
    widths = (32, 64, 64)[:levels]
    return diffusers.AutoencoderKL(block_out_channels=widths, latent_channels=4, **types, **more).eval()


def conditional_unet(channels=4, **more):
    torch.manual_seed(3)
    types = {"down": ("CrossAttnDownBlock2D", "DownBlock2D"), "up": ("UpBlock2D", "CrossAttnUpBlock2D")}
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        cross_attention_dim=32, attention_head_dim=4,
        **{f"{way}_block_types": names for way, names in types.items()}, **more,
    ).eval()  # fmt: skip


def unconditional_unet(channels=3, out=3, size=8, **more):
    torch.manual_seed(4)
    types = {"down": ("DownBlock2D", "AttnDownBlock2D"), "up": ("AttnUpBlock2D", "UpBlock2D")}
    return diffusers.UNet2DModel(
        sample_size=size, in_channels=channels, out_channels=out, block_out_channels=(32, 64),
        layers_per_block=1, attention_head_dim=8,
        **{f"{way}_block_types": names for way, names in types.items()}, **more,
    ).eval()  # fmt: skip


def vq():
    torch.manual_seed(5)
    ways = {"down": "DownEncoderBlock2D", "up": "UpDecoderBlock2D"}
    types = {f"{way}_block_types": (name,) * 2 for way, name in ways.items()}
    sizes = {"block_out_channels": (32, 64), "latent_channels": 3, "num_vq_embeddings": 64}
    return diffusers.VQModel(**sizes, **types, scaling_factor=1.0).eval()


def stable_diffusion(scheduler="DDIM", kind="StableDiffusionPipeline", channels=4, **unet):
    parts = {"vae": autoencoder(), "unet": conditional_unet(channels, **unet), **text_encoder()}
    unused = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return quiet(getattr(diffusers, kind)(scheduler=SCHEDULERS[scheduler], **parts, **unused))


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def dit(**more):
    torch.manual_seed(6)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2, "sample_size": 8}
    model = diffusers.DiTTransformer2DModel(**sizes, in_channels=4, out_channels=8, **more).eval()
    for block in model.transformer_blocks[1:]:  # one embedder for all blocks, as in the published models
        block.norm1.emb.load_state_dict(model.transformer_blocks[0].norm1.emb.state_dict())
    return model


def imported(pipeline, place):
    """The pipeline saved and imported below a folder: the system, and what the import said."""
    pipeline.save_pretrained(place / "pipeline")
    notes = []
    recipe = import_model(place / "pipeline", place / "out", None, None, notes.append)
    return ldmkit.build(recipe), notes


def guided(model, raw, first, **options):
    """Ten steps from what diffusers' network was shown first (where that is x_T itself)."""
    conditions = model.condition(raw)
    null = model.condition({**raw, "caption": [NEGATIVE]}) if "caption" in raw else None
    guidance = [{"name": "classifier-free", "scale": SCALE}] if raw else None
    return model.sample_latent(conditions, noise=first, steps=10, guidance=guidance, null=null, **options)


def unit(pipeline, noise):
    """x_T of unit variance as ldmkit means it: some schedulers scale theirs by sigma alone, and not by the
    root of 1 + sigma^2."""
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(10)
    first = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, scheduler.timesteps[0])
    return first
