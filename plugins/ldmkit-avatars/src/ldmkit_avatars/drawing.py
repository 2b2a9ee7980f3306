"""Draws an avatar from a seed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import resvg_py
from dicebear import Avatar
from PIL import Image

from ldmkit_avatars.styles import definition, style


@dataclass(frozen=True)
class Choice:
    """What a seed has drawn: the variant of each part (parts that are left out are missing) and each named
    colour."""

    variants: Mapping[str, str]
    colours: Mapping[str, str]


def choose(name: str, seed: str) -> tuple[Choice, str]:
    """The choices of a seed in a style, and the avatar as SVG."""
    avatar = Avatar(style(name), {"seed": seed}).to_json()
    options: Mapping[str, Any] = avatar["options"]
    parts = definition(name)["components"]
    variants = {part: options[f"{part}Variant"] for part in parts if options.get(f"{part}Variant")}
    colours = {
        key.removesuffix("Color"): values[0]
        for key, values in options.items()
        if key.endswith("Color") and values
    }
    return Choice(variants, colours), avatar["svg"]


def render(svg: str, size: int, background: str = "white") -> Image.Image:
    """The SVG drawn on a background colour, `size` x `size` pixels."""
    encoded = resvg_py.svg_to_bytes(
        svg_string=svg, background=background, width=size, height=size, skip_system_fonts=True
    )
    return Image.open(io.BytesIO(encoded)).convert("RGB")
