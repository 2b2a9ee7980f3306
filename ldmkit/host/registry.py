"""Components by (kind, name): registered as references, imported when asked for. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.contained import contained

KINDS = {
    "compression": "E and D: pictures to latents and back",
    "regulariser": "what keeps an autoencoder's latent in bounds",
    "conditioner": "tau_theta: what a condition becomes",
    "denoiser": "eps_theta",
    "schedule": "which noise levels there are",
    "spacing": "which of them the sampler visits",
    "objective": "what the network's output means and how it is trained",
    "guidance": "how conditions steer the estimate",
    "sampler": "from noise to a latent",
    "features": "frozen picture networks for losses and metrics",
    "loss": "reconstruction losses",
    "adversary": "the discriminator of the compression stage",
    "data": "data sets",
    "metric": "what `evaluate` reports",
    "optimizer": "how gradients change weights",
    "auxiliary": "extra losses of the diffusion stage",
    "distillation": "what the denoiser learns from a trained one, in place of the objective",
    "adapter": "small weights that change a trained system",
    "callback": "what observes a training: logs and trackers",
    "format": "published formats of whole models: import and export",
    "keymap": "published names of a component's tensors",
    "verb": "commands of the command line",
    "recipe": "recipes that a plugin brings",
    "weights": "trained weights for the stages of shipped recipes",
}
"""Every kind of component and what it is."""

SUPPLIED = ("latent", "conditions", "compression", "out_channels", "schedule", "betas", "weight_decay")
"""What build hands to a constructor's positional parameters, by name: LatentSpec of the compression model,
merged ConditionSpec, the compression model itself, channels that the objective wants of the denoiser; to an
objective, the noise schedule; to an optimizer, the training stage's betas and weight decay."""


class DuplicateComponent(UserError):
    """Two distributions give one (kind, name)."""


@dataclass(frozen=True)
class Entry:
    """One registered component; `target` is "module:attribute", or for weights "package/folder" in the
    distribution.

    former: names that it had in earlier versions. renamed: pairs of a parameter's former name and its name
    now. default: whether it stands where a recipe names no component of its kind.
    """

    kind: str
    name: str
    target: str
    summary: str
    distribution: str
    version: str
    former: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    default: bool = False

    def load(self) -> Callable[..., Any]:
        """The class or function itself; imports its module."""
        module, _, attribute = self.target.partition(":")
        with contained():
            component: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return component


class Registry:
    """All components of the loaded plugins."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._former: dict[tuple[str, str], Entry] = {}
        self._defaults: dict[str, Entry] = {}
        self.broken: list[str] = []

    def add(self, entry: Entry) -> None:
        """Adds one; DuplicateComponent names both distributions, ValueError an unknown kind.

        The first component of a kind that declares itself the default stays it, whatever is added later.
        """
        if entry.kind not in KINDS:
            raise ValueError(f"unknown kind '{entry.kind}'{did_you_mean(entry.kind, KINDS)}")
        other = self._entries.setdefault((entry.kind, entry.name), entry)
        if other is not entry:
            raise DuplicateComponent(
                f"{entry.kind} '{entry.name}' of {entry.distribution} {entry.version} is already "
                f"provided by {other.distribution} {other.version}"
            )
        for former in entry.former:
            self._former.setdefault((entry.kind, former), entry)
        if entry.default:
            self._defaults.setdefault(entry.kind, entry)

    def find(self, kind: str, name: str) -> Entry | None:
        """The entry of that name, else the one that had it in an earlier version, else None."""
        return self._entries.get((kind, name)) or self._former.get((kind, name))

    def get(self, kind: str, name: str) -> Entry:
        """The entry of a present or former name; UserError lists what is installed, the nearest name, and
        plugins that failed to load."""
        entry = self.find(kind, name)
        if entry is None:
            raise UserError(self.missing(kind, name))
        return entry

    def default(self, kind: str) -> str:
        """The name of the component that is used where a recipe names none of this kind; "" where there is
        none."""
        return self._defaults[kind].name if kind in self._defaults else ""

    def current(self, name: str) -> set[str]:
        """The present names of components of any kind that once had this name."""
        return {entry.name for (_, former), entry in self._former.items() if former == name}

    def missing(self, kind: str, name: str) -> str:
        """The message for a component that is not there."""
        names = self.names(kind)
        if not name:
            return f"no plugin declares a default {kind}; name one of: {', '.join(names) or 'none'}"
        failed = f"; plugins that failed to load: {', '.join(self.broken)}" if self.broken else ""
        return (
            f"no plugin provides {kind} '{name}'; installed: {', '.join(names) or 'none'}"
            f"{did_you_mean(name, names)}{failed}"
        )

    def names(self, kind: str) -> list[str]:
        """Names of one kind, sorted."""
        return sorted(name for k, name in self._entries if k == kind)

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda e: (e.kind, e.name)))


@dataclass
class Collector:
    """The `hookspecs.Registrar` of one distribution; its entries join the registry if its hook succeeds."""

    distribution: str
    version: str

    def __post_init__(self) -> None:
        self.entries: list[Entry] = []

    def add(
        self,
        kind: str,
        name: str,
        target: str,
        summary: str,
        *,
        former: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        default: bool = False,
    ) -> None:
        """Registers a component by reference; see `hookspecs.Registrar`."""
        if kind == "recipe":  # several distributions may bring one of the same name
            name = f"{self.distribution}:{name}"
        pairs = tuple((renamed or {}).items())
        self.entries.append(
            Entry(kind, name, target, summary, self.distribution, self.version, tuple(former), pairs, default)
        )
