"""The input of a metric: the system, its data, and samples and embeddings that several metrics share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from PIL import Image as Pillow
from rich.progress import Progress
from torch import Tensor

from ldmkit.engine import plans, sampling
from ldmkit.engine.components import build
from ldmkit.engine.data import buckets_of, field_kinds, read_by
from ldmkit.engine.requests import Inputs
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset, FeatureNetwork, Network
from ldmkit.pictures import normalize, to_pictures, to_tensor
from ldmkit.pictures.sheet import Section
from ldmkit.recipe import Component
from ldmkit.types import FieldKind, Pixels

__all__ = ["Evaluation", "Network", "Pixels", "content"]

EMBED_BATCH = 64
B = TypeVar("B", bound=Sized)


@dataclass(frozen=True)
class Evaluation:
    """The input of a metric: the system, its data, and results that several metrics share.

    component: the recipe's entry of the metric that runs. sections: the contact sheet, to which a metric
    appends. held: results so far: a picture is sampled once for its inputs and seed, and embedded once by a
    network. cache: a folder for what is costly to make, such as a network that a metric trains, or None.
    reads: the fields of the data that metrics read besides those of the recipe's conditions.
    """

    system: System
    component: Component
    progress: Progress = field(default_factory=lambda: Progress(disable=True))
    sections: list[Section] = field(default_factory=list)
    held: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    cache: Path | None = None
    reads: Sequence[str] = ()

    def data(self, split: str, **changes: Any) -> Dataset:
        """One split of the recipe's data set, with `changes` in its parameters (`language="ko"`).

        Raises UserError for a recipe without data, and for a split or parameter that the data set lacks.
        """
        key = ("data", json.dumps(changes, sort_keys=True))
        if key not in self.held:
            self.held[key] = _dataset(self.system, changes, self.reads)
        try:
            part: Dataset = self.held[key].split(split)
        except ValueError as error:
            raise self.error(str(error)) from error
        if len(part) == 0:
            raise self.error(f"split '{split}' is empty")
        return part

    def pixels(self, split: str) -> Pixels:
        """The pictures of one split."""
        data = self.data(split)
        if len(buckets_of(data)) > 1:
            raise self.error(
                "the data's pictures have several shapes, and metrics compare pictures of one: evaluate a "
                "recipe with data of one size and `weights`"
            )
        return self._once(
            ("pixels", split), lambda: torch.stack([data[i]["image"] for i in range(len(data))])
        )

    def reconstructions(self, split: str) -> Pixels:
        """The pictures of one split, encoded (the posterior's mode) and decoded again."""
        return self._once(("reconstructions", split), lambda: self._reconstructed(self.pixels(split)))

    @property
    def condition_fields(self) -> tuple[str, ...]:
        """The fields that the recipe's conditioners and guidance read, but for those that `sample.fields`
        leaves out; empty for an unconditional recipe."""
        if "fields" not in self.held:
            read = plans.fields_needed(self.system, plans.plan(self.system))
            left_out = self.system.recipe.sample.left_out
            self.held["fields"] = tuple(field for field in read if field not in left_out)
        fields: tuple[str, ...] = self.held["fields"]
        return fields

    @property
    def condition_kinds(self) -> Mapping[str, FieldKind]:
        """What the condition fields hold, where the conditioner that reads one says so."""
        return field_kinds(self.system.named_conditioners())

    def conditions(self, data: Dataset, index: Sequence[int]) -> dict[str, list[Any]]:
        """The condition fields of some examples, for `sample`; UserError where the data lack one."""
        examples = [data[i] for i in index]
        if missing := [f for f in self.condition_fields if f not in examples[0]]:
            there = ", ".join(data.fields) or "no fields"
            raise self.error(f"the recipe reads {', '.join(missing)}, which the data lack; they have {there}")
        return {f: [example[f] for example in examples] for f in self.condition_fields}

    def sample(self, fields: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Pixels:
        """A picture for each seed, drawn as the recipe says, under one value a seed of each field."""
        return self._sampled(fields, seeds, self.draw, "sampling")

    def sample_unconditional(
        self, seeds: Sequence[int], fields: Mapping[str, Sequence[Any]] | None = None
    ) -> Pixels:
        """A picture for each seed under the null condition, without guidance.

        fields: inputs that give the null condition its shape; by default those of the first training example.
        """
        if fields is None:
            fields = self.conditions(self.data("train"), [0] * len(seeds))
        return self._sampled(fields, seeds, self.draw_unconditional, "unconditional")

    def draw(self, fields: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Iterator[list[Pillow.Image]]:
        """Samples in batches; `sample` remembers them."""
        return sampling.pictures(self.system, Inputs(fields, seeds))

    def draw_unconditional(
        self, fields: Mapping[str, Sequence[Any]], seeds: Sequence[int]
    ) -> Iterator[list[Pillow.Image]]:
        """Samples of the null condition in batches; `sample_unconditional` remembers them."""
        plan, size = plans.plan(self.system, guidance=()), self.system.recipe.sample.batch
        inputs = Inputs(fields, seeds)
        for start in range(0, len(seeds), size):
            part = inputs.rows(range(len(seeds))[start : start + size])
            request = sampling.request_for(self.system, part)
            blind = request.replace(conditions=request.null)
            latent = sampling.sample_latent(self.system, plan, blind)
            with torch.no_grad():
                yield to_pictures(self.system.painter.decode(latent))

    def error(self, message: str) -> UserError:
        """A UserError that names the metric."""
        return UserError(f"metric ({self.component.name}): {message}")

    def network(self, parameter: str, module: FeatureNetwork) -> Network:
        """`module`, which is the metric's parameter `parameter`, under the name that the recipe gives it."""
        settings = dict(self.component.parameters[parameter])
        return Network(str(settings.pop("name")), settings, module)

    @torch.no_grad()
    def embed(self, network: Network, pixels: Pixels) -> Float[Tensor, "n e"]:
        """The network's embedding of each picture."""
        by = ("embedding", network.name, json.dumps(network.settings, sort_keys=True, default=str))
        keys = [(*by, hashlib.sha256(p.numpy().tobytes()).digest()) for p in pixels]
        missing = list({key: i for i, key in enumerate(keys) if key not in self.held}.items())
        parts = [missing[i : i + EMBED_BATCH] for i in range(0, len(missing), EMBED_BATCH)]
        for part in self._track(parts, len(missing), network.name):
            vectors = network.module.embed(normalize(pixels[[i for _, i in part]]))
            self.held.update(zip((key for key, _ in part), vectors.cpu(), strict=True))
        return torch.stack([self.held[key] for key in keys])

    def _track(self, batches: Iterable[B], total: int, doing: str) -> Iterator[B]:
        """The batches, with a progress bar that counts pictures."""
        task = self.progress.add_task(f"{self.component.name}: {doing}", total=total)
        for batch in batches:
            yield batch
            self.progress.advance(task, len(batch))
        self.progress.remove_task(task)

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        if key not in self.held:
            self.held[key] = make()
        value: Tensor = self.held[key]
        return value

    @torch.no_grad()
    def _reconstructed(self, pixels: Pixels) -> Pixels:
        model, pictures = self.system.compression, []
        batches: Iterable[Tensor] = pixels.split(self.system.recipe.sample.batch)
        for batch in self._track(batches, len(pixels), "reconstructing"):
            image = normalize(batch).to(self.system.device)
            pictures += [to_tensor(p) for p in to_pictures(model.decode(model.encode(image)))]
        return torch.stack(pictures)

    def _sampled(
        self,
        fields: Mapping[str, Sequence[Any]],
        seeds: Sequence[int],
        draw: Callable[[Mapping[str, Sequence[Any]], Sequence[int]], Iterable[list[Pillow.Image]]],
        doing: str,
    ) -> Pixels:
        keys = [
            (doing, seed, tuple((f, content(values[i])) for f, values in fields.items()))
            for i, seed in enumerate(seeds)
        ]
        missing = list({key: i for i, key in enumerate(keys) if key not in self.held}.items())
        rows = [i for _, i in missing]
        inputs = {f: [values[i] for i in rows] for f, values in fields.items()}
        batches = draw(inputs, [seeds[i] for i in rows]) if missing else ()
        todo = iter(missing)
        for batch in self._track(batches, len(missing), doing):
            for picture in batch:
                self.held[next(todo)[0]] = to_tensor(picture)
        return torch.stack([self.held[key] for key in keys])


def content(value: Any) -> Hashable:
    """A key for a raw input: equal inputs have equal keys."""
    if isinstance(value, Tensor):
        return hashlib.sha256(value.contiguous().cpu().numpy().tobytes()).digest()
    if isinstance(value, Pillow.Image):
        return hashlib.sha256(value.tobytes()).digest()
    return tuple(content(v) for v in value) if isinstance(value, list | tuple) else value


def _dataset(system: System, changes: Mapping[str, Any], reads: Sequence[str]) -> Dataset:
    slot = system.recipe.data
    if slot is None:
        raise UserError(f"recipe '{system.recipe.name}' has no data to evaluate on: add a `data` section")
    changed = slot.model_copy(update={"parameters": {**slot.parameters, **changes}})
    dataset: Dataset = build(system.registry, "data", changed)
    return read_by(dataset, system.named_conditioners(), reads)
