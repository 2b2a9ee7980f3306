"""The network that comes with the plugin: found without a connection, and it knows what emoji show."""

from __future__ import annotations

import torch
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import SHIPPED, Network
from ldmkit_data.emoji.dataset import EmojiDataset

from ldmkit.pictures import normalize


@torch.no_grad()
def within_five(language: str) -> float:
    """Is a picture of the caption's concept among the five nearest of the held-out ones?"""
    clip, data = load_clip(Network()), EmojiDataset(language=language, tags=0).split("concepts")
    rows = [data[i] for i in range(len(data))]
    concepts = [row["concept"] for row in rows]
    images = clip.images(normalize(torch.stack([row["image"] for row in rows])))
    best = (clip.texts([row["caption"] for row in rows]) @ images.T).topk(5).indices.tolist()
    return sum(concepts[i] in [concepts[j] for j in row] for i, row in enumerate(best)) / len(rows)


def test_it_retrieves_concepts_that_it_never_saw_by_captions_in_both_languages():
    shares = [within_five("en"), within_five("ko")]
    assert shares[0] > 0.6, shares
    assert shares[1] > 0.5, shares


def test_it_is_small_and_of_safe_formats():
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert set(files) == {
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(files.values()) < 20e6
