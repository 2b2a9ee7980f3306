"""What a picture's file says of its inputs, and the inputs read back from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldmkit.checkpoint.sums import sha256
from ldmkit.engine.parts import Parts
from ldmkit.engine.requests import Inputs, inputs_of, is_picture_file
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.pictures.inputs import content, plain
from ldmkit.verbs import examples

About = Mapping[str, str]
_UNREADABLE = object()


def of(system: Parts, inputs: Inputs, i: int, example: int | None) -> dict[str, str]:
    """The inputs of picture i, as texts: the prompt, other fields and a starting picture as JSON.

    Files are named by path and sha256; a text is never taken for one. example: the place in the validation
    split of the data whose fields were taken.
    """
    about: dict[str, str] = {}
    own, texts = {f: values[i] for f, values in inputs.raw.items()}, system.text_fields
    if isinstance(own.get(system.prompt_field), str):
        about["prompt"] = own.pop(system.prompt_field)
    fields = {f: v if f in texts and isinstance(v, str) else _record(v, example) for f, v in own.items()}
    if fields:
        about["inputs"] = json.dumps(fields, ensure_ascii=False)
    if len(inputs.init):
        about["init"] = json.dumps(_record(inputs.init[i], None))
        about["strength"] = str(inputs.strength)
    return about if inputs.negative is None else {**about, "negative": inputs.negative}


def _record(value: Any, example: int | None) -> Any:
    if is_picture_file(value):
        return {"file": str(value), "sha256": _file_digest(str(value))}
    as_json = plain(value)
    if as_json is not None:
        return as_json
    return {"example": example, "sha256": content(value)}


def _file_digest(path: str) -> str:
    """sha256 of a file; UserError where there is none."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    return sha256(Path(path))


def options(overrides: Sequence[str], guidance: float | None) -> dict[str, str]:
    """The options that changed the recipe, for `--again`."""
    about = {"options": json.dumps(list(overrides), ensure_ascii=False)} if overrides else {}
    return about if guidance is None else {**about, "guidance": str(guidance)}


def kept_options(about: About) -> dict[str, str]:
    """The options that a file names."""
    return {key: about[key] for key in ("options", "guidance") if key in about}


def read_options(about: About) -> tuple[tuple[str, ...], float | None]:
    """The overrides and the guidance scale that a file names."""
    overrides = _json(about, "options", list, [])
    try:
        return tuple(map(str, overrides)), float(about["guidance"]) if "guidance" in about else None
    except ValueError:
        raise UserError("the picture's guidance is no number") from None


def how(about: About) -> str:
    """The options that a file names, as a person would type them after a message."""
    overrides, guidance = read_options(about)
    words = [f"-s '{o}'" for o in overrides] + ([] if guidance is None else [f"--guidance {guidance:g}"])
    return f"; it was made with {' '.join(words)}" if words else ""


def title(about: About) -> str:
    """A few words for a file's name: the prompt, else what the fields say."""
    if "prompt" in about:
        return about["prompt"]
    words = []
    for value in (*_inputs(about).values(), _json(about, "init", object, None)):
        named = Path(value["file"]).stem if isinstance(value, dict) and "file" in value else value
        if isinstance(named, str | int):
            words.append(str(named))
    return " ".join(words)


def example(about: About) -> int | None:
    """The example of the data that a file's inputs came from, if they did."""
    held = [v["example"] for v in _inputs(about).values() if isinstance(v, dict) and "example" in v]
    return held[0] if held else None


def _inputs(about: About) -> dict[str, Any]:
    inputs: dict[str, Any] = _json(about, "inputs", dict, {})
    return inputs


def _json(about: About, key: str, kind: type, default: Any) -> Any:
    """A value of a file's metadata; UserError where it is no JSON of that kind."""
    try:
        value = json.loads(about[key]) if key in about else default
    except (ValueError, RecursionError):
        value = _UNREADABLE
    if not isinstance(value, kind) or value is _UNREADABLE:
        raise UserError(f"the picture's {key} cannot be read")
    return value


def read(system: System, about: About, picture: Path, replaced: Mapping[str, Any]) -> Inputs:
    """The inputs of a picture; UserError where a file or the data's example is not what it was."""
    try:
        seed, strength = int(about["seed"]), float(about.get("strength", 1))
    except (KeyError, ValueError):
        raise UserError(f"{picture}: its seed or strength cannot be read") from None
    init = _json(about, "init", object, None)
    fields = {f: [_value(system, f, v, replaced)] for f, v in _inputs(about).items()}
    if "prompt" in about:
        fields[system.prompt_field] = [about["prompt"]]
    start = None if init is None else _value(system, "init", init, replaced)
    raw_less = {f: None for f in (*system.recipe.sample.fields, *system.text_fields) if f not in fields}
    inputs = inputs_of(
        system, None, {**raw_less, **fields}, count=1, seed=seed, init=start, strength=strength
    )
    return _with(inputs, about.get("negative"), start)


def _with(inputs: Inputs, negative: str | None, start: Any) -> Inputs:
    """What the file says, not the recipe, where the file says nothing."""
    return replace(inputs, negative=negative, init=inputs.init if start is not None else (), left_out=())


def _found(system: System, field: str, record: Mapping[str, Any]) -> str:
    """The path that a record names; where that is gone, the recipe's own picture of the same content, which
    moves with a package."""
    sample = system.recipe.sample
    own = [sample.init] if field == "init" else list(sample.fields.get(field) or ())
    named = str(record["file"])
    if Path(named).is_file():
        return named
    beside = (system.recipe.located(one) for one in own if one and is_picture_file(one))
    alike = (str(one) for one in beside if one.is_file() and sha256(one) == record.get("sha256"))
    return next(alike, named)


def _value(system: System, field: str, record: Any, replaced: Mapping[str, Any]) -> Any:
    """The value that a record stands for."""
    if not isinstance(record, dict):
        return record
    if "file" in record:
        if not isinstance(record["file"], str):
            raise UserError(f"the picture's {field} cannot be read: its file is {record['file']!r}, no path")
        path = str(next(iter(replaced.get(field) or ()), _found(system, field, record)))
        if not Path(path).is_file():
            raise UserError(f"{field}: {path} is gone; say where it is with --input {field}=PATH")
        if sha256(Path(path)) != record.get("sha256"):
            raise UserError(f"{field}: {path} has changed since the picture was made")
        return path
    data = examples.validation(system, [field])
    index = record.get("example")
    if not isinstance(index, int) or not 0 <= index < len(data):
        raise UserError(f"{field}: the data have no validation example {index} any more")
    value = data[index][field]
    if content(value) != record.get("sha256"):
        raise UserError(f"{field}: validation example {index} has changed since the picture was made")
    return value
