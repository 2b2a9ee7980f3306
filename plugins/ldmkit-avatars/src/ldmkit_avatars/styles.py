"""The descriptions of the styles (styles.yaml), and the styles with their licences."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from dicebear import Style
from pydantic import BaseModel, ConfigDict

LICENCES = ("CC0 1.0", "CC BY 4.0")
"""The only licences that a style may have; CC BY 4.0 asks for the credit that NOTICE gives."""
Words = tuple[str, str]
"""English, Korean."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(_Frozen):
    """One attribute of a caption: the variant of a part, a named colour, or both.

    part: the part whose variant counts; by default the attribute's own name. colours: the style's named
    colours that may stand before the words; the first one in which the variant is painted counts. tone:
    whether the colour is named as a skin tone. after: the word that follows a colour alone.
    """

    part: str | None = None
    colours: tuple[str, ...] = ()
    words: Mapping[str, Words] = {}
    tone: bool = False
    after: Words = ("", "")


class Knowledge(_Frozen):
    """What styles.yaml says of one style; the head of that file describes the keys."""

    name: Words
    base: str
    parts: Mapping[str, str]
    variants: Mapping[str, Mapping[str, str]] = {}
    colours: Mapping[str, str] = {}
    unseen: tuple[str, str]
    attributes: Mapping[str, Attribute]


class ColourWord(_Frozen):
    """A colour's Korean word, and examples of the colour."""

    ko: str
    like: tuple[str, ...]


class Table(_Frozen):
    """The content of styles.yaml."""

    classes: tuple[str, ...]
    colours: Mapping[str, ColourWord]
    styles: Mapping[str, Knowledge]


@cache
def text() -> str:
    """The text of styles.yaml."""
    return files("ldmkit_avatars").joinpath("styles.yaml").read_text(encoding="utf-8")


@cache
def table() -> Table:
    """The content of styles.yaml, validated."""
    return Table.model_validate(yaml.safe_load(text()))


CLASSES: tuple[str, ...] = table().classes
"""Names of the classes of all semantic maps and boxes, by id."""


@cache
def definition(name: str) -> Mapping[str, Any]:
    """A style's definition. Raises ValueError for one that does not exist or has no open licence."""
    source = files("dicebear_styles").joinpath(f"{name}.json")
    if not name.replace("-", "").isalnum() or not source.is_file():
        raise ValueError(f"unknown style '{name}'; there are {', '.join(table().styles)}")
    loaded: Mapping[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    licence = loaded["meta"]["license"]["name"]
    if licence not in LICENCES:
        raise ValueError(
            f"style '{name}' is not under {' or '.join(LICENCES)} ('{licence}'): it cannot be used; "
            f"there are {', '.join(table().styles)}"
        )
    return loaded


def knowledge(name: str) -> Knowledge:
    """What is known of a style. Raises ValueError for one that styles.yaml does not describe."""
    definition(name)
    if name not in table().styles:
        raise ValueError(
            f"style '{name}' has no table of parts and words; there are {', '.join(table().styles)}"
        )
    return table().styles[name]


@cache
def painted_in(name: str, part: str, variant: str) -> frozenset[str]:
    """The named colours in which a variant of a part is painted."""
    drawn = json.dumps(definition(name)["components"][part]["variants"][variant])
    return frozenset(re.findall(r'"type": "color", "name": "(\w+)"', drawn))


@cache
def style(name: str) -> Style:
    """The style, ready to draw from."""
    return Style(dict(definition(name)))
