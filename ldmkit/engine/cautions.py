"""What a recipe combines although its pictures then miss what it was trained for: told, not refused."""

from __future__ import annotations

from collections.abc import Iterator
from warnings import warn

from ldmkit.engine.parts import Parts, must_be_given
from ldmkit.engine.plans import Plan
from ldmkit.engine.weights import initial_weights, source_of
from ldmkit.errors import Note, UserError
from ldmkit.recipe import Hub

NOISE = 1e-3
"""The alpha below which a level is noise alone."""


def note_cautions(system: Parts, plan: Plan, latent: tuple[int, int] | None, *, started: bool) -> None:
    """A `Note` for each, once a process.

    latent: its (h, w), where that is known. started: pictures begin from others, not from noise.
    """
    if latent is not None and not started:
        for line in _starts(system, plan, latent):
            warn(Note(line), stacklevel=1)
    for line in _nulls(system, plan):
        warn(Note(line), stacklevel=1)


def _starts(system: Parts, plan: Plan, latent: tuple[int, int]) -> Iterator[str]:
    """Sampling that begins with noise at a level that is not noise alone (Lin et al. 2023, section 3.3)."""
    if system.denoiser is None or not system.schedule.zero_snr:
        return
    first = float(plan.levels(system, latent)[0].alpha)
    if first > NOISE:
        yield (
            f"sampler.spacing ({plan.slot.spacing.name}): the schedule ends in noise alone (zero SNR), but "
            f"sampling begins where alpha is {first:.3f}: take a spacing that begins at the last timestep"
        )


def _nulls(system: Parts, plan: Plan) -> Iterator[str]:
    """Guidance against null conditions that no training shows to the network."""
    for guide, component in plan.guidance:
        if getattr(component, "reads_null", False) and (names := untrained_nulls(system)):
            yield (
                f"guidance ({guide}): steers away from the null condition of {' and '.join(names)}, which "
                f"training never shows (dropout 0): set conditioners.{names[0]}.dropout before the training"
            )


def untrained_nulls(system: Parts) -> list[str]:
    """The conditions whose null takes no part in the recipe's training, where that begins from nothing.

    Maps beside others that are dropped do not count: some stay the same under guidance.
    """
    if system.recipe.train.diffusion is None:
        return []
    slots = system.recipe.conditioners
    needed = {name: c for name, c in system.named_conditioners() if must_be_given(c)}
    kept = [name for name in needed if slots[name].dropout == 0]
    names = kept if len(kept) == len(needed) else [name for name in kept if not needed[name].spec.concat]
    return [] if names and _begun(system) else names


def _begun(system: Parts) -> bool:
    """Whether the denoiser's training begins from weights, which may know the null conditions."""
    if isinstance(source_of(system.recipe, "diffusion"), Hub):
        return True
    try:
        return initial_weights(system.recipe, system.registry, "diffusion") is not None
    except UserError:  # they may be gone since the training
        return True
