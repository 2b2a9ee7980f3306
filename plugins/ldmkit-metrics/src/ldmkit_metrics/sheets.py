"""Contact sheets: conditions beside the samples that were drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from ldmkit.interfaces import MetricInput
from ldmkit.pictures import normalize, paint, to_pictures
from ldmkit.pictures.sheet import Row, Section
from ldmkit.types import Pixels
from ldmkit_metrics.examples import Chosen
from ldmkit_metrics.probes import shuffled

SHOWN = 6
"""Examples on a sheet."""


def show(evaluation: MetricInput, title: str, chosen: Chosen, columns: Mapping[str, Pixels]) -> None:
    """Appends a section to the contact sheet: for each of the first examples its conditions and a picture of
    each column.

    Conditions that are words or numbers stand in the row's label and note.
    """
    painted = {field: _painted(evaluation, chosen, field) for field in chosen.fields}
    shown = {field: pictures for field, pictures in painted.items() if pictures is not None}
    for name, pixels in columns.items():
        shown[name] = to_pictures(normalize(pixels[:SHOWN]))
    rows = [
        Row(*_words(chosen, painted, i), tuple(pictures[i] for pictures in shown.values()))
        for i in range(min(SHOWN, len(chosen.index)))
    ]
    evaluation.sections.append(Section(title, tuple(shown), tuple(rows)))


def show_obedience(evaluation: MetricInput, title: str, chosen: Chosen, samples: Pixels) -> None:
    """As `show`: beside each condition its sample, the control, which was drawn for another condition, and
    the real picture."""
    control = samples[shuffled(len(samples))]
    show(evaluation, title, chosen, {"sample": samples, "control": control, "real": chosen.pixels})


def _painted(evaluation: MetricInput, chosen: Chosen, field: str) -> list[Image.Image] | None:
    kind = evaluation.condition_kinds.get(field, "other")
    pictures = [paint(value, kind) for value in chosen.fields[field][:SHOWN]]
    present = [picture for picture in pictures if picture is not None]
    return present if len(present) == len(pictures) else None


def _words(chosen: Chosen, painted: Mapping[str, Any], i: int) -> tuple[str, str]:
    """The label of a row and the note below it."""
    words = {f: str(chosen.fields[f][i]) for f, pictures in painted.items() if pictures is None}
    caption = words.pop("caption", chosen.captions[i])
    return caption, ", ".join(f"{field} {value}" for field, value in words.items())
