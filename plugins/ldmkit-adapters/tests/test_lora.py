from __future__ import annotations

import pytest
import torch
from ldmkit_adapters.lora import Lora
from torch import nn

from ldmkit.testing.adapter import check_adapter
from ldmkit.testing.registration import check_registration


class Attention(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.ff = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.ff(x + self.out(torch.softmax(q @ k.transpose(1, 2), -1) @ v))


def system() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = nn.ModuleDict({"down": nn.ModuleDict({"attention": Attention()})})
        return nn.ModuleDict({"denoiser": denoiser, "other": nn.Linear(8, 8)})


def run(module: nn.Module) -> torch.Tensor:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    return module.get_submodule("denoiser.down.attention")(x)


def test_registration():
    check_registration("ldmkit-adapters")


@pytest.mark.parametrize("options", [{}, {"rank": 2, "alpha": 8.0, "dropout": 0.5}, {"layers": ("*.ff",)}])
def test_lora_keeps_the_contract_of_an_adapter(options):
    check_adapter(lambda: Lora(**options), system(), run)


def test_the_update_is_alpha_over_rank_times_b_a():
    adapted, plain = system(), system()
    lora = Lora(rank=3, alpha=6.0, layers=("denoiser.down.attention.out",))
    lora.attach(adapted, "style")
    named = dict(lora.state())
    assert sorted(named) == [f"denoiser.down.attention.out.lora_{x}.weight" for x in "AB"]
    a, b = (named[f"denoiser.down.attention.out.lora_{x}.weight"] for x in "AB")
    assert (a.shape, b.shape) == ((3, 8), (8, 3))
    torch.nn.init.normal_(b, generator=torch.Generator().manual_seed(2))
    weight = plain.get_parameter("denoiser.down.attention.out.weight")
    lora.set_strength(0.5)
    lora.merge()
    merged = adapted.get_parameter("denoiser.down.attention.out.weight")
    torch.testing.assert_close(merged, weight + 0.5 * 2 * b @ a)


def test_attention_is_adapted_and_the_rest_left_alone():
    adapted = system()
    lora = Lora()
    lora.attach(adapted, "style")
    layers = {key.split(".lora_")[0] for key in lora.state()}
    assert layers == {"denoiser.down.attention.qkv", "denoiser.down.attention.out"}


def test_layers_that_are_not_there_are_an_error():
    with pytest.raises(ValueError, match=r"no linear layer of the system is called \*\.nothing"):
        Lora(layers=("*.nothing",)).attach(system(), "style")
