"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1

COMPONENTS = [
    (
        "guidance",
        "clip",
        "guidance:ClipGuidance",
        "steers pictures towards a text, by a CLIP network's gradient",
    ),
    ("conditioner", "clip-text", "conditioner:ClipText", "the text tower of a CLIP network, frozen"),
    ("sampler", "latent-edit", "edit:latent_edit", "a picture moved by guidance alone, without a denoiser"),
    ("metric", "clip-score", "metrics:ClipScore", "how near samples are to their captions"),
    ("metric", "clip-retrieval", "metrics:ClipRetrieval", "is a sample's own caption its nearest?"),
]


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """CLIP networks of open_clip."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_clip.{target}", summary)
