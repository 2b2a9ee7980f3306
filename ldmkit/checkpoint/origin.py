"""What the weights of a stage were made from, kept beside them in `made_from.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ldmkit import disk

NAME, CONTENTS = "made_from.json", "made_from_data.json"
LISTED = 200_000
"""Examples of a data set whose contents are kept one by one, at most."""
SHOWN = 3
"""How many names a line lists."""


@dataclass(frozen=True)
class Origin:
    """The inputs of a training besides its recipe.

    data: the data set's digest; pictures and fields tell people what changed. compression: the sha256 of the
    file of the compression weights that the diffusion stage was trained on. weights: the sha256 of the
    finished weights themselves. before: the data sets of earlier steps, where changed data were accepted.
    encoders: digests of the pretrained weights of conditioners, by the recipe's id. diffusion: the sha256 of
    the file of the diffusion weights that an adapter was trained on. start: the sha256 of the file of a
    folder of weights that a stage started from.
    """

    recipe: str
    data: str
    pictures: int
    fields: Sequence[str] = ()
    compression: str | None = None
    weights: str | None = None
    before: Sequence[str] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)
    diffusion: str | None = None
    start: str | None = None

    def data_changes(self, now: Origin) -> str | None:
        """How the data of `now` differ from these, in words; None where they are the same."""
        if self.data == now.data:
            return None
        if self.pictures != now.pictures:
            return f"{self.pictures} pictures then, {now.pictures} now"
        if list(self.fields) != list(now.fields):
            return f"fields {', '.join(self.fields) or 'none'} then, {', '.join(now.fields) or 'none'} now"
        return f"{now.pictures} pictures as then, but other contents"

    def stage_changed(self, stage: str, now: str | None) -> bool:
        """Whether the "compression" or "diffusion" weights, or those of the "start", have changed; False
        where they are unknown."""
        then = getattr(self, stage)
        return None not in (then, now) and then != now

    def encoders_changed(self, now: Mapping[str, str]) -> list[str]:
        """The conditioners whose pretrained weights have changed, of those that are known."""
        return [name for name, digest in self.encoders.items() if now.get(name, digest) != digest]

    def accepted(self, now: Origin) -> Origin:
        """`now`, which is trained on after this."""
        return replace(now, before=[*self.before, self.data])

    def about(self) -> dict[str, str]:
        """The digests, as metadata of a file."""
        digests = {"digest": self.recipe, "data": self.data, "compression": self.compression}
        return {name: digest for name, digest in digests.items() if digest is not None}

    def write(self, folder: Path) -> None:
        """Keeps it in the folder of a run."""
        disk.write_json(folder / NAME, asdict(self))


def read_origin(folder: Path) -> Origin | None:
    """The origin that a run folder records; None where there is none that can be read."""
    try:
        return Origin(**json.loads(disk.read_text(folder / NAME)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def write_contents(folder: Path, contents: Mapping[str, str] | None) -> None:
    """Records the digests of the data's examples by name, where the data set has them."""
    if contents is not None and len(contents) <= LISTED:
        disk.write_json(folder / CONTENTS, dict(contents))


def named_changes(folder: Path, now: Mapping[str, str] | None) -> str | None:
    """Which examples are others, new or gone since `write_contents`, in words: counts and the first names.

    None where that is not known, or nothing of it has changed.
    """
    try:
        before = json.loads(disk.read_text(folder / CONTENTS))
    except (OSError, ValueError, RecursionError):
        return None
    if now is None or not isinstance(before, dict):
        return None
    kinds = {
        "changed": sorted(name for name in before.keys() & now.keys() if before[name] != now[name]),
        "new": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
    }
    changes = [f"{len(names)} {kind} ({_first(names)})" for kind, names in kinds.items() if names]
    return ", ".join(changes) or None


def _first(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 80 else f"{name[:77]}..." for name in names[:SHOWN]]
    return ", ".join(shown) + (", ..." if len(names) > SHOWN else "")
