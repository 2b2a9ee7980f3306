"""What a recipe's data hold, in lines: counts, fields, what is left out and what is not read."""

from __future__ import annotations

from collections.abc import Mapping

from ldmkit.engine.parts import Parts
from ldmkit.engine.unread import first_of
from ldmkit.interfaces import Dataset
from ldmkit.pictures import shown
from ldmkit.training.look import look_at_data

SHOWN = 10
"""How many of the files that a data set leaves out are named."""
FIELDS = 20
"""How many fields of a data set are named."""


def report_data(system: Parts) -> list[str]:
    """What the recipe's data hold, a line each, after a look at them; UserError as `look_at_data`."""
    data = system.dataset()
    unread = [f"data: {line}" for line in first_of(look_at_data(system, data), "examples")]
    counts = f"{len(data.split('train'))} pictures to train on, {len(data.split('validation'))} held out"
    notes = [f"data: {note}" for note in getattr(data, "notes", ())]
    named = [shown(field) for field in data.fields]
    rest = f" and {len(named) - FIELDS} more" if len(named) > FIELDS else ""
    fields = f"{', '.join(named[:FIELDS])}{rest}" or "none"
    return [*left_out(data), *notes, *unread, f"data: {counts}; fields: {fields}"]


def left_out(data: Dataset) -> list[str]:
    """Lines on the examples that a data set leaves out: the first with reasons, then how many more."""
    known, skipped = getattr(data, "problems", None), data.skipped
    reasons = known if isinstance(known, Mapping) else {}
    lines = [reasons.get(p) or f"{shown(p)}, which is broken or no picture" for p in skipped[:SHOWN]]
    more = [f"{len(skipped) - SHOWN} more files"] if len(skipped) > SHOWN else []
    return [f"data: left out {line}" for line in [*lines, *more]]
