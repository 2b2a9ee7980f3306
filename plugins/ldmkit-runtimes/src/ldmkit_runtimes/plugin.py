"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Two formats to export denoisers to, and the denoiser that runs such files."""
    registry.add("format", "onnx", "ldmkit_runtimes.export:Onnx", "The denoiser as ONNX, for onnxruntime.")
    registry.add(
        "format", "openvino", "ldmkit_runtimes.export:OpenVino", "The denoiser as OpenVINO's XML and weights."
    )
    registry.add(
        "denoiser", "exported", "ldmkit_runtimes.exported:Exported", "Runs a file that `ldmkit export` wrote."
    )
