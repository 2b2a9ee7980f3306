"""A sample of a run's data as training sees them: cut, mirrored and drawn, with the conditions of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ldmkit.engine.data import field_kinds
from ldmkit.engine.system import System, assemble
from ldmkit.errors import UserError
from ldmkit.host.contained import contained, described, text_of
from ldmkit.host.plugins import host
from ldmkit.pictures import paint, to_pictures
from ldmkit.recipe import complete, load
from ldmkit.training.data import Examples, images_of, raw_of
from ldmkit.training.draws import generator_of
from ldmkit.training.look import fields_of
from ldmkit.types import FieldKind
from ldmkit.verbs.report.pictures import Picture, data_uri

SHOWN = 12
"""Training examples on a page."""
SIDE = 256
LONGEST = 300
"""Characters of a text."""


@dataclass(frozen=True)
class Seen:
    """One training example: its picture and the conditions that are pictures, and the others in words."""

    pictures: tuple[Picture, ...]
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sample:
    """Examples of a run's training data, and a line about the data; without examples it says why."""

    name: str
    examples: tuple[Seen, ...]
    line: str


def sample_of(name: str, recipe: Path, folders: Sequence[Path] = ()) -> Sample | None:
    """The sample for the run of that name; None where its recipe names no data.

    A kept recipe does not say where its relative paths start: that is in the first of `folders`, and last in
    the working directory, in which its data are found. Nothing that a recipe, a data set or its files do
    wrong ends the page.
    """
    for folder in (*folders, Path()):
        try:
            with contained():
                return _sample_from(name, recipe, folder.absolute())
        except Exception as error:  # of any data set's code: the page shows what else there is
            why = text_of(error) if isinstance(error, UserError) else described(error)
            line = f"The data cannot be shown: {why}"
    return Sample(name, (), line)


def _sample_from(name: str, path: Path, folder: Path) -> Sample | None:
    registry = host().registry
    kept = load(path, registry=registry)
    recipe = complete(kept.with_source(replace(kept.source, origin=folder / path.name)), (), registry)
    with torch.device("meta"):
        system = assemble(recipe, registry)
    return None if recipe.data is None else draw_sample(name, system)


def draw_sample(name: str, system: System) -> Sample:
    """The sample of the data that a system's recipe names; the same examples and draws each time."""
    data = system.dataset()
    train, count = data.split("train"), len(data.split("validation"))
    last = system.recipe.train.diffusion or system.recipe.train.compression
    flip = last is not None and last.flip
    turned = "; about half of them are mirrored at each step" if flip else ""
    line = f"{len(train):,} pictures to train on, {count:,} held out{turned}"
    generator = generator_of("report")
    chosen = torch.randperm(len(train), generator=generator)[:SHOWN].tolist()
    draws = torch.randint(2**31, (len(chosen),), generator=generator)
    examples = Examples(train, ("image", *fields_of(system)), memory=0).read(chosen, draws.tolist())
    names, kinds = getattr(data, "class_names", {}), field_kinds(system.named_conditioners())
    seen = []
    for i, example in enumerate(examples):
        mirrored = torch.rand(1, generator=generator) < 0.5 if flip else None
        raw = raw_of([example], fields_of(system), draws[i : i + 1], mirrored, kinds)
        image = images_of([example], mirrored)
        seen.append(_seen(image, {f: values[0] for f, values in raw.items()}, kinds, names))
    return Sample(name, tuple(seen), line)


def _seen(
    image: torch.Tensor,
    raw: Mapping[str, Any],
    kinds: Mapping[str, FieldKind],
    names: Mapping[str, Sequence[str]],
) -> Seen:
    pictures, words = [Picture(data_uri(to_pictures(image)[0], SIDE), "image")], []
    for field, value in raw.items():
        kind = kinds.get(field, "other")
        if field == "image":
            continue
        below = to_pictures(image)[0] if kind == "boxes" else None
        painted = paint(value, kind, below=below)
        if painted is not None:
            pictures.append(Picture(data_uri(painted, SIDE), field))
        words += [(field, text) for text in _words(value, kind, names.get(field, ()))]
    return Seen(tuple(pictures), tuple(words))


def _words(value: Any, kind: FieldKind, names: Sequence[str]) -> Iterator[str]:
    """A condition in words, where it has some: a text, the class's name, the names of the boxes."""
    if kind == "boxes":
        yield ", ".join(_class(int(row[0]), names) for row in value)
    elif kind == "label":
        yield _class(int(value), names)
    elif isinstance(value, str | int | float):
        yield str(value)[:LONGEST]


def _class(number: int, names: Sequence[str]) -> str:
    return str(names[number]) if 0 <= number < len(names) else f"class {number}"
