"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Low-rank adaptation."""
    registry.add("adapter", "lora", "ldmkit_adapters.lora:Lora", "Low-rank updates of attention, by peft.")
