"""LPIPS (Zhang et al. 2018) with its learned heads, on trunk weights from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import lpips
import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.artifacts import read_tensors
from ldmkit.types import Image


def read_trunk(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or PyTorch file, read without running code. Raises ValueError."""
    if not path.is_file():
        raise ValueError(
            f"no file {path}; give the path of torchvision's weights of the network "
            "(vgg16-397923af.pth, alexnet-owt-7be5be79.pth), or use the loss 'perceptual'"
        )
    return read_tensors(path)


class LPIPS(nn.Module):
    """The learned perceptual distance LPIPS, one number for each picture. Source: Zhang et al. 2018.

    The network is frozen and stays in eval mode, because its published heads contain dropout.

    Args:
        trunk: local file of torchvision's weights of the network (.pth or .safetensors); the package has only
            the heads
        network: vgg (as in the paper's training) or alex
        weight: factor of the loss
    """

    def __init__(
        self,
        *,
        trunk: Path,
        network: Literal["vgg", "alex"] = "vgg",
        weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        weights = read_trunk(trunk)
        self.weight = weight
        # pnet_rand: the package would fetch the trunk from the network otherwise
        self.network = lpips.LPIPS(net=network, pnet_rand=True, verbose=False).requires_grad_(False)
        names = {name: f"features.{name.split('.', 1)[1]}" for name in self.network.net.state_dict()}
        missing = sorted(set(names.values()) - set(weights))
        if missing:
            raise ValueError(f"{trunk} is not of {network}: lacks {', '.join(missing)}")
        self.network.net.load_state_dict({name: weights[source] for name, source in names.items()})
        self.eval()

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 1 1 1"]:
        """The weighted distance, without the package's own normalization: its gradient is NaN where all
        features of a position are 0."""
        with torch.no_grad():
            target = self.features(image)
        total = torch.zeros((), device=image.device)
        for head, got, goal in zip(self.network.lins, self.features(reconstruction), target, strict=True):
            total = total + head((got - goal).square()).mean((2, 3), keepdim=True)
        return self.weight * total

    def features(self, image: Image) -> list[Float[Tensor, "b k i j"]]:
        """The network's feature maps, with the channels of each position scaled to unit length."""
        return [F.normalize(x, dim=1) for x in self.network.net(self.network.scaling_layer(image))]
