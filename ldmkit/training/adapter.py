"""The training of an adapter: stage two with the system frozen and the adapter's weights alone trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor, nn

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.lock import locked
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.adapters import adapter_data, adapter_run
from ldmkit.engine.longer import begin
from ldmkit.engine.reuse import origin_of
from ldmkit.engine.stage_state import restore
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe import digest
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.dump import flat
from ldmkit.recipe.stages import AdapterTraining
from ldmkit.training.callbacks import build_callbacks
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.loop import Loop
from ldmkit.training.run import CACHE, accelerator_on, write_origin
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
    accelerator = accelerator_on(system.device)
    say = say if accelerator.is_main_process else lambda _: None
    store = adapter_run(system, name, runs)
    with locked(store, wait, say) if accelerator.is_main_process else nullcontext():
        accelerator.wait_for_everyone()
        if restart and accelerator.is_main_process:
            store.clear()
        accelerator.wait_for_everyone()
        if store.finished:
            own = dict(system.adapters[name].state())
            restore(own, files.read_tensors(store.weights), str(store.weights))
        else:
            _train(system, name, options, store, accelerator, accept, say)
        accelerator.wait_for_everyone()


def _train(
    system: System,
    name: str,
    options: AdapterTraining,
    store: RunStore,
    accelerator: Accelerator,
    accept: bool,
    say: Say,
) -> None:
    """The same, by all processes, where this training alone has the folder."""
    stage_name = f"{ADAPTERS}{name}"
    if accelerator.is_main_process:
        begin(system.recipe, system.registry, stage_name, store, say)
    accelerator.wait_for_everyone()
    with accelerator.local_main_process_first():  # which looks at the files that the others then know
        data = adapter_data(system, options)
    made_by = digest(system.recipe, stage_name)
    origin = origin_of(system, name, store, made_by, data, accept=accept, say=say)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_origin(system, store, origin, data)
    accelerator.wait_for_everyone()
    older = store.folder.parent / CACHE
    stage = AdapterStage(system, name, options, data, store.runs / CACHE, say, older)
    slots = system.recipe.train.callbacks if accelerator.is_main_process else ()
    callbacks = build_callbacks(system.registry, slots, say)
    Loop(stage, store, accelerator, say, callbacks, flat(system.recipe)).run()
    if accelerator.is_main_process:
        replace(origin, weights=Sums(store.folder.parent).remember(store.weights)).write(store.folder)


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
