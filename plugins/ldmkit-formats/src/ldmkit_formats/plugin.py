"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The two formats in which latent diffusion models are published."""
    registry.add(
        "format",
        "compvis",
        "ldmkit_formats.compvis.single_file:SingleFile",
        "The paper's single file with its YAML configuration.",
    )
    registry.add(
        "format",
        "diffusers",
        "ldmkit_formats.diffusers.folder:Folder",
        "A Hugging Face folder: a pipeline, or a first stage by itself.",
    )
