"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """What `ldmkit evaluate` measures."""
    registry.add(
        "metric",
        "reconstruction",
        "ldmkit_metrics.reconstruction:Reconstruction",
        "PSNR, SSIM and feature distance of decoded latents to their pictures.",
    )
    registry.add(
        "metric",
        "frechet",
        "ldmkit_metrics.frechet:Frechet",
        "Frechet distance of samples to the data, on a feature network that names the figure.",
    )
    registry.add(
        "metric",
        "caption-accuracy",
        "ldmkit_metrics.accuracy:CaptionAccuracy",
        "Is the caption's concept among the sample's nearest reference pictures?",
    )
