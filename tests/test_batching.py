"""Sampling many pictures: even batches, and the decoder beside the sampler."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest
import torch
from small_recipes import PIXELS

import ldmkit
from ldmkit.engine.batching import even_parts, overlapped

RECIPE: dict[str, Any] = {
    **PIXELS,
    "name": "small",
    "sampler": {"name": "ddim", "steps": 1},
    "sample": {"size": [8, 8], "batch": 4},
}
PATIENCE = 60
"""Seconds after which two pieces of work are taken to wait for each other for ever."""


@pytest.mark.parametrize("count", range(18))
@pytest.mark.parametrize("most", [1, 3, 4, 16])
def test_parts_are_even_and_cover_all_in_order(count: int, most: int) -> None:
    parts = even_parts(count, most)
    assert [i for part in parts for i in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert len(parts) == -(-count // most)
    assert max(lengths, default=0) <= most
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_a_batch_is_decoded_while_the_next_is_sampled() -> None:
    """Each decoding but the last waits for the next batch's sampling: in turn they would stand still."""
    with warnings.catch_warnings(action="ignore"):
        system = ldmkit.build(RECIPE)
    sampled, decoding, changed = [], [], threading.Condition()
    bind, decode = system.network.bind, system.compression.decode

    def binding(condition: Any) -> Any:
        bound = bind(condition)

        def run(z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            with changed:
                sampled.append(len(z))
                changed.notify_all()
            return bound(z, time)

        return run

    def decoded(latent: torch.Tensor) -> torch.Tensor:
        decoding.append(len(latent))
        following = min(len(decoding) + 1, 3)
        with changed:
            assert changed.wait_for(lambda: len(sampled) >= following, timeout=PATIENCE)
        assert not torch.is_grad_enabled()
        return decode(latent)

    system.network.bind = binding
    system.compression.decode = decoded
    assert len(system.sample(count=10)) == 10
    assert sampled == decoding == [3, 3, 4]


def test_what_decoding_raises_is_raised() -> None:
    def finish(value: int) -> int:
        if value == 2:
            raise ValueError("no such picture")
        return value

    found = overlapped(range(5), finish)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="no such picture"):
        next(found)
