"""Stable Diffusion's single files at reduced width: configurations, tensors, text encoders."""

from __future__ import annotations

import copy

import open_clip
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ldmkit.engine.system import assemble
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve

WIDTH = 64
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32,
    "attention_resolutions": [2, 1], "num_res_blocks": 1, "channel_mult": [1, 2], "num_heads": 4,
    "use_spatial_transformer": True, "transformer_depth": 1, "context_dim": WIDTH, "use_checkpoint": True,
    "legacy": False,
}  # fmt: skip
SECOND = {"use_fp16": True, "num_head_channels": 32, "use_linear_in_transformer": True}
DDCONFIG = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32,
    "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
FIRST_STAGE = {
    "target": "ldm.models.autoencoder.AutoencoderKL",
    "params": {
        "embed_dim": 4,
        "monitor": "val/rec_loss",
        "ddconfig": DDCONFIG,
        "lossconfig": {"target": "torch.nn.Identity"},
    },
}
PARAMS = {
    "linear_start": 0.00085, "linear_end": 0.0120, "num_timesteps_cond": 1, "log_every_t": 200,
    "timesteps": 1000, "first_stage_key": "jpg", "cond_stage_key": "txt", "image_size": 8, "channels": 4,
    "cond_stage_trainable": False, "conditioning_key": "crossattn", "monitor": "val/loss_simple_ema",
    "scale_factor": 0.18215, "use_ema": False,
    "scheduler_config": {"target": "ldm.lr_scheduler.LambdaLinearScheduler", "params": {}},
    "first_stage_config": FIRST_STAGE,
}  # fmt: skip
TARGET = "ldm.modules.diffusionmodules.openaimodel.UNetModel"
ENCODERS = "ldm.modules.encoders.modules"


def configuration(kind):
    """The published configuration of a model: "1", "2" or "inpainting"."""
    params = copy.deepcopy(PARAMS)
    unet, target = dict(UNET), "ldm.models.diffusion.ddpm.LatentDiffusion"
    encoder = {"target": f"{ENCODERS}.FrozenCLIPEmbedder"}
    if kind == "upscaler":
        unet |= {"in_channels": 7, "num_classes": 1000, "disable_self_attentions": [True, False]}
        unet |= {"use_linear_in_transformer": True, "disable_middle_self_attn": False}
        noise = {"linear_start": 0.0001, "linear_end": 0.02}
        target = "ldm.models.diffusion.ddpm.LatentUpscaleDiffusion"
        params |= {
            "parameterization": "v",
            "conditioning_key": "hybrid-adm",
            "low_scale_key": "lr",
            "low_scale_config": {
                "target": "ldm.modules.diffusionmodules.upscaling.ImageConcatWithNoiseAugmentation",
                "params": {"noise_schedule_config": noise, "max_noise_level": 350},
            },
        }
    if kind in ("2", "upscaler"):
        encoder = {
            "target": f"{ENCODERS}.FrozenOpenCLIPEmbedder",
            "params": {"freeze": True, "layer": "penultimate"},
        }
    if kind == "2":
        del unet["num_heads"]
        unet |= SECOND
        params["parameterization"] = "v"
    if kind == "inpainting":
        unet["in_channels"] = 9
        params |= {"conditioning_key": "hybrid", "finetune_keys": None}
        target = "ldm.models.diffusion.ddpm.LatentInpaintDiffusion"
    params |= {"unet_config": {"target": TARGET, "params": unet}, "cond_stage_config": encoder}
    return {"model": {"base_learning_rate": 1e-4, "target": target, "params": params}}


def tokenizer(place):
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(place)
    return place, len(vocabulary)


def stirred(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return module.eval()


def clip(size):
    """OpenAI's kind of encoder, as FrozenCLIPEmbedder holds it: (tensors of the file, states of ids)."""
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    sizes = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
    model = stirred(CLIPTextModel(CLIPTextConfig(vocab_size=size, **sizes, **ids)))
    tensors = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    own = {f"cond_stage_model.transformer.text_model.{k}": v for k, v in tensors.items()}
    own["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return own, lambda tokens: model(tokens).last_hidden_state


def penultimate(size):
    """open_clip's encoder, as FrozenOpenCLIPEmbedder holds it: states before the last block, normalized."""
    made = open_clip.transformer.TextTransformer(
        context_length=77, vocab_size=size, width=WIDTH, heads=1, layers=3, output_dim=32
    )
    model = stirred(made)
    own = {f"cond_stage_model.model.{k}": v for k, v in model.state_dict().items()}
    own["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)

    def states(tokens):
        x = model.token_embedding(tokens) + model.positional_embedding
        for block in model.transformer.resblocks[:-1]:
            x = block(x, attn_mask=model.attn_mask)
        return model.ln_final(x)

    return own, states


ALPHA_BAR = float((1 - torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2).prod())
"""Of the last of an upscaler's 1000 noise levels."""


def backbone(kind):
    """Random tensors of UNet and first stage, under published names, out of ldmkit's own export of such a
    model without text encoder: their names are held against the published ones elsewhere."""
    sizes = {"width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2, 1], "heads": 4}
    sizes |= {"cross_only": [1]} if kind == "upscaler" else {}
    first = {"factor": 2, "channels": 4, "width": 32, "multipliers": [1, 2], "blocks": 1}
    conditioners = {"caption": {"name": "text-transformer", "width": WIDTH, "layers": 1}}
    recipe = {
        "recipe": 1,
        "name": "toy",
        "compression": {"name": "kl-autoencoder", **first},
        "conditioners": conditioners,
        "denoiser": {"name": "unet", **sizes},
    }
    registry = host().registry
    system = stirred(assemble(resolve(load(recipe), registry), registry))
    from ldmkit.interchange.model import save_part

    unet = save_part(system, "denoiser", "compvis")
    name = "input_blocks.0.0.weight"
    more = {"inpainting": 9, "upscaler": 7}.get(kind)
    unet[name] = torch.randn(32, more, 3, 3) * 0.1 if more else unet[name]
    if kind == "upscaler":
        unet["label_emb.weight"] = torch.randn(1000, 128) * 0.1
    if kind in ("2", "upscaler"):  # linear layers in the place of 1x1 convolutions
        unet = {
            k: x.flatten(1) if "proj_in.weight" in k or "proj_out.weight" in k else x for k, x in unet.items()
        }
    first = save_part(system, "compression", "compvis")
    own = {f"model.diffusion_model.{k}": x for k, x in unet.items()}
    return own | {f"first_stage_model.{k}": x for k, x in first.items()}


def engine(config, parameterization):
    """The same model as sgm configures it."""
    old = config["model"]["params"]
    drop = {"use_spatial_transformer", "legacy", "image_size", "use_fp16"}
    unet = {key: value for key, value in old["unet_config"]["params"].items() if key not in drop}
    embedder = {"is_trainable": False, "input_key": "txt", **old["cond_stage_config"]}
    first = {"target": "sgm.models.autoencoder.AutoencoderKL", "params": FIRST_STAGE["params"]}
    scaling = "VScaling" if parameterization == "v" else "EpsScaling"
    denoiser = {
        "num_idx": 1000,
        "scaling_config": {"target": f"sgm.modules.diffusionmodules.denoiser_scaling.{scaling}"},
        "discretization_config": {
            "target": "sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization"
        },
    }
    params = {
        "scale_factor": 0.18215,
        "disable_first_stage_autocast": True,
        "denoiser_config": {
            "target": "sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser",
            "params": denoiser,
        },
        "network_config": {"target": TARGET.replace("ldm", "sgm"), "params": unet},
        "conditioner_config": {
            "target": "sgm.modules.GeneralConditioner",
            "params": {"emb_models": [embedder]},
        },
        "first_stage_config": first,
        "sampler_config": {"target": "sgm.modules.diffusionmodules.sampling.EulerEDMSampler"},
    }
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params}}
