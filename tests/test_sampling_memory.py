"""Pictures that memory cannot hold are refused before any of it is taken."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from training_toy import toy

from ldmkit.engine import sampling_memory
from ldmkit.errors import UserError
from ldmkit.types import LatentSpec

HUGE = 10**6 - 10**6 % 4


class Decoder(nn.Module):
    """A latent of one channel at the size of the picture, made 50 channels and 3 in turn."""

    def __init__(self, attends: bool = False) -> None:
        super().__init__()
        self.latent = LatentSpec(1, 1)
        self.wide, self.out = nn.Conv2d(1, 50, 1), nn.Conv2d(50, 3, 1)
        self.attends = attends

    def decode(self, latent):
        h = self.wide(latent)
        if self.attends:
            rows = h.flatten(2).mT[:, None]
            h = h + nn.functional.scaled_dot_product_attention(rows, rows, rows).mT.view(h.shape)
        return self.out(h.relu_())


def stand_in(compression):
    return SimpleNamespace(
        compression=compression,
        painter=compression,
        denoiser=None,
        device=torch.device("cpu"),
        named_conditioners=lambda: [],
    )


def test_the_peak_is_what_is_held_at_once():
    """The latent is there before; 50 channels and, while they are there, the 3 of the result."""
    assert sampling_memory.peak_of(stand_in(Decoder()), (32, 16)) == 32 * 16 * 4 * (50 + 3)


def test_attention_counts_without_its_matrix():
    most = sampling_memory.peak_of(stand_in(Decoder(attends=True)), (32, 32))
    assert 32 * 32 * 4 * 2 * 50 <= most < 32 * 32 * 4 * 5 * 50 < 32**4 * 4


def test_a_network_that_holds_one_module_or_weight_twice_keeps_its_weights():
    system = toy()
    expected = sampling_memory.peak_of(system, (64, 64))
    network = system.denoiser
    network.again = next(network.children())
    network.tied = nn.Linear(2, 2)
    network.tied.weight = next(network.parameters())
    assert sampling_memory.peak_of(system, (64, 64)) == expected > 0
    assert not any(x.is_meta for x in [*network.parameters(), *network.buffers()])
    assert network.tied.weight is next(network.parameters())


def test_what_needs_numbers_counts_as_nothing():
    compression = Decoder()
    compression.decode = lambda latent: latent * latent.sum().item()
    assert sampling_memory.peak_of(stand_in(compression), (32, 32)) == 0


@pytest.mark.parametrize(
    "asked",
    [{"size": (HUGE, HUGE)}, {"size": (HUGE, 8)}, {"size": (1024, 1024), "count": 50_000, "batch": 10**9}],
)
def test_a_call_that_asks_for_too_much_is_refused_at_once(asked, monkeypatch):
    monkeypatch.setattr(sampling_memory, "free_memory", lambda: 10**7)
    with pytest.raises(
        UserError, match=r"at once: at least .* of memory, and 10 MB are free: take a smaller"
    ):
        toy().sample(["a"], **asked)


def test_what_fits_is_sampled(monkeypatch):
    monkeypatch.setattr(sampling_memory, "free_memory", lambda: 10**6)
    assert toy().sample(["a"], size=(64, 32))[0].size == (32, 64)


def test_between_picture_and_free_memory_the_models_decide(monkeypatch):
    system = toy()
    most = sampling_memory.peak_of(system, (64, 64))
    assert most > 64 * 64 * sampling_memory.BARE
    monkeypatch.setattr(sampling_memory, "free_memory", lambda: 3 * most)
    sampling_memory.check_room(system, (64, 64), 3)
    with pytest.raises(UserError, match="4 pictures of 64x64 at once"):
        sampling_memory.check_room(system, (64, 64), 4)


@pytest.mark.parametrize("size", [(True, True), torch.tensor([16, 16]), (), (16,), (16.0, 16)])
def test_a_size_that_is_no_pair_of_whole_numbers_is_refused(size):
    with pytest.raises(UserError, match=r"expects \(height, width\)"):
        toy().sample(["a"], size=size)
