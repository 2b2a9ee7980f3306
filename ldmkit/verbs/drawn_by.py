"""What a picture's file says of the model that drew it: its recipe, its weights and their data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ldmkit.checkpoint.files import tensors_digest
from ldmkit.engine import plans, pretrained
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import System
from ldmkit.engine.weights import stages_of
from ldmkit.errors import UserError
from ldmkit.pictures.png import is_unaltered, read_about
from ldmkit.recipe import digest
from ldmkit.types import Say

FROZEN = "frozen"
"""What a file calls the digest of the weights that no stage holds."""
SHOWN = 3
"""How many names a line lists."""


def of(system: System) -> dict[str, str]:
    """The recipe's name and digest, the digests of all weights, and of the data where they are known."""
    return {
        "recipe": system.recipe.name,
        "digest": digest(system.recipe, "samples"),
        "weights": weights(system),
        **({"data": system.trained_on} if system.trained_on else {}),
        **frozen(system),
    }


def weights(system: System) -> str:
    """The digest of the weights of all stages."""
    tensors = {f"{s}.{k}": x for s in stages_of(system.recipe) for k, x in stage_state(system, s).items()}
    return tensors_digest(tensors)


def frozen(system: System) -> dict[str, str]:
    """The digest of the weights that no stage holds, where there are any."""
    found = pretrained.digest(system, plans.plan(system))
    return {} if found is None else {FROZEN: found}


def missing(paths: Sequence[Path], abouts: Sequence[Mapping[str, str]], say: Say) -> list[int]:
    """Which of the pictures are to be drawn: those that are not there, say something else of what determines
    them, or no longer show what was drawn, which is told."""
    alike = [i for i, path in enumerate(paths) if _drawn_alike(path, abouts[i])]
    altered = [i for i in alike if not is_unaltered(paths[i])]
    if altered:
        names = ", ".join(paths[i].name for i in altered[:SHOWN]) + (", ..." if len(altered) > SHOWN else "")
        say(f"samples: {len(altered)} no longer show what was drawn, and are drawn again: {names}")
    kept = {*alike} - {*altered}
    return [i for i in range(len(paths)) if i not in kept]


def _drawn_alike(path: Path, about: Mapping[str, str]) -> bool:
    """Whether there is a picture already that says the same of what determines it."""
    try:
        held = read_about(path) if path.exists() else {}
    except UserError:
        return False
    silent = {FROZEN} - held.keys()  # earlier versions did not write it
    return _essence(held) == {key: x for key, x in _essence(about).items() if key not in silent}


def _essence(about: Mapping[str, str]) -> dict[str, str]:
    """What determines the picture: the options that led to the recipe's digest do not, beside the digest."""
    return {key: value for key, value in about.items() if key not in ("options", "guidance")}
