"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1

COMPONENTS = [
    ("schedule", "scaled-linear", "discrete:ScaledLinear", "beta linear in its square root (the paper's)"),
    ("schedule", "linear", "discrete:Linear", "beta linear in itself"),
    ("schedule", "sqrt", "discrete:Sqrt", "beta the square root of a ramp; ends without signal"),
    ("schedule", "cosine", "discrete:Cosine", "alpha_bar a squared cosine"),
    ("schedule", "flow", "continuous:Flow", "straight paths, shifted with the latent's size"),
    ("schedule", "edm", "continuous:EDM", "alpha 1, sigma 0.002 to 80"),
    ("spacing", "leading", "spacings:leading", "timesteps 1 + k T/n, ends on the first level (published)"),
    ("spacing", "trailing", "spacings:trailing", "from the noisiest timestep, T/n less each; ends on clean"),
    ("spacing", "linspace", "spacings:linspace", "even timesteps, both ends visited; ends on clean"),
    ("spacing", "quadratic", "spacings:quadratic", "denser near clean (published)"),
    ("spacing", "karras", "spacings:karras", "even in (sigma / alpha)^(1/7); ends on clean"),
    ("objective", "epsilon", "objectives:Epsilon", "the network gives the noise (the paper's)"),
    ("objective", "x0", "objectives:Clean", "the network gives the clean latent"),
    ("objective", "v", "objectives:Velocity", "the network gives alpha eps - sigma z"),
    ("objective", "flow", "objectives:Flow", "the network gives eps - z: rectified flow"),
    ("objective", "edm", "objectives:EDM", "EDM preconditioning"),
    ("sampler", "ddpm", "samplers:ddpm", "ancestral sampling"),
    ("sampler", "ddim", "samplers:ddim", "implicit models: deterministic at eta 0"),
    ("sampler", "plms", "multistep:plms", "pseudo linear multistep, order 4"),
    ("sampler", "euler", "samplers:euler", "Euler on the probability flow"),
    ("sampler", "euler-ancestral", "samplers:euler_ancestral", "Euler with fresh noise each step"),
    ("sampler", "heun", "samplers:heun", "Heun on the probability flow: order 2, two evaluations a step"),
    ("sampler", "dpmpp-2m", "multistep:dpmpp_2m", "DPM-Solver++ 2M: order 2 in log-SNR"),
    ("sampler", "dpmpp-2m-sde", "multistep:dpmpp_2m_sde", "DPM-Solver++ 2M with fresh noise"),
    ("sampler", "unipc", "unipc:unipc", "predictor-corrector of any order"),
    (
        "sampler",
        "consistency",
        "consistency:consistency",
        "noises the clean estimate anew at each step",
    ),
    (
        "distillation",
        "consistency",
        "consistency:ConsistencyDistillation",
        "one estimate along the teacher's path: models of few steps",
    ),
    ("guidance", "classifier-free", "guidance:ClassifierFree", "away from the null condition"),
    ("guidance", "clamp", "clipping:Clip", "clamps the clean estimate"),
    ("guidance", "dynamic-threshold", "clipping:DynamicThreshold", "clamps it to a quantile of its own"),
    ("guidance", "known-region", "known_region:KnownRegion", "keeps what a mask says is known"),
]

FORMER = {"scaled-linear": ["linear-beta"], "linear": ["sqrt-linear"]}
"""Names that schedules had in earlier versions."""
DEFAULTS = {"schedule": "scaled-linear", "objective": "epsilon", "sampler": "ddim", "spacing": "leading"}
"""What a recipe has where it names none: the paper's."""


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Noise schedules, spacings, objectives, samplers and guidance."""
    for kind, name, target, summary in COMPONENTS:
        former = FORMER.get(name, ()) if kind == "schedule" else ()
        default = DEFAULTS.get(kind) == name
        registry.add(kind, name, f"ldmkit_diffusion.{target}", summary, former=former, default=default)
