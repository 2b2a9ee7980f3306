"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """CLIP networks of open_clip."""
    registry.add(
        "guidance",
        "clip",
        "ldmkit_clip.guidance:ClipGuidance",
        "steers pictures towards a text, by a CLIP network's gradient",
    )
    registry.add(
        "conditioner",
        "clip-text",
        "ldmkit_clip.conditioner:ClipText",
        "the text tower of a CLIP network, frozen",
    )
    registry.add(
        "sampler",
        "latent-edit",
        "ldmkit_clip.edit:latent_edit",
        "a picture moved by guidance alone, without a denoiser",
    )
    registry.add(
        "metric", "clip-score", "ldmkit_clip.metrics:ClipScore", "how near samples are to their captions"
    )
    registry.add(
        "metric",
        "clip-retrieval",
        "ldmkit_clip.metrics:ClipRetrieval",
        "is a sample's own caption its nearest?",
    )
