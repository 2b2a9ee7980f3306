"""The latent's scale and shift in formats that hold one figure of each, or no shift."""

from __future__ import annotations

from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interchange.model import Tensors, key_map, save_part, slot_of


def first_stage_of(system: System, format: str, *, shift: bool = False) -> tuple[Tensors, float, float]:
    """The first stage's published tensors, its one scale and, where the format holds a `shift`, that.

    A scale and a shift for each channel become part of the weights where the key map can fold them in: it
    then has a method fold(tensors, scale, shift). The scale is 1 then. UserError where it cannot.
    """
    tensors, name = save_part(system, "compression", format), slot_of(system, "compression").name
    scale, moved = system.compression.scale, system.compression.shift
    alike = bool((scale == scale[0]).all() and (moved == moved[0]).all())
    if alike and (shift or float(moved[0]) == 0):
        return tensors, float(scale[0]), float(moved[0])
    fold = getattr(key_map(system.registry, format, name), "fold", None)
    if fold is None:
        raise UserError(
            f"compression ({name}): the latent is scaled and shifted by channel, and cannot be held in the "
            f"{format} format: one scale and no shift"
        )
    return fold(tensors, scale, moved), 1.0, 0.0
