"""The sample of its data that a finished training keeps in its folder: the page needs the data no more."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldmkit.disk import read_text, write_json
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_folder
from ldmkit.host.contained import contained
from ldmkit.recipe.stages import StageName
from ldmkit.verbs.report.pictures import Picture
from ldmkit.verbs.report.seen import Sample, Seen, draw_sample

FILE = "sample.json"


def keep_sample(system: System, stage: StageName, runs: Path) -> None:
    """Writes the sample into the folder of a stage that has just been trained on the system's data; data that
    cannot be shown are passed over. Of several processes the first writes.

    Raises DiskError where the folder cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    sample = None
    with suppress(Exception), contained():  # of any data set's code: the training itself is done
        sample = draw_sample(system.recipe.name, system)
    if sample is not None:
        folder = stage_folder(system.recipe, system.registry, stage, runs)
        write_json(folder / FILE, {"line": sample.line, "examples": [_plain(e) for e in sample.examples]})


def kept_sample(name: str, folder: Path) -> Sample | None:
    """The sample that a stage's folder keeps, under the run's name; None without one that can be read."""
    try:
        kept = json.loads(read_text(folder / FILE))
        return Sample(name, tuple(_seen(example) for example in kept["examples"]), str(kept["line"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _plain(example: Seen) -> dict[str, Any]:
    pictures = [{"source": picture.source, "words": picture.words} for picture in example.pictures]
    return {"pictures": pictures, "words": [list(pair) for pair in example.words]}


def _seen(example: Any) -> Seen:
    """An example as it was; ValueError for a picture that is none: the page fetches nothing."""
    pictures = tuple(Picture(str(one["source"]), str(one["words"])) for one in example["pictures"])
    if not all(picture.source.startswith("data:image/webp;base64,") for picture in pictures):
        raise ValueError("no picture")
    return Seen(pictures, tuple((str(field), str(text)) for field, text in example["words"]))
