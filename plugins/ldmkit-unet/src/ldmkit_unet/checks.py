"""What a UNet refuses, and what it tells of: sizes, inputs that it would not see."""

from __future__ import annotations

from warnings import warn

from ldmkit.errors import Note
from ldmkit.types import Latent
from ldmkit_unet.norm import GROUPS


def check_widths(
    width: int, multipliers: tuple[int, ...], heads: int | None, head_channels: int | None
) -> None:
    """ValueError for widths and heads that no UNet has."""
    if width % GROUPS:
        near = max(GROUPS, round(width / GROUPS) * GROUPS)
        raise ValueError(f"width {width} is no multiple of {GROUPS}, the groups of the norms; try {near}")
    if not multipliers:
        raise ValueError("multipliers is empty: give one a level")
    if heads and head_channels:
        raise ValueError(
            "heads and head_channels are both given: give the number of heads or the channels of one"
        )


def note_blindness(width: int, multipliers: tuple[int, ...], scale_shift: bool) -> None:
    """Tells of a network that ignores its inputs; published ones are as narrow, so it is not refused."""
    if not scale_shift and width * max(multipliers) == GROUPS:
        warn(
            "this unet sees neither the timestep nor a vector (a class, for instance): its residual blocks "
            f"have {GROUPS} channels, each a group of its own to their group norm, which takes away what is "
            "added to it; give it width: 64 or scale_shift: true",
            Note,
            stacklevel=3,
        )


def check_size(z: Latent, multiple: int) -> None:
    """ValueError where the latent's sides are no multiples of that number."""
    h, w = z.shape[2:]
    if h % multiple or w % multiple:
        near = "x".join(str(max(side - side % multiple, multiple)) for side in (h, w))
        raise ValueError(f"latent size {h}x{w}: the UNet's levels need multiples of {multiple}, as {near}")
