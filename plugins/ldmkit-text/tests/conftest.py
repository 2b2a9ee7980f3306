"""Folders of tiny text encoders with random weights, as transformers writes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "red", "fox", "is", "and"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A folder with a BERT of two tiny layers."""
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """A pipeline's folder: a tiny CLIP text encoder, and its tokenizer apart from it."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("pipeline")
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder / "tokenizer")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1, "vocab_size": len(vocabulary)}
    CLIPTextModel(CLIPTextConfig(**sizes, **ids)).save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture(scope="session")
def pair(clip, tmp_path_factory) -> Path:
    """A folder with two CLIP text encoders and tokenizers, the second with a projection."""
    from transformers import AutoConfig, CLIPTextModelWithProjection

    folder = tmp_path_factory.mktemp("pair")
    for name in ("text_encoder", "tokenizer"):
        shutil.copytree(clip / name, folder / name)
    shutil.copytree(clip / "tokenizer", folder / "tokenizer_2")
    config = AutoConfig.from_pretrained(clip / "text_encoder")
    config.projection_dim = 8
    CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder_2")
    return folder
