"""What a metric is given: the system, its data, and the samples and embeddings that several metrics share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from rich.progress import Progress
from torch import Tensor

from ldmkit.engine import sampling
from ldmkit.engine.components import build
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset, FeatureNetwork
from ldmkit.pictures import normalize, to_pictures, to_tensor
from ldmkit.pictures.sheet import Section
from ldmkit.recipe import Component

Pixels = UInt8[Tensor, "n 3 H W"]
"""Pictures as bytes: what a person would look at is what is measured."""
EMBED_BATCH = 64
B = TypeVar("B", bound=Sized)


@dataclass(frozen=True)
class Network:
    """A metric's feature network, with the name and settings that its figures are to carry."""

    name: str
    settings: Mapping[str, Any]
    module: FeatureNetwork


@dataclass(frozen=True)
class Evaluation:
    """What a metric is given: the system, its data, and products that several metrics share.

    component: the recipe's entry of the metric that runs. sections: what goes on the contact sheet; a metric
    appends to it. held: products made so far: a picture is sampled once for a caption and seed, embedded once
    by a network.
    """

    system: System
    component: Component
    progress: Progress = field(default_factory=lambda: Progress(disable=True))
    sections: list[Section] = field(default_factory=list)
    held: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def data(self, split: str, **changes: Any) -> Dataset:
        """One split of the recipe's data set, `changes` in its parameters (`language="ko"`).

        Raises UserError for a recipe without data, and for a split or parameter that the data set has not.
        """
        key = ("data", json.dumps(changes, sort_keys=True))
        if key not in self.held:
            self.held[key] = _dataset(self.system, changes)
        try:
            part: Dataset = self.held[key].split(split)
        except ValueError as error:
            raise UserError(f"metric ({self.component.name}): {error}") from error
        if len(part) == 0:
            raise UserError(f"metric ({self.component.name}): split '{split}' is empty")
        return part

    def pixels(self, split: str) -> Pixels:
        """The pictures of one split."""
        data = self.data(split)
        return self._once(
            ("pixels", split), lambda: torch.stack([data[i]["image"] for i in range(len(data))])
        )

    def reconstructions(self, split: str) -> Pixels:
        """What the compression model makes of the pictures of one split: the posterior's mode, decoded."""
        return self._once(("reconstructions", split), lambda: self._reconstructed(self.pixels(split)))

    def sample(self, captions: Sequence[str], seeds: Sequence[int]) -> Pixels:
        """A picture for each caption and seed, made as the recipe's `sampler` and `guidance` say."""
        return self._sampled(list(zip(captions, seeds, strict=True)), self.draw, "sampling")

    def sample_unconditional(self, seeds: Sequence[int]) -> Pixels:
        """A picture for each seed under the null condition, without guidance."""
        return self._sampled([(None, seed) for seed in seeds], self.draw_unconditional, "unconditional")

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Iterator[list[Pillow.Image]]:
        """Samples in batches; `sample` remembers them."""
        raw = {sampling.CAPTION: list(captions)}
        return sampling.pictures(self.system, raw, seeds)

    def draw_unconditional(
        self, captions: Sequence[None], seeds: Sequence[int]
    ) -> Iterator[list[Pillow.Image]]:
        """Samples of no caption in batches; `sample_unconditional` remembers them."""
        plan, size = sampling.plan(self.system, guidance=()), self.system.recipe.sample.batch
        for start in range(0, len(seeds), size):
            part = list(seeds[start : start + size])
            null = self.system.null(self.system.condition({sampling.CAPTION: [""] * len(part)}))
            latent = sampling.sample_latent(self.system, plan, null, seeds=part)
            with torch.no_grad():
                yield to_pictures(self.system.compression.decode(latent))

    def network(self, parameter: str, module: FeatureNetwork) -> Network:
        """`module`, which is the metric's `parameter`, under the name that the recipe gives it."""
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
        """The batches, with how far they are shown by pictures."""
        task = self.progress.add_task(f"{self.component.name}: {doing}", total=total)
        for batch in batches:
            yield batch
            self.progress.advance(task, len(batch))
        self.progress.remove_task(task)

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        if key not in self.held:
            self.held[key] = make()
        made: Tensor = self.held[key]
        return made

    @torch.no_grad()
    def _reconstructed(self, pixels: Pixels) -> Pixels:
        model, made = self.system.compression, []
        batches: Iterable[Tensor] = pixels.split(self.system.recipe.sample.batch)
        for batch in self._track(batches, len(pixels), "reconstructing"):
            image = normalize(batch).to(self.system.device)
            made += [to_tensor(p) for p in to_pictures(model.decode(model.encode(image)))]
        return torch.stack(made)

    def _sampled(
        self,
        wanted: Sequence[tuple[Any, int]],
        draw: Callable[[Sequence[Any], Sequence[int]], Iterable[list[Pillow.Image]]],
        doing: str,
    ) -> Pixels:
        missing = [key for key in dict.fromkeys(wanted) if ("sample", key) not in self.held]
        keys = iter(missing)
        batches = draw([caption for caption, _ in missing], [seed for _, seed in missing]) if missing else ()
        for batch in self._track(batches, len(missing), doing):
            for picture in batch:
                self.held["sample", next(keys)] = to_tensor(picture)
        return torch.stack([self.held["sample", key] for key in wanted])


def _dataset(system: System, changes: Mapping[str, Any]) -> Dataset:
    slot = system.recipe.data
    if slot is None:
        raise UserError(f"recipe '{system.recipe.name}' has no data to evaluate on: add a `data` section")
    changed = Component(name=slot.name, parameters={**slot.parameters, **changes})
    dataset: Dataset = build(system.registry, "data", changed)
    return dataset
