"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Semantic-map encoders."""
    registry.add(
        "conditioner",
        "spatial-rescaler",
        "ldmkit_semantic.rescaler:SpatialRescaler",
        "The paper's encoder of semantic maps.",
    )
    registry.add(
        "conditioner",
        "smp-encoder",
        "ldmkit_semantic.backbone:SmpEncoder",
        "A segmentation-models-pytorch backbone over a semantic map.",
    )
    registry.add(
        "keymap",
        "compvis/spatial-rescaler",
        "ldmkit_semantic.keymap:CompvisSpatialRescaler",
        "SpatialRescaler of the published single file.",
    )
