"""The sampling plan: sampler, spacing and guidance, from a recipe with some of it replaced."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ldmkit.engine.components import build
from ldmkit.engine.parts import Parts, must_be_given
from ldmkit.engine.promises import check_levels
from ldmkit.engine.requests import whole_number
from ldmkit.engine.running import check_reuse
from ldmkit.errors import UserError
from ldmkit.interfaces import Guidance, Sampler, Spacing
from ldmkit.recipe import Component, SamplerSlot, resolve_component
from ldmkit.types import Levels


@dataclass(frozen=True)
class Plan:
    """How pictures are sampled, apart from the inputs and their size. Guidance components have their
    names."""

    sampler: Sampler
    spacing: Spacing
    slot: SamplerSlot
    guidance: tuple[tuple[str, Guidance], ...]

    def levels(self, system: Parts, latent: tuple[int, int]) -> Levels:
        """The noise levels for a latent of (h, w); UserError for a spacing that does not fit, or that returns
        something else."""
        try:
            return check_levels(self.spacing(system.schedule, self.slot.steps, latent), self.slot.steps)
        except ValueError as error:
            raise UserError(f"sampler.spacing ({self.slot.spacing.name}): {error}") from error

    @property
    def fields(self) -> tuple[str, ...]:
        """The raw inputs that guidance reads."""
        return tuple(f for _, guide in self.guidance for f in getattr(guide, "fields", ()))


def plan(
    system: Parts,
    *,
    sampler: str | Mapping[str, Any] | None = None,
    steps: int | None = None,
    guidance: float | Sequence[Mapping[str, Any]] | None = None,
) -> Plan:
    """The recipe's plan with some of it replaced.

    guidance: components in the place of the recipe's, or a number for the `scale` of the one that has any.
    Raises UserError for names and parameters that do not exist.
    """
    slot = _sampling(system, sampler, steps)
    check_reuse(system.denoiser, slot.reuse, compiled=system.recipe.sample.compile)
    guides = _guides(system, guidance)
    return Plan(
        build(system.registry, "sampler", slot),
        build(system.registry, "spacing", slot.spacing),
        slot,
        tuple(
            (g.name, build(system.registry, "guidance", g, compression=system.compression)) for g in guides
        ),
    )


def _guides(system: Parts, guidance: float | Sequence[Mapping[str, Any]] | None) -> Sequence[Component]:
    own = system.recipe.guidance
    if guidance is None:
        return own
    if not isinstance(guidance, Real):
        if isinstance(guidance, str) or not isinstance(guidance, Sequence):
            raise UserError(f"guidance: expects a number or a list of components, not {guidance!r}")
        for slot in guidance:
            _check_named("guidance", slot)
        slots = [Component.model_validate(g) for g in guidance]
        return [resolve_component("guidance", slot, system.registry) for slot in slots]
    return scaled(system, float(guidance))


def scaled(system: Parts, scale: float, guides: Sequence[Component] | None = None) -> list[Component]:
    """The recipe's guidance, or other `guides`, with another `scale`; UserError unless exactly one component
    has any."""
    own = system.recipe.guidance if guides is None else guides
    changed = [guide for guide in own if "scale" in guide.parameters]
    if len(changed) != 1:
        raise UserError(
            f"guidance {scale:g}: {len(changed)} of the recipe's guidance components have a scale; "
            "set `guidance` to a list of components, as "
            f"[{{name: NAME, scale: {scale:g}}}] (`ldmkit plugins guidance` lists them)"
        )
    slot = changed[0].model_copy(update={"parameters": {**changed[0].parameters, "scale": scale}})
    return [resolve_component("guidance", slot, system.registry) if g is changed[0] else g for g in own]


def _sampling(system: Parts, sampler: str | Mapping[str, Any] | None, steps: int | None) -> SamplerSlot:
    """The sampler of a call; a bare name keeps the recipe's spacing."""
    slot = system.recipe.sampler
    if isinstance(sampler, str) and sampler != slot.name:
        sampler = {"name": sampler, "spacing": slot.spacing, "steps": slot.steps, "reuse": slot.reuse}
    elif not isinstance(sampler, str | Mapping | None):
        raise UserError(f"sampler: expects a name or a mapping, not {sampler!r}")
    if isinstance(sampler, Mapping):
        _check_named("sampler", sampler)
        slot = resolve_component("sampler", SamplerSlot.model_validate(sampler), system.registry)
    return slot if steps is None else slot.model_copy(update={"steps": whole_number("steps", steps)})


def _check_named(kind: str, values: Any) -> None:
    """UserError for a component that does not say its name."""
    name = values.get("name") if isinstance(values, Mapping) else values
    if not isinstance(name, str):
        raise UserError(f"{kind}: expects a mapping with a name and parameters, not {values!r}")


def fields_read(system: Parts, plan: Plan) -> list[str]:
    """The raw inputs that conditioners and guidance read."""
    read = [f for _, c in system.named_conditioners() for f in c.spec.fields]
    return list(dict.fromkeys([*read, *plan.fields]))


def fields_needed(system: Parts, plan: Plan) -> list[str]:
    """The raw inputs without which there are no conditions or no guidance."""
    read = [f for _, c in system.named_conditioners() if must_be_given(c) for f in c.spec.fields]
    return list(dict.fromkeys([*read, *plan.fields]))


def check_fields(system: Parts, plan: Plan, raw: Mapping[str, Any], left_out: Collection[str] = ()) -> None:
    """UserError for an input that neither a conditioner nor guidance reads, given or left out, or that
    guidance lacks."""
    read = fields_read(system, plan)
    if unknown := sorted({*raw, *left_out} - {*read}):
        known = ", ".join(read) or "none"
        raise UserError(
            f"recipe '{system.recipe.name}' does not read the condition field(s) {', '.join(unknown)}; "
            f"it reads: {known}"
        )
    for name, guide in plan.guidance:
        if missing := sorted(set(getattr(guide, "fields", ())) - set(raw)):
            raise UserError(f"guidance ({name}): needs the input(s) {', '.join(missing)}")


@contextmanager
def named_guide(name: str) -> Iterator[None]:
    """Turns a guidance component's ValueError into a UserError that names the component."""
    try:
        yield
    except (ValueError, UserError) as error:
        raise UserError(f"guidance ({name}): {error}") from error
