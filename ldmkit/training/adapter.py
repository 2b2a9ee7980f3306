"""The training of an adapter: stage two with the system frozen and the adapter's weights alone trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from ldmkit.checkpoint import files
from ldmkit.engine.adapters import adapter_data, adapter_run
from ldmkit.engine.stage_state import restore
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.stages import AdapterTraining
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.session import Session
from ldmkit.types import Say


def train_adapter(
    system: System,
    name: str,
    runs: Path,
    *,
    restart: bool = False,
    wait: bool = False,
    accept: bool = False,
    say: Say = print,
) -> None:
    """Trains an attached adapter of the recipe to the end of its steps, with the system's own weights frozen.

    Goes on, stops, waits and raises as `train_stage` does.
    """
    options = system.recipe.adapters[name].train
    if options is None:
        raise UserError(f"adapters.{name}: nothing says how to train it: add adapters.{name}.train")
    store = adapter_run(system, name, runs)
    session = Session.of(system, name, f"{ADAPTERS}{name}", store, restart=restart, accept=accept, say=say)
    with session.alone(wait):
        if store.finished:
            own = dict(system.adapters[name].state())
            restore(own, files.read_safetensors(store.weights), str(store.weights))
            session.say(f"{name}: finished already, {store.weights}")
        else:
            data, origin = session.open(partial(adapter_data, system, options))
            cache, older = session.caches
            session.run(AdapterStage(system, name, options, data, cache, session.say, older), origin)


class AdapterStage(DiffusionStage):
    """An attached adapter of the system as the loop sees it."""

    def __init__(
        self,
        system: System,
        name: str,
        options: AdapterTraining,
        data: Dataset,
        cache: Path,
        say: Say = lambda _: None,
        older: Path | None = None,
    ) -> None:
        self.name, self._adapter = name, system.adapters[name]
        system.requires_grad_(False)
        for weight in self._weights().values():
            weight.requires_grad_(True)
        super().__init__(system, options, data, cache, say, older)

    def averaged(self) -> dict[str, nn.Parameter]:
        """The adapter's weights."""
        return {name: x for name, x in self._weights().items() if isinstance(x, nn.Parameter)}

    def weights(self) -> dict[str, Tensor]:
        """The adapter's weights."""
        return dict(self._weights())

    def _weights(self) -> Mapping[str, Tensor]:
        return self._adapter.state()
