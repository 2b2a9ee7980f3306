"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2

COMPONENTS = (
    ("optimizer", "adamw", "optimizers:AdamW", "AdamW, as without any optimizer in the recipe."),
    ("optimizer", "muon", "optimizers:Muon", "Muon for matrices and kernels, AdamW for the rest."),
    ("auxiliary", "alignment", "alignment:Alignment", "Aligns a layer with a frozen feature network (REPA)."),
    ("callback", "csv", "csv_file:Csv", "Figures as a CSV file in the run's folder."),
    ("callback", "tensorboard", "tensorboard:TensorBoard", "Figures and pictures for TensorBoard."),
    ("callback", "trackio", "trackio_run:Trackio", "Figures and pictures for trackio, kept on this machine."),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Optimisers, auxiliary losses and callbacks."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_training.{target}", summary)
