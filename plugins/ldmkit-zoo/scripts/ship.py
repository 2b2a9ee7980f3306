"""Puts a recipe's trained weights into the package: float16, registered under the digest of their stage.

    python plugins/ldmkit-zoo/scripts/ship.py recipes/text2img.yaml [--runs runs]

Without a finished run under --runs, --weights STAGE=FILE names the file: so weights keep serving when a
component gains a parameter whose default computes the same (the digest changes, what they compute does not).
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.files import read_tensors, sha256, write_tensors
from ldmkit.disk import write_json
from ldmkit.engine.system import assemble
from ldmkit.engine.weights import StageName, load_stage, stage_folder, stage_name, stages_of
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import Recipe, load, resolve

FOLDER = Path(__file__).parents[1] / "src" / "ldmkit_zoo" / "weights"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--weights", "given", multiple=True, metavar="STAGE=FILE", help="Weights that are in no run.")
def main(recipe: Path, runs: Path, given: tuple[str, ...]) -> None:
    """Ship the weights of every stage of RECIPE that has them."""
    registry = host().registry
    resolved = resolve(load(recipe), registry)
    named = dict(entry.split("=", 1) for entry in given)
    for stage in stages_of(resolved):
        source = Path(named[stage]) if stage in named else _trained(resolved, stage, runs)
        load_stage(assemble(resolved, registry), stage, source)  # refuses weights that do not fit
        click.echo(f"{stage}: {_ship(resolved, stage, source)}")


def _trained(recipe: Recipe, stage: StageName, runs: Path) -> Path:
    run = RunStore(stage_folder(recipe, stage, runs), stage)
    if not run.finished:
        raise UserError(f"{run.folder} is not finished: train it, or give --weights {stage}=FILE")
    return run.weights


def _ship(recipe: Recipe, stage: StageName, source: Path) -> Path:
    """Writes the file and its entry in index.json, in place of the recipe's entry for that stage."""
    target = FOLDER / f"{recipe.name}-{stage}.safetensors"
    write_tensors(target, {name: _half(name, x) for name, x in read_tensors(source).items()})
    index_path = FOLDER / "index.json"
    index = json.loads(index_path.read_text(encoding="utf-8")) if index_path.exists() else {}
    kept = {name: entry for name, entry in index.items() if entry["file"] != target.name}
    about = f"The {stage} stage of recipes/{recipe.name}.yaml."
    entry = {"file": target.name, "sha256": sha256(target), "summary": about}
    write_json(index_path, {**kept, stage_name(recipe, stage): entry})
    return target


def _half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """float16, but for the few numbers that scale every latent."""
    exact = name.endswith((".scale", ".shift")) or not tensor.is_floating_point()
    return tensor if exact else tensor.half()


if __name__ == "__main__":
    main()
