"""What this distribution registers; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from ldmkit.registry import Registrar

LDMKIT_API = 1

COMPONENTS = (
    ("compression", "autoencoder", "autoencoder:Autoencoder", "Encoder and decoder around any regulariser."),
    ("compression", "kl-autoencoder", "kl:KLAutoencoder", "The paper's autoencoder with KL-reg."),
    ("regulariser", "gaussian", "gaussian:Gaussian", "KL-reg: a Gaussian posterior near N(0, I)."),
    ("loss", "pixel", "losses:Pixel", "l1 or l2 distance of pixels."),
    ("loss", "perceptual", "losses:Perceptual", "Distance of a feature network's normalised maps."),
    (
        "adversary",
        "patch-adversarial",
        "adversary:PatchAdversarial",
        "A discriminator of patches, warm-started.",
    ),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """KL, VQ and identity compression models and their losses."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_autoencoders.{target}", summary)
