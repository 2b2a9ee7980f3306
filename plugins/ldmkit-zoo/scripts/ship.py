"""Puts a recipe's trained weights into the package: float16, beside the recipe that they were trained with.

    python plugins/ldmkit-zoo/scripts/ship.py recipes/text2img.yaml [--runs runs]

Adapters that the recipe trains are shipped with it. A stage that another shipped recipe determines alike is
not shipped again: it is found there. Nor is one that the recipe does not train. Of a decoder that was
trained alone over a shipped model, the encoder stays with that model.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.files import MANIFEST, read_safetensors, seal, write_tensors
from ldmkit.checkpoint.partial import write_partial
from ldmkit.disk import write_text
from ldmkit.engine.adapters import adapter_run
from ldmkit.engine.kept_encoder import keeps_encoder
from ldmkit.engine.opening import assembled
from ldmkit.engine.system import System
from ldmkit.engine.weights import initial_weights, load_stage, shipped, stage_folder, stages_of
from ldmkit.errors import UserError
from ldmkit.recipe import dump
from ldmkit.recipe.stages import StageName

WEIGHTS = Path(__file__).parents[1] / "src" / "ldmkit_zoo" / "weights"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
def main(recipe: Path, runs: Path) -> None:
    """Ship the weights of every stage and adapter of RECIPE that is trained under RUNS."""
    system = assembled(recipe, device="cpu")
    folder = WEIGHTS / system.recipe.name
    for stage in stages_of(system.recipe):
        if getattr(system.recipe.train, stage) is None:
            click.echo(f"{stage}: not trained by this recipe")
            continue
        there = shipped(system.recipe, system.registry, stage)
        if there is not None and there.parent != folder:
            click.echo(f"{stage}: shipped already, {there}")
            continue
        source = _trained(system, stage, runs)
        load_stage(system, stage, source)  # refuses weights that do not fit
        _copy(source, folder / f"{stage}.safetensors", _encoder(system, stage))
    for name in system.recipe.adapters:
        _copy(_finished(adapter_run(system, name, runs)), folder / f"{name}.safetensors")
    write_text(folder / "recipe.yaml", dump(system.recipe))
    (folder / MANIFEST).unlink(missing_ok=True)
    seal(folder)


def _trained(system: System, stage: StageName, runs: Path) -> Path:
    return _finished(RunStore(stage_folder(system.recipe, system.registry, stage, runs), stage))


def _finished(run: RunStore) -> Path:
    if not run.finished:
        raise UserError(f"{run.folder} is not finished: train it first")
    return run.weights


def _encoder(system: System, stage: StageName) -> Path | None:
    """The shipped file of the encoder that a decoder's training kept."""
    if not keeps_encoder(system.recipe, stage):
        return None
    path = initial_weights(system.recipe, system.registry, stage)
    return path if path is not None and path.is_relative_to(WEIGHTS) else None


def _copy(source: Path, to: Path, neighbour: Path | None = None) -> None:
    tensors = {name: _half(name, tensor) for name, tensor in read_safetensors(source).items()}
    if neighbour is None:
        write_tensors(to, tensors)
    else:
        write_partial(to, tensors, neighbour)
    click.echo(f"{to.stem}: {to}")


def _half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """float16, but for the few numbers that scale every latent."""
    exact = name.endswith((".scale", ".shift")) or not tensor.is_floating_point()
    return tensor if exact else tensor.half()


if __name__ == "__main__":
    main()
