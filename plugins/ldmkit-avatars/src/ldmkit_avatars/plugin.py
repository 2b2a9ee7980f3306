"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Data sets of any number of pictures."""
    registry.add(
        "data",
        "avatars",
        "ldmkit_avatars.dataset:Avatars",
        "Avatars drawn from a seed, with captions, classes, attributes, semantic maps and boxes.",
    )
    registry.add(
        "data",
        "landscapes",
        "ldmkit_avatars.dataset:Landscapes",
        "Hilly landscapes drawn from a seed, with captions, attributes, semantic maps and boxes.",
    )
