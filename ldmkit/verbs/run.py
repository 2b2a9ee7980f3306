"""Pictures on disk: each PNG carries what makes it again, and those that are there are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch

from ldmkit.engine import sampling
from ldmkit.engine.components import build
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.pictures import normalize, open_picture, to_pictures
from ldmkit.pictures.png import file_name, grid, read_about, save_picture
from ldmkit.recipe import digest
from ldmkit.types import Say


@dataclass(frozen=True)
class Wanted:
    """The pictures that are asked for: raw inputs by field, one seed a picture, what to steer away from."""

    raw: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    negative: str | None = None


def wanted(
    system: System, prompts: Sequence[str] | None, seed: int | None, negative: str | None = None
) -> Wanted:
    """The request of a command line, completed from the recipe."""
    raw = sampling.raw_inputs(system, prompts or None, None)
    chosen = system.recipe.sample.negative if negative is None else negative
    return Wanted(raw, sampling.seeds_for(system, raw, seed, None), chosen)


def wanted_again(system: System, picture: Path) -> Wanted:
    """The request that made a picture, read from it; UserError where this recipe is not the one."""
    about = read_about(picture)
    own = digest(system.recipe, "samples")
    if about.get("digest") != own:
        raise UserError(
            f"{picture} was made by recipe digest {about.get('digest', '?')[:12]}, this is {own[:12]}"
        )
    known = {"seed", "recipe", "digest", "negative"}
    raw = {sampling.CAPTION if k == "prompt" else k: [v] for k, v in about.items() if k not in known}
    return Wanted(raw, [int(about["seed"])], about.get("negative"))


def make_pictures(system: System, request: Wanted, out: Path, say: Say) -> list[Path]:
    """Writes a PNG a picture and `grid.png`; pictures that are there already, made alike, are kept."""
    abouts = [_about(system, request, i) for i in range(len(request.seeds))]
    paths = [out / file_name(i, a.get("prompt", ""), request.seeds[i]) for i, a in enumerate(abouts)]
    missing = [i for i, path in enumerate(paths) if not _made(path, abouts[i])]
    say(f"samples: {len(paths) - len(missing)} reused, {len(missing)} to make in {out}")
    for i, picture in zip(missing, _sampled(system, request, missing), strict=True):
        save_picture(picture, paths[i], abouts[i])
    _save_grid(paths, out / "grid.png")
    return paths


def _about(system: System, request: Wanted, i: int) -> dict[str, str]:
    """What makes picture i again."""
    about = {
        "seed": str(request.seeds[i]),
        "recipe": system.recipe.name,
        "digest": digest(system.recipe, "samples"),
    }
    for field, values in request.raw.items():
        about["prompt" if field == sampling.CAPTION else field] = str(values[i])
    return about if request.negative is None else {**about, "negative": request.negative}


def _made(path: Path, about: Mapping[str, str]) -> bool:
    try:
        return path.exists() and read_about(path) == dict(about)
    except UserError:
        return False


def _sampled(system: System, request: Wanted, chosen: Sequence[int]) -> Sequence[PIL.Image.Image]:
    if not chosen:
        return []
    raw = {field: [values[i] for i in chosen] for field, values in request.raw.items()}
    seeds = [request.seeds[i] for i in chosen]
    batches = sampling.pictures(system, raw, seeds, negative=request.negative)
    return [picture for batch in batches for picture in batch]


def _save_grid(paths: Sequence[Path], target: Path) -> None:
    about = {"pictures": ", ".join(path.name for path in paths)}
    save_picture(grid([open_picture(path) for path in paths]), target, about)


def make_reconstructions(system: System, out: Path, say: Say, count: int = 16) -> Path:
    """For a compression model alone: validation pictures above what it makes of them, as `grid.png`."""
    if system.recipe.data is None:
        raise UserError(f"recipe '{system.recipe.name}' has neither denoiser nor data: nothing to show")
    data = build(system.registry, "data", system.recipe.data).split("validation")
    images = torch.stack([data[i]["image"] for i in range(min(count, len(data)))])
    images = normalize(images.to(system.device))
    with torch.no_grad():
        again = system.compression.decode(system.compression.encode(images))
    sheet = grid([*to_pictures(images), *to_pictures(again)], columns=len(images))
    save_picture(
        sheet, out / "grid.png", {"recipe": system.recipe.name, "shows": "originals over reconstructions"}
    )
    say(f"reconstructions: {out / 'grid.png'}")
    return out / "grid.png"
