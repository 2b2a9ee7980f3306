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
        "Steers pictures towards a text, by a CLIP network's gradient.",
    )
    registry.add(
        "conditioner",
        "clip-text",
        "ldmkit_clip.conditioner:ClipText",
        "The text tower of a CLIP network, frozen.",
    )
    registry.add(
        "sampler",
        "latent-edit",
        "ldmkit_clip.edit:latent_edit",
        "A picture moved by guidance alone, without a denoiser.",
    )
    registry.add(
        "metric", "clip-score", "ldmkit_clip.metrics:ClipScore", "How near samples are to their captions."
    )
    registry.add(
        "metric",
        "clip-retrieval",
        "ldmkit_clip.metrics:ClipRetrieval",
        "Is a sample's own caption its nearest?",
    )
