"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Noise schedules, spacings, objectives, samplers and guidance."""
    registry.add(
        "schedule",
        "scaled-linear",
        "ldmkit_diffusion.discrete:ScaledLinear",
        "Beta linear in its square root (the paper's).",
        former=["linear-beta"],
        default=True,
    )
    registry.add(
        "schedule",
        "linear",
        "ldmkit_diffusion.discrete:Linear",
        "Beta linear in itself.",
        former=["sqrt-linear"],
    )
    registry.add(
        "schedule",
        "sqrt",
        "ldmkit_diffusion.discrete:Sqrt",
        "Beta the square root of a ramp; ends without signal.",
    )
    registry.add("schedule", "cosine", "ldmkit_diffusion.discrete:Cosine", "A squared cosine as alpha_bar.")
    registry.add(
        "schedule",
        "flow",
        "ldmkit_diffusion.continuous:Flow",
        "Straight paths, shifted with the latent's size.",
    )
    registry.add("schedule", "edm", "ldmkit_diffusion.continuous:EDM", "Alpha 1, sigma 0.002 to 80.")
    registry.add(
        "spacing",
        "leading",
        "ldmkit_diffusion.spacings:leading",
        "Timesteps 1 + k T/n, ends on the first level (published).",
        default=True,
    )
    registry.add(
        "spacing",
        "trailing",
        "ldmkit_diffusion.spacings:trailing",
        "From the noisiest timestep, T/n less each; ends on clean.",
    )
    registry.add(
        "spacing",
        "linspace",
        "ldmkit_diffusion.spacings:linspace",
        "Even timesteps, both ends visited; ends on clean.",
    )
    registry.add(
        "spacing", "quadratic", "ldmkit_diffusion.spacings:quadratic", "Denser near clean (published)."
    )
    registry.add(
        "spacing",
        "karras",
        "ldmkit_diffusion.spacings:karras",
        "Levels even in (sigma / alpha)^(1/rho); ends on clean.",
    )
    registry.add(
        "objective",
        "epsilon",
        "ldmkit_diffusion.objectives:Epsilon",
        "The network gives the noise (the paper's).",
        default=True,
    )
    registry.add(
        "objective", "x0", "ldmkit_diffusion.objectives:Clean", "The network gives the clean latent."
    )
    registry.add(
        "objective", "v", "ldmkit_diffusion.objectives:Velocity", "The network gives alpha eps - sigma z."
    )
    registry.add(
        "objective", "flow", "ldmkit_diffusion.objectives:Flow", "The network gives eps - z: rectified flow."
    )
    registry.add("objective", "edm", "ldmkit_diffusion.objectives:EDM", "EDM preconditioning.")
    registry.add("sampler", "ddpm", "ldmkit_diffusion.samplers:ddpm", "Ancestral sampling.")
    registry.add(
        "sampler",
        "ddim",
        "ldmkit_diffusion.samplers:ddim",
        "Implicit models: deterministic at eta 0.",
        default=True,
    )
    registry.add("sampler", "plms", "ldmkit_diffusion.multistep:plms", "Pseudo linear multistep, order 4.")
    registry.add("sampler", "euler", "ldmkit_diffusion.samplers:euler", "Euler on the probability flow.")
    registry.add(
        "sampler",
        "euler-ancestral",
        "ldmkit_diffusion.samplers:euler_ancestral",
        "Euler with fresh noise each step.",
    )
    registry.add(
        "sampler",
        "heun",
        "ldmkit_diffusion.samplers:heun",
        "Heun on the probability flow: order 2, two evaluations a step.",
    )
    registry.add(
        "sampler", "dpmpp-2m", "ldmkit_diffusion.multistep:dpmpp_2m", "DPM-Solver++ 2M: order 2 in log-SNR."
    )
    registry.add(
        "sampler",
        "dpmpp-2m-sde",
        "ldmkit_diffusion.multistep:dpmpp_2m_sde",
        "DPM-Solver++ 2M with fresh noise.",
    )
    registry.add("sampler", "unipc", "ldmkit_diffusion.unipc:unipc", "Predictor-corrector of any order.")
    registry.add(
        "sampler",
        "consistency",
        "ldmkit_diffusion.consistency:consistency",
        "Noises the clean estimate anew at each step.",
    )
    registry.add(
        "distillation",
        "consistency",
        "ldmkit_diffusion.consistency:ConsistencyDistillation",
        "Distils a model into one of few steps, consistent along the teacher's path.",
    )
    registry.add(
        "guidance",
        "classifier-free",
        "ldmkit_diffusion.guidance:ClassifierFree",
        "Steers away from the null condition, or from a negative prompt.",
    )
    registry.add("guidance", "clamp", "ldmkit_diffusion.clipping:Clip", "Clamps the clean estimate.")
    registry.add(
        "guidance",
        "dynamic-threshold",
        "ldmkit_diffusion.clipping:DynamicThreshold",
        "Clamps the clean estimate to a quantile of its absolute values.",
    )
    registry.add(
        "guidance",
        "known-region",
        "ldmkit_diffusion.known_region:KnownRegion",
        "Keeps the known part of a picture and fills the holes of a mask.",
    )
