"""What gives no pretrained text encoder is refused at once, and the message names the way out."""

from __future__ import annotations

import hashlib
import json
import shutil
import time

import pytest
from ldmkit_text.paired import PairedText
from ldmkit_text.pretrained import PretrainedText
from safetensors.torch import load_file, save_file

from ldmkit.errors import UserError


def test_a_pair_needs_all_of_its_folders(clip):
    with pytest.raises(ValueError, match=r"no folder .*text_encoder_2"):
        PairedText(path=clip)


def test_damaged_and_incomplete_weights_are_refused(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack or misfit 1 tensors of the encoder, as encoder\.layer\.1"):
        PretrainedText(path=str(folder))
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        PretrainedText(path=str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        PretrainedText(path=str(folder))


def test_a_wrong_digest_is_refused(bert):
    digest = hashlib.sha256((bert / "model.safetensors").read_bytes()).hexdigest()
    PretrainedText(path=str(bert), sha256=digest)
    with pytest.raises(UserError, match=r"recorded 0000.*the recipe names another"):
        PretrainedText(path=str(bert), sha256="0" * 64)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give exactly one of path, package, hub; given: none"),
        ({"path": "x", "package": "y"}, "given: path, package"),
        ({"path": "/no/such/folder"}, "path /no/such/folder is not a folder"),
        ({"package": "no-such-package"}, "`pip install no-such-package`, or give a local folder by path"),
        ({"package": "pytest"}, "holds no model folder; give a local folder by path"),
        ({"hub": "some/model"}, "hub and revision"),
        ({"path": "x", "revision": "0" * 40}, "hub and revision"),
    ],
)
def test_what_is_missing_is_said_at_once(given, message):
    started = time.monotonic()
    with pytest.raises(ValueError, match=message):
        PretrainedText(**given)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("offline", [True, False])
def test_an_unreachable_hub_says_so_at_once_and_names_the_way_out(offline, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.hf_api.HfApi.model_info", _refuse)
    started = time.monotonic()
    with pytest.raises(
        ValueError,
        match=r"some/model at 000000000000 is not on this machine .*; download it elsewhere and give",
    ):
        PretrainedText(hub="some/model", revision="0" * 40)
    assert time.monotonic() - started < 5


def _refuse(*_, **__):
    raise ConnectionError("no route to the hub")


def test_folders_without_their_parts_are_refused(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "copy")
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match="'vit' is not a text encoder"):
        PretrainedText(path=str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no usable tokenizer"):
        PretrainedText(path=str(tmp_path / "empty"))


def test_lengths_and_masks_that_cannot_be_are_refused(bert, clip):
    with pytest.raises(ValueError, match="length 513; this encoder reads 512 tokens"):
        PretrainedText(path=str(bert), length=513)
    with pytest.raises(ValueError, match="a padding token of its own"):
        PretrainedText(path=str(clip), length=77, masked=True)
    with pytest.raises(ValueError, match="ids from 11 to 11; the vocabulary has 0 to 10"):
        PretrainedText(path=str(bert)).prepare({"caption": [[11]]})
