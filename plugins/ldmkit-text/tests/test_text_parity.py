"""Agreement with the published conditioners' figures, and their tensors in and out."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from ldmkit_text.classes import ClassEmbedding
from ldmkit_text.compvis_encoders import CompvisPretrainedText
from ldmkit_text.keymap import CompvisClassEmbedding, CompvisTextTransformer, DiffusersTextTransformer
from ldmkit_text.transformer import TextTransformer
from published_weights import made_up
from safetensors.torch import load_file

FIXTURES = Path(__file__).parent / "fixtures"
PREFIX = "cond_stage_model."


def reference(name):
    model = json.loads((FIXTURES / name / "model.json").read_text())
    tensors = {key.removeprefix(PREFIX): made_up(key, shape) for key, shape in model["weights"].items()}
    return model["config"], tensors, load_file(FIXTURES / name / "io.safetensors")


def distance(a, b):
    return float((a - b).norm() / b.norm())


def text_transformer():
    config, tensors, io = reference("txt2img-1p4B")
    keymap = CompvisTextTransformer()
    module = TextTransformer(**keymap.parameters(config)).eval()
    module.load_state_dict(keymap.load(tensors, module))
    return module, tensors, io


def test_text_transformer_agrees_with_the_published_one():
    module, _, io = text_transformer()
    with torch.no_grad():
        condition = module.encode(module.prepare({"caption": io["tokens"]}))
    assert distance(condition.tokens, io["cond"]) < 2e-5
    assert condition.mask is None


def test_class_embedding_agrees_with_the_published_one():
    config, tensors, io = reference("cin256-v2")
    keymap = CompvisClassEmbedding()
    module = ClassEmbedding(**keymap.parameters(config))
    module.load_state_dict(keymap.load(tensors, module))
    with torch.no_grad():
        condition = module.encode(module.prepare({"label": io["label"]}))
        null = module.null(condition).tokens
    assert distance(condition.tokens, io["cond"]) < 2e-5
    assert torch.equal(null[:, 0], tensors["embedding.weight"][1000].expand(2, -1))
    assert torch.equal(keymap.save(module)["embedding.weight"], tensors["embedding.weight"])
    assert keymap.config(keymap.parameters(config)) == config


def test_published_tensors_come_back_bit_for_bit():
    module, tensors, _ = text_transformer()
    saved = CompvisTextTransformer().save(module)
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_every_published_tensor_is_accounted_for(change):
    module, tensors, _ = text_transformer()
    name = "transformer.norm.weight"
    if change == "missing":
        del tensors[name]
    else:
        name = "transformer.norm.gain"
        tensors[name] = torch.zeros(1)
    with pytest.raises(ValueError, match=f"{change}: {name}"):
        CompvisTextTransformer().load(tensors, module)


@pytest.mark.parametrize("logits", [True, False])
def test_diffusers_model_computes_the_same_and_comes_back(logits):
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    torch.manual_seed(0)
    keymap = DiffusersTextTransformer()
    sizes = {"width": 24, "layers": 3, "heads": 2, "head_channels": 16, "length": 11, "vocabulary": 200}
    config = keymap.config(sizes)
    theirs = LDMBertModel(
        LDMBertConfig(**{k: v for k, v in config.items() if k not in ("model_type",)})
    ).eval()
    published = theirs.state_dict()
    assert keymap.parameters(theirs.config.to_dict()) == {**sizes, "logits": True}
    ours = TextTransformer(**{**keymap.parameters(config), "logits": logits}).eval()
    ours.load_state_dict(keymap.load(published, ours))
    ids = torch.randint(0, 200, (2, 11))
    with torch.no_grad():
        expected = theirs(ids)[0]
        assert distance(ours.encode(ours.prepare({"caption": ids})).tokens, expected) < 2e-5
    saved = keymap.save(ours)
    assert saved.keys() == published.keys()
    same = [n for n in published if logits or not n.startswith("to_logits")]
    assert all(torch.equal(saved[name], published[name]) for name in same)


def test_configurations_survive_both_ways():
    config, _, _ = reference("txt2img-1p4B")
    keymap = CompvisTextTransformer()
    parameters = keymap.parameters(config)
    assert keymap.parameters(keymap.config(parameters)) == {**parameters, "length": 77}
    layout = {"n_embed": 16, "n_layer": 1, "vocab_size": 8192, "max_seq_len": 92, "use_tokenizer": False}
    assert keymap.parameters(layout)["tokenizer"] == "boxes"
    assert keymap.config(keymap.parameters(layout)) == layout
    assert keymap.parameters({**layout, "max_seq_len": 30})["tokenizer"] == "ids"


@pytest.mark.parametrize(
    ("keymap", "config", "message"),
    [
        (
            CompvisTextTransformer(),
            {"n_embed": 8, "n_layer": 1, "vocab_sice": 9},
            "did you mean 'vocab_size'",
        ),
        (CompvisTextTransformer(), {"n_embed": 8}, "missing key 'n_layer'"),
        (DiffusersTextTransformer(), {"activation_function": "relu"}, "activation_function: 'relu'"),
        (DiffusersTextTransformer(), {"d_model": 64, "encoder_ffn_dim": 64}, "encoder_ffn_dim: 64"),
        (CompvisClassEmbedding(), {"embed_dim": 8, "n_clases": 4}, "did you mean 'n_classes'"),
    ],
)
def test_a_published_configuration_that_does_not_fit_is_refused(keymap, config, message):
    with pytest.raises(ValueError, match=message):
        keymap.parameters(config)


def test_heads_the_published_format_lacks_are_refused_on_export():
    with pytest.raises(ValueError, match="heads: the published format has 8 only"):
        CompvisTextTransformer().config({"heads": 4})


@pytest.mark.parametrize(("blocks", "kept"), [(24, 23), (23, 23), (22, None)])
def test_an_open_clip_encoder_may_lack_the_block_that_nothing_reads(blocks, kept):
    """ViT-H/14 has 24; files written out of other formats hold 23. Any other count is another encoder."""
    width, tensors = 1024, {}
    for i in range(blocks):
        at = f"model.transformer.resblocks.{i}"
        tensors[f"{at}.attn.in_proj_weight"] = torch.empty(3 * width, width, device="meta")
        tensors[f"{at}.mlp.c_fc.weight"] = torch.empty(4 * width, width, device="meta")
    tensors["model.token_embedding.weight"] = torch.empty(100, width, device="meta")
    tensors["model.positional_embedding"] = torch.empty(77, width, device="meta")
    tensors |= {f"model.ln_final.{kind}": torch.empty(width, device="meta") for kind in ("weight", "bias")}
    if kept is None:
        with pytest.raises(ValueError, match="22 blocks; the published encoder of that width has 24"):
            CompvisPretrainedText().encoders(tensors, {"layer": "penultimate"})
        return
    encoder = CompvisPretrainedText().encoders(tensors, {"layer": "penultimate"})["text_encoder"]
    assert encoder.config["num_hidden_layers"] == kept
    assert len(encoder.notes) == blocks - kept
    with pytest.raises(ValueError, match="blocks") if blocks == 23 else nullcontext():
        CompvisPretrainedText().encoders(tensors, {"layer": "last"})
