"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """KL, VQ and identity compression models and their losses."""
    registry.add(
        "compression",
        "autoencoder",
        "ldmkit_autoencoders.autoencoder:AnyAutoencoder",
        "Encoder and decoder around any regulariser.",
    )
    registry.add(
        "compression",
        "kl-autoencoder",
        "ldmkit_autoencoders.kl:KLAutoencoder",
        "The paper's autoencoder with KL-reg.",
    )
    registry.add(
        "compression",
        "vq-autoencoder",
        "ldmkit_autoencoders.vq:VQAutoencoder",
        "The paper's autoencoder with VQ-reg.",
    )
    registry.add(
        "compression",
        "identity",
        "ldmkit_autoencoders.identity:Identity",
        "Pixels as latents, the paper's baseline.",
    )
    registry.add(
        "regulariser",
        "gaussian",
        "ldmkit_autoencoders.gaussian:Gaussian",
        "KL-reg: a Gaussian posterior near N(0, I).",
    )
    registry.add(
        "regulariser",
        "vector-quantizer",
        "ldmkit_autoencoders.quantizer:VectorQuantizer",
        "VQ-reg: a codebook.",
    )
    registry.add("loss", "pixel", "ldmkit_autoencoders.losses:Pixel", "The l1 or l2 distance of pixels.")
    registry.add(
        "loss",
        "perceptual",
        "ldmkit_autoencoders.losses:Perceptual",
        "Distance of a feature network's normalized maps.",
    )
    registry.add(
        "loss", "lpips", "ldmkit_autoencoders.lpips_loss:LPIPS", "LPIPS, on trunk weights from a local file."
    )
    registry.add(
        "adversary",
        "patch-adversarial",
        "ldmkit_autoencoders.adversary:PatchAdversarial",
        "A warm-started patch discriminator.",
    )
    registry.add(
        "keymap",
        "compvis/kl-autoencoder",
        "ldmkit_autoencoders.compvis:KLKeys",
        "Single files of the published code.",
    )
    registry.add(
        "keymap",
        "compvis/identity",
        "ldmkit_autoencoders.pixels:CompvisIdentity",
        "Single files of models of pixels.",
    )
    registry.add(
        "keymap", "diffusers/identity", "ldmkit_autoencoders.pixels:DiffusersIdentity", "Pipelines of pixels."
    )
    registry.add(
        "keymap",
        "compvis/vq-autoencoder",
        "ldmkit_autoencoders.compvis:VQKeys",
        "Single files of the published code.",
    )
    registry.add(
        "keymap",
        "diffusers/kl-autoencoder",
        "ldmkit_autoencoders.diffusers:KLKeys",
        "Folders of diffusers' AutoencoderKL.",
    )
    registry.add(
        "keymap",
        "diffusers/vq-autoencoder",
        "ldmkit_autoencoders.diffusers:VQKeys",
        "Folders of diffusers' VQModel.",
    )
