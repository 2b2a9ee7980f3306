"""The small recipes that tests begin with: `{**PIXELS, "name": "mine", ...}` states what differs."""

from __future__ import annotations

from typing import Any

UNET: dict[str, Any] = {
    "name": "unet",
    "width": 32,
    "multipliers": [1],
    "scale_shift": True,
    "blocks": 1,
    "attention": [],
}
AUTOENCODER: dict[str, Any] = {
    "name": "kl-autoencoder",
    "factor": 4,
    "channels": 4,
    "width": 32,
    "multipliers": [1, 1, 1],
    "blocks": 1,
}
PIXELS: dict[str, Any] = {"recipe": 1, "compression": {"name": "identity"}, "denoiser": UNET}
"""Diffusion of pixels; the recipe lacks a name."""
LATENTS: dict[str, Any] = {**PIXELS, "compression": AUTOENCODER}
"""Diffusion of the latents of a small autoencoder."""
