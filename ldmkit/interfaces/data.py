"""What surrounds a model: data sets and published names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Dataset(Protocol):
    """Pictures with their fields. `len()` and indexing give examples: {"image": uint8 "3 H W", field: value}.

    split: "train" or "validation" and others a data set documents. fields: what every example has besides
    "image". digest: names the content, not its place or time, so that caches are keyed by it. skipped: broken
    files left out.

    What a data set may offer besides:

    - `aligned(kinds: Mapping[str, FieldKind]) -> Dataset`, where it cuts its pictures or names files: the
      same examples with those fields as tensors cut as the picture is.
    - `reading(fields: Collection[str]) -> Dataset`, where some examples lack a field: for what reads these
      fields, so that examples without one of them are left out, and fields that others lack are not there.
    - `view(index, fields=None, key=None)`: the example, or some of its fields without reading the others;
      `key` draws what is drawn at random, the crop only where "image" is among the fields. `drawn` names the
      fields that differ from key to key. Indexing draws nothing.
    - `buckets`: the indices of the examples of each shape, where pictures have several: batches have one.
      Empty, it says that all have one size; without it they are measured before a training.
    - `shown(index)`: the index of the example that stands in for one that turned out broken, else the same.
    - `picture_digest`: a digest of the pictures alone: data sets that differ in captions share latents.
    - `problems`: a mapping of each path in `skipped` to the reason, in words that name the path.
    - `name(index) -> str`: how messages call an example. `notes`: lines for a person about the choice of
      pictures. `class_names`: a mapping of a field to what its classes are called, by id.
    - `contents`: a mapping of the name of each example, or file of examples, to a digest of all that it
      holds, or None: messages then name what has changed since a training.
    """

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def digest(self) -> str: ...

    @property
    def skipped(self) -> Sequence[Path]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...

    def split(self, name: str) -> Dataset:
        """The examples of one split; ValueError names those there are."""


def example_name(data: Dataset, index: int) -> str:
    """How messages call an example: by the data set's own `name`, where it has one."""
    name = getattr(data, "name", None)
    return f"example {index}" if name is None else str(name(index))


class KeyMap(Protocol):
    """Published names of one component's tensors in one format; an architecture brings its own.

    Registered under "FORMAT/COMPONENT NAME", as "compvis/unet" or "diffusers/kl-autoencoder".

    Two methods are optional. `check_config(config, parameters)` raises ValueError where a published
    configuration promises something that the model, as it was put together, does not have; `parameters` are
    those of `config`. `fold(tensors, scale, shift)` returns the published tensors with a scale and a shift
    for each latent channel made part of the weights, for formats that hold one scale.
    """

    @property
    def classes(self) -> Sequence[str]:
        """The published classes that the component is in the format, by their full names; the first is the
        one that export names. A format finds the component of a configuration by the last part of
        these names."""

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The component's recipe parameters from the published configuration; ValueError where none fit."""

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The published configuration of a component; the reverse of `parameters`. Those of a denoiser hold
        `latent`, `conditions` and `out_channels` as well."""

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Published tensors (prefix removed) as the module's state dict; ValueError names every key left over
        or missing."""

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict under published names; the reverse of `load`, bit for bit."""
