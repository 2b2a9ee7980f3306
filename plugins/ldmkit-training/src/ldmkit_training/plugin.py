"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Optimizers, auxiliary losses and callbacks."""
    registry.add(
        "optimizer",
        "adamw",
        "ldmkit_training.optimizers:AdamW",
        "AdamW, as without any optimizer in the recipe.",
    )
    registry.add(
        "optimizer",
        "muon",
        "ldmkit_training.optimizers:Muon",
        "Muon for matrices and kernels, AdamW for the rest.",
    )
    registry.add(
        "auxiliary",
        "alignment",
        "ldmkit_training.alignment:Alignment",
        "Aligns a layer with a frozen feature network (REPA).",
    )
    registry.add(
        "callback", "csv", "ldmkit_training.csv_file:Csv", "Figures as a CSV file in the run's folder."
    )
    registry.add(
        "callback",
        "tensorboard",
        "ldmkit_training.tensorboard:TensorBoard",
        "Figures and pictures for TensorBoard.",
    )
    registry.add(
        "callback",
        "trackio",
        "ldmkit_training.trackio_run:Trackio",
        "Figures and pictures for trackio, kept on this machine.",
    )
    registry.add(
        "callback",
        "wandb",
        "ldmkit_training.wandb_run:Wandb",
        "Figures and pictures for Weights & Biases, offline in the run's folder.",
    )
