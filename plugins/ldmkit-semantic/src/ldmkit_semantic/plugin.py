"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1

COMPONENTS = (
    ("conditioner", "spatial-rescaler", "rescaler:SpatialRescaler", "The paper's encoder of semantic maps."),
    (
        "conditioner",
        "smp-encoder",
        "backbone:SmpEncoder",
        "A segmentation-models-pytorch backbone over a semantic map.",
    ),
    (
        "keymap",
        "compvis/spatial-rescaler",
        "keymap:CompvisSpatialRescaler",
        "SpatialRescaler of the published single file.",
    ),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Semantic-map encoders."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_semantic.{target}", summary)
