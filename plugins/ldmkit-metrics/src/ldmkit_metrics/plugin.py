"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


COMPONENTS = (
    ("reconstruction", "reconstruction:Reconstruction", "PSNR, SSIM, feature distance of decoded latents."),
    ("frechet", "frechet:Frechet", "Frechet distance of samples to the data, named by its feature network."),
    ("kernel-distance", "kernel:KernelDistance", "KID of samples to the data, named by its feature network."),
    ("precision-recall", "kernel:PrecisionRecall", "Precision and recall of samples, named by the network."),
    ("caption-accuracy", "accuracy:CaptionAccuracy", "Is a caption's concept among the nearest pictures?"),
    ("attribute-accuracy", "attributes:AttributeAccuracy", "Class or attributes of samples, by classifiers."),
    ("map-agreement", "agreement:MapAgreement", "Semantic map of samples, by a segmenter."),
    ("layout-accuracy", "layout:LayoutAccuracy", "Class of the parts of samples within a layout's boxes."),
    (
        "super-resolution",
        "restoration:SuperResolution",
        "Samples against the bicubic enlargement.",
    ),
    ("inpainting", "restoration:Inpainting", "What fills a hole, against a smooth fill."),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """What `ldmkit evaluate` measures."""
    for name, target, summary in COMPONENTS:
        registry.add("metric", name, f"ldmkit_metrics.{target}", summary)
