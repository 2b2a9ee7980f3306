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
        "PSNR, SSIM, feature distance of decoded latents.",
    )
    registry.add(
        "metric",
        "frechet",
        "ldmkit_metrics.frechet:Frechet",
        "Frechet distance of samples to the data, named by its feature network.",
    )
    registry.add(
        "metric",
        "kernel-distance",
        "ldmkit_metrics.kernel:KernelDistance",
        "KID of samples to the data, named by its feature network.",
    )
    registry.add(
        "metric",
        "precision-recall",
        "ldmkit_metrics.kernel:PrecisionRecall",
        "Precision and recall of samples, named by the network.",
    )
    registry.add(
        "metric",
        "caption-accuracy",
        "ldmkit_metrics.accuracy:CaptionAccuracy",
        "Is a caption's concept among the nearest pictures?",
    )
    registry.add(
        "metric",
        "attribute-accuracy",
        "ldmkit_metrics.attributes:AttributeAccuracy",
        "Class or attributes of samples, by classifiers.",
    )
    registry.add(
        "metric",
        "map-agreement",
        "ldmkit_metrics.agreement:MapAgreement",
        "Semantic map of samples, by a segmenter.",
    )
    registry.add(
        "metric",
        "layout-accuracy",
        "ldmkit_metrics.layout:LayoutAccuracy",
        "Class of the parts of samples within a layout's boxes.",
    )
    registry.add(
        "metric",
        "super-resolution",
        "ldmkit_metrics.restoration:SuperResolution",
        "Samples against the bicubic enlargement.",
    )
    registry.add(
        "metric",
        "inpainting",
        "ldmkit_metrics.restoration:Inpainting",
        "What fills a hole, against a smooth fill.",
    )
