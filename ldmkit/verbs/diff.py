"""`ldmkit diff`: the values in which two completed recipes differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldmkit.errors import UserError
from ldmkit.recipe import complete
from ldmkit.recipe.dump import flat, leaves


def differences(one: Path, other: Path) -> dict[str, tuple[Any, Any]]:
    """The values that differ, by dotted path: (in `one`, in `other`), None where a recipe has no such value.

    A path is a recipe's file or name, or the folder of a run, which holds its recipe. Raises UserError for a
    recipe that cannot be completed, and for a folder without one.
    """
    before, after = (dict(leaves(flat(complete(_recipe(path))))) for path in (one, other))
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _recipe(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / "recipe.yaml").is_file():
        raise UserError(f"{path}: holds no recipe.yaml; name a recipe or the folder of a run")
    return path / "recipe.yaml"
