"""Published configurations, read strictly: an unknown key is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ldmkit.keymaps import defaults_of, refuse
from ldmkit_autoencoders.autoencoder import Autoencoder, choose_multipliers
from ldmkit_autoencoders.network import Topology

DECODER = ("decoder_width", "decoder_multipliers", "decoder_blocks")
"""Parameters of a decoder that is not the encoder's mirror."""


class PublishedConfig(BaseModel):
    """A published configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Config = TypeVar("Config", bound=PublishedConfig)


def read(model: type[Config], config: Mapping[str, Any]) -> Config:
    """The configuration, checked; ValueError names each key that is missing, unknown or out of range."""
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        refuse(*(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
        raise


def complete(component: type[Autoencoder], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe parameters with the component's defaults filled in."""
    return {**defaults_of(component), **parameters}


def topology_of(p: Mapping[str, Any], table: Mapping[int, tuple[int, ...]]) -> Topology:
    """The topology of complete recipe parameters; ValueError where no format can hold it."""
    if p["patch"] != 1:
        raise ValueError("patch is ldmkit's own extension: no published format can hold a patch above 1")
    changed = [name for name in DECODER if p[name] is not None]
    if changed:
        raise ValueError(f"{', '.join(changed)}: no published format can hold a decoder of other widths")
    multipliers = None if p["multipliers"] is None else tuple(p["multipliers"])
    return Topology(
        p["width"],
        choose_multipliers(p["factor"], 1, multipliers, table),
        p["blocks"],
        tuple(p["attention"]),
        p["resolution"],
        p["middle_attention"],
        p["dropout"],
        1,
    )
