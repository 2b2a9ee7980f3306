"""CLIP networks: read as open_clip reads them, from files alone, and refused in plain words."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from ldmkit.pictures import normalize, to_tensor

TEXTS = ["a red fox", "", "an umbrella with rain drops, flat"]


def picture(side: int = 16) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_both_towers_agree_with_open_clip_s_own_reading(tiny):
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{tiny}")
    clip = load_clip(Network(path=str(tiny)))
    with torch.no_grad():
        texts = model.eval().encode_text(tokenize(TEXTS), normalize=True)
        images = model.encode_image(preprocess(picture()).unsqueeze(0), normalize=True)
    assert torch.allclose(clip.texts(TEXTS), texts, atol=1e-6)
    ours = clip.images(normalize(to_tensor(picture()).unsqueeze(0)))
    assert torch.allclose(ours, images, atol=1e-5)
    assert clip.scale == pytest.approx(model.logit_scale.exp().item())


def test_other_sizes_are_resized_and_cropped_as_open_clip_does(tiny):
    """Its own transform rounds the resized picture to bytes: two levels of 255 apart at most in the input."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    wide = Image.new("RGB", (96, 48), "white")
    wide.paste(picture(6).resize((48, 48), Image.Resampling.BICUBIC), (24, 0))
    with torch.no_grad():
        expected = model.eval().encode_image(preprocess(wide).unsqueeze(0), normalize=True)
    clip = load_clip(Network(path=str(tiny)))
    ours = clip.images(normalize(to_tensor(wide).unsqueeze(0)))
    assert float((ours * expected).sum()) > 0.999


def test_an_architecture_by_name_takes_a_file_of_weights(tiny, tmp_path):
    named = tmp_path / "tiny-of-this-test.json"
    named.write_text(json.dumps(json.loads((tiny / "open_clip_config.json").read_text())["model_cfg"]))
    open_clip.add_model_config(named)
    state = load_file(tiny / "open_clip_model.safetensors")
    torch.save({"state_dict": {f"module.{n}": x for n, x in state.items()}}, tmp_path / "training.pt")
    by_name = load_clip(Network(architecture="tiny-of-this-test", path=str(tmp_path / "training.pt")))
    assert torch.allclose(by_name.texts(TEXTS), load_clip(Network(path=str(tiny))).texts(TEXTS), atol=1e-6)


def test_a_wrong_architecture_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"no architecture 'ViT-B-23'; did you mean 'ViT-B-32'\?"):
        load_clip(Network(architecture="ViT-B-23", path=str(tmp_path)))


def test_mean_and_standard_deviation_come_with_the_architecture():
    from ldmkit_clip.sources import _published_preprocessing

    assert _published_preprocessing("ViT-B-16-SigLIP")["mean"] == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), "holds no weights"),
        (lambda folder: (folder / "open_clip_config.json").unlink(), "holds no open_clip_config"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{}"), "no configuration"),
        (lambda folder: (folder / "open_clip_model.safetensors").write_bytes(b"x" * 99), "of this network"),
        (lambda folder: save_file({"a": torch.ones(1)}, folder / "open_clip_model.safetensors"), "Missing"),
    ],
)
def test_what_is_missing_or_damaged_is_said_in_one_line(tiny, change, message):
    change(tiny)
    with pytest.raises(ValueError, match=message) as caught:
        load_clip(Network(path=str(tiny)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_no_code_in_a_file_of_weights_runs(tiny):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tiny / "payload"),)

    (tiny / "open_clip_model.safetensors").unlink()
    (tiny / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Payload()}))
    with pytest.raises(ValueError, match="holds no weights of this network"):
        load_clip(Network(path=str(tiny)))
    assert not (tiny / "payload").exists()


def test_no_code_of_a_tokenizer_runs(tiny):
    stored = json.loads((tiny / "open_clip_config.json").read_text())
    stored["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "someone/else",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    (tiny / "open_clip_config.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"someone/else's tokenizer"):
        load_clip(Network(path=str(tiny)))
    auto = {"auto_map": {"AutoTokenizer": ["code.Evil", None]}, "tokenizer_class": "Evil"}
    (tiny / "tokenizer_config.json").write_text(json.dumps(auto))
    (tiny / "code.py").write_text(f"import os\nos.mkdir({str(tiny / 'payload')!r})\nclass Evil: pass\n")
    with pytest.raises(ValueError, match="tokenizer"):
        load_clip(Network(path=str(tiny)))
    assert not (tiny / "payload").exists()


def test_an_image_tower_that_would_be_fetched_is_refused(tiny):
    stored = json.loads((tiny / "open_clip_config.json").read_text())
    stored["model_cfg"]["vision_cfg"] = {"timm_model_name": "hf-hub:someone/else", "image_size": 16}
    (tiny / "open_clip_config.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="would be fetched"):
        load_clip(Network(path=str(tiny)))


def test_the_hub_is_asked_for_a_pinned_revision_only(tiny, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(repository: str, revision: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((repository, revision, local_files_only))
        return str(tiny)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    clip = load_clip(Network(hub="someone/clip", revision="a" * 40))
    assert asked == [("someone/clip", "a" * 40, True)]
    assert clip.label == "someone/clip@aaaaaaa"
    with pytest.raises(ValidationError, match="go together"):
        Network(hub="someone/clip")


def test_without_a_connection_the_hub_is_refused_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError,
        match=r"nothing at bbbbbbbbbbbb is not on this machine .*download it elsewhere and give its path",
    ):
        load_clip(Network(hub="no-one/nothing", revision="b" * 40))


@pytest.mark.parametrize("wrong", [{"architecture": "ViT-B-32"}, {"path": "a", "hub": "b"}, {"paht": "a"}])
def test_a_network_that_is_not_whole_is_refused(wrong):
    with pytest.raises(ValidationError):
        Network(**wrong)


def test_a_recipe_is_checked_without_reading_weights(tiny):
    Path(tiny / "open_clip_model.safetensors").write_bytes(b"damaged")
    with torch.device("meta"):
        assert load_clip(Network(path=str(tiny))).width == 8
