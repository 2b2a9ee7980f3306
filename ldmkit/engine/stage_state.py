"""A stage's weights: which tensors they are, and strict loading from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from ldmkit.artifacts import check_numbers
from ldmkit.artifacts.wrappers import without_wrappers
from ldmkit.checkpoint.partial import read_whole
from ldmkit.errors import UserError
from ldmkit.recipe.stages import StageName


def stage_state(system: nn.Module, stage: StageName) -> dict[str, Tensor]:
    """A stage's weights in a `System`, by name, live: "compression.*", or "denoiser.*" and "conditioners.*".

    A conditioner's frozen weights are left out, since its constructor brings them, and so is the compression
    model where a conditioner holds it.
    """
    compression = system.get_submodule("compression")
    if stage == "compression":
        return dict(_named("compression", compression, frozen=True))
    foreign = {id(t) for _, t in _named("", compression, frozen=True)}
    state = dict(_named("denoiser", system.get_submodule("denoiser"), frozen=True))
    for name, conditioner in system.get_submodule("conditioners").named_children():
        state |= _named(f"conditioners.{name}", conditioner, frozen=False)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in foreign}


def _named(prefix: str, module: nn.Module, frozen: bool) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers, each once; without `frozen`, of trainable modules only."""
    seen: set[int] = set()
    trainable = any(p.requires_grad for p in module.parameters())
    if not (trainable or frozen):
        return
    for name, tensor in module.state_dict(keep_vars=True).items():
        belongs = frozen or tensor.requires_grad or not isinstance(tensor, nn.Parameter)
        if belongs and id(tensor) not in seen:
            seen.add(id(tensor))
            yield f"{prefix}.{name}", tensor


def load_stage(system: nn.Module, stage: StageName, path: Path) -> None:
    """Reads a stage's weights into the system; UserError names what is missing, left over or misshapen."""
    tensors = without_wrappers(read_whole(path), path)
    restore(stage_state(system, stage), tensors, str(path))


def restore(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    """Copies `tensors` into the live ones of `state`, after checking that names and shapes are the same."""
    missing, left_over = sorted(state.keys() - tensors.keys()), sorted(tensors.keys() - state.keys())
    misshapen = [n for n in state.keys() & tensors.keys() if state[n].shape != tensors[n].shape]
    problems = {"missing": missing, "left over": left_over, "of another shape": sorted(misshapen)}
    listing = "; ".join(f"{what}: {some(names)}" for what, names in problems.items() if names)
    if listing:
        raise UserError(f"{where}: the weights do not fit this recipe: {listing}")
    check_numbers({n: tensors[n] for n, own in state.items() if own.is_floating_point()}, where)
    for name, tensor in state.items():
        tensor.detach().copy_(tensors[name])


def widen(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> str:
    """Copies the `tensors` that have a place in `state`; returns a line about what it did.

    A weight that has more input channels in `state` than in `tensors` gets zeros for the further ones, so
    that at first the model computes what it did without its new condition. Tensors of `state` that are not
    given keep their values; given ones without a place are left aside. Raises UserError where no weight of
    the denoiser fits.
    """
    fitting = {n: t for n, t in tensors.items() if n in state and _fits(t, state[n])}
    if not any(name.startswith("denoiser.") for name in fitting):
        raise UserError(f"{where}: no weight of its denoiser fits this recipe's")
    check_numbers({n: t for n, t in fitting.items() if t.is_floating_point()}, where)
    wider = [n for n, t in fitting.items() if t.shape != state[n].shape]
    for name, tensor in fitting.items():
        state[name].detach().zero_()[tuple(map(slice, tensor.shape))].copy_(tensor)
    new, aside = sorted(state.keys() - fitting.keys()), sorted(tensors.keys() - fitting.keys())
    changes = {"with new input channels": wider, "new": new, "left aside": aside}
    more = [f"{len(names)} {what} ({some(names)})" for what, names in changes.items() if names]
    whole = f"{len(fitting)} weights of {where}" if more else where
    return "; ".join([f"starts from {whole}", *more])


def _fits(tensor: Tensor, own: Tensor) -> bool:
    """Is it the same shape, or one with fewer inputs: shorter along one axis that is not the outputs?"""
    if tensor.dim() != own.dim():
        return False
    longer = [axis for axis in range(own.dim()) if own.shape[axis] != tensor.shape[axis]]
    return all(axis > 0 and own.shape[axis] > tensor.shape[axis] for axis in longer) and len(longer) <= 1


def some(names: list[str]) -> str:
    """The first few names of a list, and how many more there are."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
