"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2

COMPONENTS = (
    (
        "compression",
        "autoencoder",
        "autoencoder:AnyAutoencoder",
        "Encoder and decoder around any regulariser.",
    ),
    ("compression", "kl-autoencoder", "kl:KLAutoencoder", "The paper's autoencoder with KL-reg."),
    ("compression", "vq-autoencoder", "vq:VQAutoencoder", "The paper's autoencoder with VQ-reg."),
    ("compression", "identity", "identity:Identity", "Pixels as latents, the paper's baseline."),
    ("regulariser", "gaussian", "gaussian:Gaussian", "KL-reg: a Gaussian posterior near N(0, I)."),
    ("regulariser", "vector-quantizer", "quantizer:VectorQuantizer", "VQ-reg: a codebook."),
    ("loss", "pixel", "losses:Pixel", "l1 or l2 distance of pixels."),
    ("loss", "perceptual", "losses:Perceptual", "Distance of a feature network's normalised maps."),
    ("loss", "lpips", "lpips_loss:LPIPS", "LPIPS, on trunk weights from a local file."),
    ("adversary", "patch-adversarial", "adversary:PatchAdversarial", "A warm-started patch discriminator."),
    ("keymap", "compvis/kl-autoencoder", "compvis:KLKeys", "Single files of the published code."),
    ("keymap", "compvis/identity", "pixels:CompvisIdentity", "Single files of models of pixels."),
    ("keymap", "diffusers/identity", "pixels:DiffusersIdentity", "Pipelines of pixels."),
    ("keymap", "compvis/vq-autoencoder", "compvis:VQKeys", "Single files of the published code."),
    ("keymap", "diffusers/kl-autoencoder", "diffusers:KLKeys", "Folders of diffusers' AutoencoderKL."),
    ("keymap", "diffusers/vq-autoencoder", "diffusers:VQKeys", "Folders of diffusers' VQModel."),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """KL, VQ and identity compression models and their losses."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_autoencoders.{target}", summary)
