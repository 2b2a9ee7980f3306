"""What this distribution registers; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from ldmkit.registry import Registrar

LDMKIT_API = 1

COMPONENTS = [
    ("schedule", "linear-beta", "discrete:LinearBeta", "beta linear in its square root (the paper's)"),
    ("schedule", "sqrt-linear", "discrete:SqrtLinear", "beta linear in itself"),
    ("schedule", "sqrt", "discrete:Sqrt", "beta a square root of a ramp; ends without signal"),
    ("schedule", "cosine", "discrete:Cosine", "alpha_bar a squared cosine"),
    ("spacing", "leading", "spacings:leading", "timesteps 1 + k T/n, ends on the first level (published)"),
    ("objective", "epsilon", "objectives:Epsilon", "the network gives the noise (the paper's)"),
    ("sampler", "ddim", "samplers:ddim", "implicit models: deterministic at eta 0"),
    ("guidance", "classifier-free", "guidance:ClassifierFree", "away from the null condition"),
]


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Noise schedules, spacings, objectives, samplers and guidance."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_diffusion.{target}", summary)
