"""What this distribution registers; imports no torch."""

from __future__ import annotations

from pathlib import Path

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1
WEIGHTS = Path(__file__).parent / "weights"
"""A folder a recipe, written by scripts/ship.py: recipe.yaml, its stages' files, and their checksums."""


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Each folder, under the recipe's name."""
    for folder in sorted(path for path in WEIGHTS.iterdir() if path.is_dir()):
        summary = f"Weights that were trained with recipes/{folder.name}.yaml."
        registry.add("weights", folder.name, f"ldmkit_zoo/weights/{folder.name}", summary)
