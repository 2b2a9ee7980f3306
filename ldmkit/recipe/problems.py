"""The mistakes of a recipe, one line each: place, path, component, message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from ldmkit.errors import UserError, did_you_mean
from ldmkit.recipe.sources import Place, Source

MAX_SHOWN = 40
"""Mistakes that are told at once; finding names near 10,000 wrong ones would take its time."""
YAML_WORDS = {
    **dict.fromkeys(("tuple_type", "list_type"), "should be a list"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type"), "should be a mapping of keys to values"),
}
"""Words of YAML for pydantic's names of Python's types."""
NAMES = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "should be letters from A to Z, digits, '.', '_' and '-'",
    r"^[A-Za-z][A-Za-z0-9_]*$": "should be letters from A to Z, digits and '_', a letter first",
}
"""What a text should be, in words, by the pattern of names."""


@dataclass(frozen=True)
class Problem:
    """One mistake. `path` is where it is, `key` whether the key itself is wrong; `component` names whose;
    `about` is the path to show where it is not `path` (a wrong key's: the mapping around it)."""

    path: Place
    message: str
    key: bool = False
    component: str = ""
    about: Place | None = None

    def line(self, source: Source) -> str:
        """`file:line:column: path (component): message`."""
        shown = self.path[:-1] if self.key else self.path
        about = ".".join(map(str, shown if self.about is None else self.about))
        about = f"{about} ({self.component})" if self.component else about
        return ": ".join(
            part for part in (source.where(self.path, key=self.key), about, self.message) if part
        )


def refuse(problems: Iterable[Problem], source: Source) -> None:
    """Raises one UserError with a line for each problem (MAX_SHOWN at most), if there is any."""
    first = list(islice(problems, MAX_SHOWN + 1))
    lines = dict.fromkeys(problem.line(source) for problem in first[:MAX_SHOWN])
    if len(first) > MAX_SHOWN:
        lines[f"{source.label}: and more mistakes, which are not shown"] = None
    if lines:
        raise UserError("\n".join(lines))


def problems_of(
    error: ValidationError,
    values: Any,
    path: Place,
    valid: Mapping[Place, Sequence[str]],
    component: str = "",
) -> list[Problem]:
    """The mistakes that a validation found. valid: the keys that a mapping may have, by its path in
    `values`."""
    messages: dict[tuple[Place, bool], list[str]] = {}
    for one in error.errors(include_url=False)[: MAX_SHOWN + 1]:
        inside = _path_in(values, one["loc"], missing=one["type"] == "missing")
        key = one["type"] == "extra_forbidden"
        message = _message(one, inside, valid)
        lines = messages.setdefault((path + (inside[:-1] if one["type"] == "missing" else inside), key), [])
        lines.append(message)
    return [
        Problem(place, message, key, component)
        for (place, key), lines in messages.items()
        for message in _joined(lines)
    ]


def _joined(messages: list[str]) -> list[str]:
    """The messages of a union's members about one value as one sentence; other messages stay apart."""
    unmet = [m for m in messages if m.startswith("should be")]
    if len(unmet) < 2:
        return messages
    first, *others = (m.rpartition(", not ")[0] for m in unmet)
    sentence = first + "".join(" or" + m.removeprefix("should be") for m in others)
    return [m for m in messages if m not in unmet] + [f"{sentence}, not {unmet[0].rpartition(', not ')[2]}"]


def _path_in(values: Any, loc: Sequence[str | int], *, missing: bool) -> Place:
    """pydantic's location without the names of types and union members that it mixes in."""
    path: Place = ()
    for i, part in enumerate(loc):
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, Sequence) and not isinstance(values, str) and isinstance(part, int):
            values = values[part] if part < len(values) else None
        elif not (missing and i == len(loc) - 1):
            continue
        path = (*path, part)
    return path


def _message(one: Any, inside: Place, valid: Mapping[Place, Sequence[str]]) -> str:
    if one["type"] == "missing":
        return f"'{inside[-1]}' is missing"
    if one["type"] == "extra_forbidden":
        known = valid.get(inside[:-1], ())
        near = did_you_mean(str(inside[-1]), known)
        return f"unknown key '{inside[-1]}'{near or _choice(known)}"
    if one["type"] == "string_pattern_mismatch":
        return f"{_pattern(one['ctx']['pattern'])}, not {_short(one['input'])}"
    sentence = YAML_WORDS.get(one["type"]) or one["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{sentence[:1].lower()}{sentence[1:]}, not {_short(one['input'])}"


def _pattern(pattern: str) -> str:
    """What a text should be like, in words, by its regular expression."""
    digits = re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}\$", pattern)
    if digits is None:
        return NAMES.get(pattern, f"should match {pattern}")
    what = {"40": " (of a commit: a branch could change)", "64": " (a sha256)"}.get(digits[1], "")
    return f"should be {digits[1]} digits from 0 to f{what}"


def _choice(known: Sequence[str]) -> str:
    return f"; there are: {', '.join(known)}" if known else "; there are none"


def _short(value: Any) -> str:
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
