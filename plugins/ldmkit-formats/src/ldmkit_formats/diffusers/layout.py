"""The layout of a Hugging Face folder."""

from __future__ import annotations

FORMAT = "diffusers"
INDEX = "model_index.json"
VERSION = "0.42.0"
"""Of diffusers, whose layout is written; its pipelines of inpainting cannot be loaded without one."""
STEM, TEXT_STEM = "diffusion_pytorch_model", "model"
"""How files of weights are called, of diffusers' own classes and of transformers'."""
FIRST_STAGES = ("vae", "vqvae")
DENOISERS = ("unet", "transformer")
TEXTS = ("bert", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
UNUSED = {"safety_checker", "feature_extractor", "image_encoder", "watermarker"}
"""Parts of published pipelines that do not affect the pictures."""
PIPELINES = {
    *("LDMPipeline", "LDMSuperResolutionPipeline", "LDMTextToImagePipeline", "DDIMPipeline", "DDPMPipeline"),
    *("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    *("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    *("StableDiffusionUpscalePipeline", "DiTPipeline"),
}
"""The pipelines that a recipe makes of their parts; another one may join the same parts differently."""
GUIDANCE = {
    **dict.fromkeys(("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"), 7.5),
    **dict.fromkeys(("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"), 5.0),
    **dict.fromkeys(("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"), 7.5),
    "StableDiffusionUpscalePipeline": 9.0,
    "DiTPipeline": 4.0,
    "LDMTextToImagePipeline": 1.0,
}
"""The scale of classifier-free guidance by which a pipeline draws unless told another (diffusers 0.42)."""
SETTINGS = {"requires_safety_checker", "requires_aesthetics_score", "force_zeros_for_empty_prompt"}
"""Entries of an index besides the parts, which import uses or may ignore."""
SCALING = 0.18215
"""The scaling_factor of both first stages where their configuration has none."""
