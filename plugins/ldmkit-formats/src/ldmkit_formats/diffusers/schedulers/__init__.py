"""scheduler_config.json of Hugging Face folders: every entry is taken over, or left aside with a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.errors import UserError, did_you_mean
from ldmkit_formats.diffusers.schedulers.continuous import CONTINUOUS
from ldmkit_formats.diffusers.schedulers.reading import (
    BOOKKEEPING,
    Reading,
    leave_others,
    pass_over_others,
)
from ldmkit_formats.diffusers.schedulers.tables import FAMILIES, read_table


def read_scheduler(config: Mapping[str, Any], out_channels: int, channels: int) -> Reading:
    """The recipe's entries for a scheduler; UserError where no schedule or objective corresponds to it.

    out_channels: the channels of the network's output for a latent of `channels`.
    """
    reading = Reading(config, read=set(BOOKKEEPING))
    if reading.name in {*FAMILIES, *CONTINUOUS}:
        pass_over_others(reading)
    try:
        _read(reading, out_channels == 2 * channels)
    except (ValueError, TypeError, ArithmeticError) as error:  # foreign values of any type
        raise UserError(f"scheduler '{reading.name}': an entry has no sensible value ({error})") from error
    leave_others(reading)
    return reading


def _read(reading: Reading, learned: bool) -> None:
    continuous = reading.name in CONTINUOUS or reading.get("use_flow_sigmas", False)
    if learned and continuous:
        raise UserError(
            f"scheduler '{reading.name}' of continuous time has no place for the variance that the network "
            "puts out beside its estimate"
        )
    if reading.name in CONTINUOUS:
        CONTINUOUS[reading.name](reading)
    elif reading.name in FAMILIES:
        read_table(reading, learned)
    else:
        known = [*FAMILIES, *CONTINUOUS]
        raise UserError(
            f"scheduler '{reading.name}' has no counterpart here: {', '.join(known)}"
            f"{did_you_mean(reading.name, known)}; put one of them into the scheduler folder"
        )
