"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Low-resolution and masked-image concatenation, and data sets that make such conditions."""
    registry.add(
        "conditioner",
        "low-res",
        "ldmkit_image.low_res:LowRes",
        "The low-resolution picture itself, joined to the latent.",
    )
    registry.add(
        "conditioner",
        "masked-image",
        "ldmkit_image.masked:MaskedImage",
        "The masked picture's latent and the mask, joined to the latent.",
    )
    registry.add(
        "conditioner",
        "noised-low-res",
        "ldmkit_image.noised:NoisedLowRes",
        "The low-resolution picture with noise of a level that the network is told.",
    )
    registry.add(
        "conditioner",
        "size-embedding",
        "ldmkit_image.sizes:SizeEmbedding",
        "The sizes of a picture before and after it was cut, as a vector.",
    )
    registry.add(
        "keymap",
        "diffusers/size-embedding",
        "ldmkit_image.keymap:DiffusersSizes",
        "StableDiffusionXLPipeline.",
    )
    registry.add(
        "keymap",
        "compvis/low-res",
        "ldmkit_image.keymap:CompvisLowRes",
        "Identity of the published single file.",
    )
    registry.add(
        "keymap",
        "compvis/masked-image",
        "ldmkit_image.keymap:CompvisMaskedImage",
        "The first stage as conditioner.",
    )
    registry.add(
        "keymap", "diffusers/low-res", "ldmkit_image.keymap:DiffusersLowRes", "LDMSuperResolutionPipeline."
    )
    registry.add(
        "keymap",
        "diffusers/masked-image",
        "ldmkit_image.keymap:DiffusersMaskedImage",
        "StableDiffusionInpaintPipeline.",
    )
    registry.add(
        "data",
        "with-masks",
        "ldmkit_image.mask_data:WithMasks",
        "Another data set with holes drawn over its pictures.",
    )
    registry.add(
        "data",
        "with-maps",
        "ldmkit_image.map_data:WithMaps",
        "Another data set with maps of its pictures' colours.",
    )
    registry.add(
        "data",
        "with-low-res",
        "ldmkit_image.low_res_data:WithLowRes",
        "Another data set with degraded small copies.",
    )
