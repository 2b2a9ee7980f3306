"""The Inception network of the FID (Heusel et al. 2017), in torch-fidelity's port."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from ldmkit.artifacts import read_tensors
from ldmkit.pictures import denormalize
from ldmkit.types import Image
from ldmkit_features.frozen import Frozen
from ldmkit_features.weights import State

STAGES = ("MaxPool_1", "MaxPool_2", "Mixed_6e", "Mixed_7c")
"""The layers whose output is a feature map: 64, 192, 768 and 2048 channels."""


class InceptionV3(Frozen):
    """The Inception-v3 of FID (TensorFlow, 2015-12-05). No package ships its weights: set `path`.

    Pictures are resized to 299x299 as TensorFlow 1 did. Feature maps of 64, 192, 768, 2048 channels; `embed`
    gives the 2048 numbers that FID compares, of the picture rounded to bytes, so without a gradient. Raises
    ValueError where the weights are missing or are another network's.

    Args:
        path: torch-fidelity's weights-inception-2015-12-05-6726825d.pth, or its tensors as safetensors.
    """

    def __init__(self, *, path: Path) -> None:
        super().__init__()
        self.network = _network(read_tensors(Path(path)), path)
        self.freeze()

    def forward(self, image: Image) -> Sequence[Float[Tensor, "b k i j"]]:
        """The four feature maps, shallow to deep."""
        side = self.network.INPUT_IMAGE_SIZE
        x = interpolate_bilinear_2d_like_tensorflow1x(
            image * 127.5 + 127.5, (side, side), align_corners=False
        )
        x, maps = (x - 128) / 128, []
        for name, layer in self.network.named_children():
            x = layer(x)
            if name in STAGES:
                maps.append(x)
            if name == STAGES[-1]:
                break
        return maps

    def embed(self, image: Image) -> Float[Tensor, "b 2048"]:
        """The 2048 pooled features that FID compares."""
        pooled: Tensor = self.network(denormalize(image))[0]
        return pooled


def _network(state: State, path: Path) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network. Its constructor unpickles any file, so it is given a file of tensors that is
    written here."""
    ours = io.BytesIO()
    torch.save(state, ours)
    ours.seek(0)
    try:
        return FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=ours)
    except RuntimeError as error:
        raise ValueError(f"{path}: not the weights of FID's Inception-v3") from error
