"""The layout of a Hugging Face folder."""

from __future__ import annotations

STYLE = "diffusers"
INDEX = "model_index.json"
STEM, TEXT_STEM = "diffusion_pytorch_model", "model"
"""How files of weights are called, of diffusers' own classes and of transformers'."""
FIRST_STAGES = ("vae", "vqvae")
DENOISERS = ("unet", "transformer")
TEXTS = ("bert", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
UNUSED = {"safety_checker", "feature_extractor", "image_encoder", "watermarker"}
"""Parts of published pipelines that make no picture."""
SCALING = 0.18215
"""The scaling_factor of both first stages where their configuration is silent."""
