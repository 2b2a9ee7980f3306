"""What each kind of component must do. Structural: a plugin inherits from nothing of ours.

A component is a class (built once) or, for samplers and spacings, a function. Its keyword-only parameters are
what a recipe may set; every other constructor parameter is supplied by `ldmkit.build`, by name, out of
`registry.SUPPLIED`. A keyword-only parameter annotated with one of these Protocols is a nested component; one
annotated `Path` is a file or folder, which a recipe names relative to its own folder.
Contract checks for all of them are in `ldmkit.testing`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ldmkit.interfaces.data import (
    Dataset,
    KeyMap,
    example_name,
)
from ldmkit.interfaces.diffusion import (
    ConditionedEstimate,
    EstimateFunction,
    Guidance,
    NoiseSchedule,
    Objective,
    Sampler,
    Spacing,
)
from ldmkit.interfaces.metrics import (
    Metric,
    MetricInput,
    NamedComponent,
    Network,
)
from ldmkit.interfaces.models import (
    BoundNetwork,
    CompressionModel,
    Conditioner,
    Denoiser,
    Module,
    Regulariser,
)
from ldmkit.interfaces.training import (
    Adapter,
    Adversary,
    Auxiliary,
    Callback,
    Distillation,
    FeatureNetwork,
    Gradient,
    Loss,
    Optimizer,
    ParameterGroup,
    TeacherEstimate,
)

KIND_OF: Mapping[type, str] = {
    CompressionModel: "compression",
    Regulariser: "regulariser",
    Conditioner: "conditioner",
    Denoiser: "denoiser",
    NoiseSchedule: "schedule",
    Spacing: "spacing",
    Objective: "objective",
    Guidance: "guidance",
    Sampler: "sampler",
    FeatureNetwork: "features",
    Loss: "loss",
    Adversary: "adversary",
    Optimizer: "optimizer",
    Auxiliary: "auxiliary",
    Distillation: "distillation",
    Callback: "callback",
    Adapter: "adapter",
    Dataset: "data",
    Metric: "metric",
    KeyMap: "keymap",
}
"""The registry's kind for each Protocol: how a nested component is recognized in a constructor."""

__all__ = [
    "KIND_OF",
    "Adapter",
    "Adversary",
    "Auxiliary",
    "BoundNetwork",
    "Callback",
    "CompressionModel",
    "ConditionedEstimate",
    "Conditioner",
    "Dataset",
    "Denoiser",
    "Distillation",
    "EstimateFunction",
    "FeatureNetwork",
    "Gradient",
    "Guidance",
    "KeyMap",
    "Loss",
    "Metric",
    "MetricInput",
    "Module",
    "NamedComponent",
    "Network",
    "NoiseSchedule",
    "Objective",
    "Optimizer",
    "ParameterGroup",
    "Regulariser",
    "Sampler",
    "Spacing",
    "TeacherEstimate",
    "example_name",
]
