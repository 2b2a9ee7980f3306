"""A recipe's system without data or weights: what `ldmkit check` looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import size
from ldmkit.engine import plans, sizes
from ldmkit.engine.cautions import note_cautions
from ldmkit.engine.compiling import check_compiler
from ldmkit.engine.components import check_classes
from ldmkit.engine.dry_runs import rehearse_sampling, rehearse_training, try_bound
from ldmkit.engine.limits import whole_memory
from ldmkit.engine.rehearsal import activations, rehearse
from ldmkit.engine.sample_decoder import decoder_file
from ldmkit.engine.sampling_memory import check_room
from ldmkit.engine.system import System, assemble, denoiser_of
from ldmkit.engine.trial import try_process
from ldmkit.engine.weights import initial_weights, source_of, stages_of
from ldmkit.errors import UserError
from ldmkit.host.contained import contained
from ldmkit.host.registry import Registry
from ldmkit.recipe import Hub, Recipe
from ldmkit.training.diffusion import check_settings
from ldmkit.training.promises import try_adapted, try_adapters
from ldmkit.verbs.stages import trained_by

ANY_SIZE = 64
"""Latent side at which levels are checked where neither recipe nor data say a picture size."""

ANY_SIZE_OPTION = "--any-size"
PARAMETERS, POSITIONS = 50_000_000, 64 * 64
"""Of a denoiser and of its latent, up to which `check` runs it with numbers: below a second."""


def inspect(recipe: Recipe, registry: Registry) -> System:
    """The assembled system of a resolved recipe, its modules on the "meta" device: shapes, but no memory.

    Guidance is made as well; schedule, objective, spacing and sampler take a few steps with numbers. Raises
    UserError for combinations that make no sense.
    """
    with contained():
        check_classes(recipe, registry)
        with torch.device("meta"):
            system = assemble(recipe, registry)
            plan = plans.plan(system)
        if recipe.denoiser is not None:
            try_process(system, plan, sizes.latent_size(system, picture_size(system)))
    return system


@dataclass(frozen=True)
class Demand:
    """Bytes of memory that a use of the recipe takes, in parts. `use`: "sampling", "train.diffusion"..."""

    use: str
    parts: Mapping[str, int]

    @property
    def together(self) -> int:
        """The sum."""
        return sum(self.parts.values())

    def line(self) -> str:
        """The sum and its parts, in words."""
        listed = ", ".join(f"{name} {size(count)}" for name, count in self.parts.items() if count)
        return f"{self.use}: about {size(self.together)} ({listed})"


def demands(system: System) -> Iterator[Demand]:
    """What sampling and the training of each stage take; system: on the meta device, see `inspect`.

    Gradients and two moments of an optimizer for what is trained, the average where there is one, and the
    activations of the pictures of one pass; losses and adversaries come on top.
    """
    total = sum(p.nbytes for p in system.parameters())
    yield Demand("sampling", {"weights": total})
    for stage in trained_by(system.recipe):
        options = getattr(system.recipe.train, stage)
        part = system.get_submodule("compression") if stage == "compression" else _second(system)
        learned = sum(p.nbytes for p in part.parameters() if p.requires_grad)
        pictures = -(-options.batch // (options.accumulate * int(os.environ.get("WORLD_SIZE", "1"))))
        parts = {"weights": total, "gradients": learned, "optimizer": 2 * learned}
        parts["average"] = learned if options.ema is not None else 0
        one = activations(system, stage, picture_size(system))
        yield Demand(f"train.{stage}", {**parts, f"activations of {pictures} pictures": pictures * one})


def on_disk(system: System) -> Iterator[str]:
    """What the checkpoints and the weights of each training take, a line a stage."""
    for demand in demands(system):
        if "gradients" in demand.parts:
            learned, average = demand.parts["gradients"], demand.parts["average"]
            kept = (KEPT + 1) * (3 * learned + average) + 2 * learned
            yield f"{demand.use} on disk: {size(kept)}"


def named_weights(system: System) -> Iterator[str]:
    """The file of each stage that the recipe's `weights` hold, a line each, and what it is there for. Asks no
    hub. UserError for a folder that is missing or holds none."""
    recipe = system.recipe
    for stage in stages_of(recipe):
        if isinstance(source_of(recipe, stage), Hub):
            continue
        path = initial_weights(recipe, system.registry, stage)
        if path is not None:
            trained = getattr(recipe.train, stage) is not None
            yield f"weights: {stage} {'starts from' if trained else 'is'} {path}"
    if not isinstance(recipe.sample.decoder, Hub) and (path := decoder_file(recipe, system.registry)):
        yield f"sample.decoder: {path}"


def refuse_beyond(system: System) -> None:
    """UserError where sampling or a training takes more memory than this machine has."""
    whole = whole_memory()
    for demand in demands(system):
        if demand.together > whole:
            raise UserError(
                f"recipe '{system.recipe.name}': {demand.line()}, and this machine has {size(whole)}: take a "
                f"smaller model, size or batch, or more `accumulate`; {ANY_SIZE_OPTION} goes on anyway"
            )


def try_out(system: System, *, any_size: bool) -> None:
    """UserError for what memory cannot hold, unless `any_size`, and for components that do not fit each
    other: one picture goes through all of it. system: on the meta device, see `inspect`."""
    if not any_size:
        refuse_beyond(system)
        check_room(system, picture_size(system), 1)
    rehearse(system, picture_size(system))
    plan = plans.plan(system)
    rehearse_sampling(system, plan, picture_size(system))
    latent = sizes.latent_size(system, picture_size(system))
    note_cautions(system, plan, latent, started=system.recipe.sample.init is not None)
    rehearse_training(system, picture_size(system))


def try_numbers(system: System) -> None:
    """UserError where the denoiser, bound to a condition, gives another output than called with it; a large
    one is left to the training, which tries it before it begins. system: on the meta device."""
    recipe, (height, width) = system.recipe, sizes.latent_size(system, picture_size(system))
    denoiser = system.denoiser
    if denoiser is None or height * width > POSITIONS:
        return
    if sum(p.numel() for p in system.get_submodule("denoiser").parameters()) <= PARAMETERS:
        conditioners = dict(system.named_conditioners())
        made = denoiser_of(recipe, system.registry, system.compression.latent, conditioners, system.objective)
        try_bound(system, picture_size(system), made)


def before_training(system: System, *, any_size: bool) -> None:
    """The same for a system that is about to be trained, with a copy on the meta device, and its training's
    settings: the second stage's would else be refused after the first one's hours."""
    _check_compilers(system)
    copy = inspect(system.recipe, system.registry)
    try_out(copy, any_size=any_size)
    if system.recipe.train.diffusion is not None and system.recipe.denoiser is not None:
        check_settings(copy, system.recipe.train.diffusion)
        try_bound(system, picture_size(system))
    try_adapters(copy)
    try_adapted(copy, picture_size(copy))


def _check_compilers(system: System) -> None:
    """UserError where a training asks for compiled code and there is no compiler."""
    recipe = system.recipe
    trainings = {"train.diffusion": recipe.train.diffusion}
    trainings |= {f"adapters.{name}.train": adapter.train for name, adapter in recipe.adapters.items()}
    for place, training in trainings.items():
        if training is not None and training.compile:
            check_compiler(system.device, f"{place}.compile")


def _second(system: System) -> nn.Module:
    """The parts that the diffusion stage trains."""
    return nn.ModuleList([system.get_submodule("denoiser"), system.conditioners])


def picture_size(system: System) -> tuple[int, int]:
    """The (height, width) of the recipe's pictures; one that every model takes where nothing says it."""
    side = ANY_SIZE * system.compression.latent.factor
    return sizes.known_size(system) or (side, side)
