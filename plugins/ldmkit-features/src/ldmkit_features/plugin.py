"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Feature networks by name."""
    registry.add(
        "features",
        "efficientnet-lite0",
        "ldmkit_features.efficientnet:EfficientNetLite0",
        "EfficientNet-Lite0 on ImageNet.",
    )
    registry.add(
        "features",
        "efficientnet-lite1",
        "ldmkit_features.efficientnet:EfficientNetLite1",
        "EfficientNet-Lite1 on ImageNet.",
    )
    registry.add(
        "features",
        "inception-v3",
        "ldmkit_features.inception:InceptionV3",
        "The Inception network of FID; weights by local path.",
    )
