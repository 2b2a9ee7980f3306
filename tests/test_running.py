"""How the denoiser is run while pictures are sampled: precision, compiled code, reused features."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from small_recipes import PIXELS, UNET
from torch import nn
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

import ldmkit
from ldmkit.cli import main
from ldmkit.engine import running
from ldmkit.engine.compiling import keep_code
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.recipe import digest
from ldmkit.types import Condition

RECIPE: dict[str, Any] = {
    **PIXELS,
    "name": "small",
    "denoiser": {**UNET, "multipliers": [1, 1]},
    "sampler": {"name": "ddim", "steps": 6},
    "sample": {"size": [8, 8], "count": 3},
}


def small(**changes: Any) -> System:
    """A system of random weights, none of which are zero."""
    torch.manual_seed(0)
    sample = {**RECIPE["sample"], **changes.pop("sample", {})}
    with warnings.catch_warnings(action="ignore"):
        system = ldmkit.build({**RECIPE, **changes, "sample": sample})
    with torch.no_grad():
        for i, parameter in enumerate(system.parameters()):
            generator = torch.Generator().manual_seed(i)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return system


def drawn(system: System) -> torch.Tensor:
    return system.sample_latent({}, noise=torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_bfloat16_changes_latents_a_little_and_leaves_them_float32() -> None:
    exact, low = drawn(small()), drawn(small(sample={"precision": "bf16"}))
    assert low.dtype == torch.float32
    assert 0 < distance(low, exact) < 0.05


def test_auto_takes_bfloat16_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, system = drawn(small()), small(sample={"precision": "auto"})
    for there in (False, True):
        monkeypatch.setattr(running, "has_bfloat16", lambda device, there=there: there)
        assert (distance(drawn(system), exact) > 0) == there


def test_a_processor_without_bfloat16_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(running, "has_bfloat16", lambda device: False)
    system = small()
    system.running = running.Running("bf16", say=lines.append)
    drawn(system), drawn(system)
    assert len(lines) == 1
    assert "no instructions for bfloat16" in lines[0]


def test_reusing_features_at_every_second_evaluation_computes_half_of_them() -> None:
    calls: list[int] = []
    system = small(sampler={"name": "ddim", "steps": 6, "reuse": 2})
    middle = system.get_submodule("denoiser.middle.0")
    middle.register_forward_hook(lambda *_: calls.append(1))
    reused = drawn(system)
    assert len(calls) == 3
    assert 0 < distance(reused, drawn(small())) < 0.3


def test_a_denoiser_without_deep_features_is_refused() -> None:
    dit = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "patch": 2}
    with pytest.raises(UserError, match=r"reuse: the denoiser .* has no deep features to reuse; set it to 1"):
        drawn(small(denoiser=dit, sampler={"name": "ddim", "steps": 2, "reuse": 2}))


class Layer(nn.Module):
    """The smallest denoiser: compiling takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, z: torch.Tensor, time: torch.Tensor, condition: Condition) -> torch.Tensor:
        return self.bind(condition)(z, time)

    def bind(self, condition: Condition) -> Any:
        vector = condition.vector * 2
        return lambda z, time: torch.tanh(self.layer(z) + time[:, None, None, None]) * vector


def test_compiled_code_computes_the_same_and_says_what_it_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())  # as torch does when it is imported
    lines: list[str] = []
    network, fast = Layer(), running.Running(compile=True, say=lines.append)
    z, time = torch.randn(2, 3, 4, 4), torch.tensor([3.0, 4.0])

    def both(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        condition = Condition(vector=torch.randn(4))
        with torch.no_grad():
            compiled = fast.bind(network, condition, 5)(z[:count], time[:count])
            return compiled, network(z[:count], time[:count], condition)

    torch.testing.assert_close(*both(2))
    assert len(lines) == 1
    assert re.match(r"compile: took .* of 2 at 5 steps; kept in .*compiled", lines[0])
    assert any(tmp_path.rglob("*.so")), "kept for the next run"
    torch.testing.assert_close(*both(2))  # another condition
    torch.testing.assert_close(*both(1))  # a batch of another size
    with torch.no_grad():
        network.layer.bias.add_(0.5)
    torch.testing.assert_close(*both(2))  # other weights
    assert len(lines) == 1


def test_a_folder_for_compiled_code_that_the_user_names_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    assert keep_code() == tmp_path / "mine"


def test_half_written_code_of_an_interrupted_run_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    network, condition = Layer(), Condition(vector=torch.ones(4))
    z, time = torch.randn(2, 3, 4, 4), torch.tensor([3.0, 4.0])

    def once() -> torch.Tensor:
        torch._dynamo.reset()
        lines: list[str] = []
        with torch.no_grad():
            made = running.Running(compile=True, say=lines.append).bind(network, condition, 5)(z, time)
        assert len(lines) == 1
        return made

    expected = once()
    for path in [*tmp_path.rglob("*.so"), *tmp_path.rglob("*.py")]:
        path.write_bytes(b"")
    torch.testing.assert_close(once(), expected)


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler"):
        drawn(small(sample={"compile": True}))


def test_compiled_code_and_reuse_exclude_each_other() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        drawn(small(sample={"compile": True}, sampler={"name": "ddim", "steps": 2, "reuse": 2}))


def test_what_changes_pictures_is_in_their_digest() -> None:
    own = digest(small().recipe, "samples")
    assert digest(small(sample={"compile": True}).recipe, "samples") == own
    assert digest(small(sample={"precision": "bf16"}).recipe, "samples") != own
    assert digest(small(sampler={"name": "ddim", "steps": 6, "reuse": 2}).recipe, "samples") != own


def test_options_of_the_command_line_reach_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "recipe: 1\nname: small\ncompression: identity\nweights: none\n"
        "sampler: {name: ddim, steps: 1}\nsample: {size: [8, 8]}\n"
    )
    for verb in ("run", "sample", "evaluate"):
        done = CliRunner().invoke(main, [verb, str(path), "--precision", "half"])
        assert done.exit_code == 2
        assert "'no', 'bf16', 'auto'" in done.output
