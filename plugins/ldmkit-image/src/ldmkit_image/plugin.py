"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1

COMPONENTS = (
    ("conditioner", "low-res", "low_res:LowRes", "The low-resolution picture itself, joined to the latent."),
    (
        "conditioner",
        "masked-image",
        "masked:MaskedImage",
        "The masked picture's latent and the mask, joined to the latent.",
    ),
    (
        "conditioner",
        "noised-low-res",
        "noised:NoisedLowRes",
        "The low-resolution picture with noise of a level that the network is told.",
    ),
    (
        "conditioner",
        "size-embedding",
        "sizes:SizeEmbedding",
        "The sizes of a picture before and after it was cut, as a vector.",
    ),
    ("keymap", "diffusers/size-embedding", "keymap:DiffusersSizes", "StableDiffusionXLPipeline."),
    ("keymap", "compvis/low-res", "keymap:CompvisLowRes", "Identity of the published single file."),
    ("keymap", "compvis/masked-image", "keymap:CompvisMaskedImage", "The first stage as conditioner."),
    ("keymap", "diffusers/low-res", "keymap:DiffusersLowRes", "LDMSuperResolutionPipeline."),
    ("keymap", "diffusers/masked-image", "keymap:DiffusersMaskedImage", "StableDiffusionInpaintPipeline."),
    ("data", "with-masks", "mask_data:WithMasks", "Another data set with holes drawn over its pictures."),
    ("data", "with-maps", "map_data:WithMaps", "Another data set with maps of its pictures' colours."),
    ("data", "with-low-res", "low_res_data:WithLowRes", "Another data set with degraded small copies."),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Low-resolution and masked-image concatenation, and data sets that make such conditions."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_image.{target}", summary)
